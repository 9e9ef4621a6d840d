"""The export and serving benches run all their sides for real, on a small model. How fast they are is for the benches to say."""

import copy
import importlib.util
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

from tests.bench.conftest import words
from tests.support.pictures import noise
from vitdemo.bench import export
from vitdemo.cli import main
from vitdemo.core import config
from vitdemo.export import formats, parity, quantize, runtimes


@pytest.mark.slow
def test_all_sides_are_run_and_written_down(tmp_path, monkeypatch, capsys):
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **more: create("vit_tiny_patch16_224", depth=2, **more))
    monkeypatch.setattr(config, "SHARED", tmp_path)
    assert main(["bench", "export", "--runs", "1", "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))["export"]
    printed = capsys.readouterr().out
    for batch in ("1", "8"):
        sides = figures["seconds"][batch]
        assert {"torch eager", "ONNX Runtime fp32"} < sides.keys()
        assert sum(name.startswith("int8 ") for name in sides) >= 5
        assert all(len(each) == 1 and each[0] > 0 for each in sides.values())
    assert printed.count("(random weights)") == sum(len(each) for each in figures["seconds"].values())
    assert figures["recipe"] is None  # nothing is known about real answers here
    assert "real weights or photos are not there" in printed


def test_what_is_made_of_known_seconds(monkeypatch, clock_of, capsys):
    clock, turns, batches = clock_of(export), [], []
    seconds = {"torch eager": iter([9, 4.0, 8.0] * 2), "int8 small": iter([9, 1.0, 3.0] * 2), "int8 fast": iter([9, 1.0, 1.0] * 2)}

    def side(name: str):
        def work(images) -> None:
            turns.append(name)
            batches.append(len(images))
            clock.pass_(next(seconds[name]))

        return work

    monkeypatch.setattr(quantize, "recipes", lambda **asked: [("recipes", asked["calibrated"])])
    monkeypatch.setattr(export, "_sides", lambda recipes, folder: [(name, side(name)) for name in seconds])
    allowed = [("small", {"agrees": True}), ("fast", {"agrees": False}), ("missing", {"agrees": False})]
    monkeypatch.setattr(export, "_agreements", lambda recipes, photos: allowed)
    found = export.run(runs=2)
    times = {"torch eager": [4.0, 8.0], "int8 small": [1.0, 3.0], "int8 fast": [1.0, 1.0]}
    medians = {"torch eager": 6.0, "int8 small": 2.0, "int8 fast": 1.0}
    assert found == {
        "agreements": dict(allowed),
        "seconds": {"1": times, "8": times},
        "medians": {1: medians, 8: medians},
        "recipe": "small",  # fast is faster, but answers otherwise
        "speedup": 3.0,
    }
    names = list(seconds)
    assert turns == [*names, *names[1:], names[0], names[2], *names[:2]] * 2  # no side always comes first
    assert batches == [1] * 9 + [8] * 9
    said = capsys.readouterr().out
    assert "(random weights) median 2.000 s (from 1.000 to 3.000), 3.00 times as fast as torch eager" in said
    assert said.endswith("answers allow: small, 3.00 times as fast as torch eager at batch 1\n")
    assert export._report({1: times}, {}) == {"medians": {1: medians}, "recipe": None}


def test_the_inputs_are_always_the_same():
    images = export._numbers(2)
    assert (images.shape, images.dtype) == ((2, 3, 224, 224), np.float32)
    assert np.array_equal(images, export._numbers(2))
    assert np.std(images) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("compiles", [True, False])
def test_every_side_is_there_with_what_it_runs(compiles, network, tmp_path, monkeypatch, capsys):
    def fail(images):
        raise RuntimeError("no compiler\nmore")

    recipes = [SimpleNamespace(name="a"), SimpleNamespace(name="b")]
    written, opened = [], []
    monkeypatch.setattr(timm, "create_model", lambda name, **_: copy.deepcopy(network))
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: module if compiles else fail)
    monkeypatch.setattr(formats, "write", lambda vit, plan, folder: folder / f"{plan.format}.onnx")
    monkeypatch.setattr(quantize, "quantize", lambda base, path, recipe: written.append((base.name, path.name, recipe.name)))
    monkeypatch.setattr(runtimes, "open_onnx", lambda path: opened.append(path.name) or path.name)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    sides = dict(export._sides(recipes, tmp_path))
    eager = ["torch eager", "torch.compile"] if compiles else ["torch eager"]
    assert list(sides) == [*eager, "ONNX Runtime fp32", "int8 a", "int8 b"]
    assert written == [("onnx.onnx", "0.onnx", "a"), ("onnx.onnx", "1.onnx", "b")]
    assert opened == ["onnx.onnx", "0.onnx", "1.onnx"] == [sides[name] for name in ("ONNX Runtime fp32", "int8 a", "int8 b")]
    images = export._numbers(1)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images))
    for name in eager:
        assert torch.equal(sides[name](images), expected)
    said = capsys.readouterr().out
    assert ("torch.compile is left out: no compiler\n" in said) != compiles
    assert "OpenVINO is left out: it is not installed\n" in said


def test_openvino_stands_beside_where_it_is_installed(network, tmp_path, monkeypatch):
    import sys

    compiled = []
    core = SimpleNamespace(compile_model=lambda *words: compiled.append(words) or "compiled")
    find = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=lambda: core))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True if name == "openvino" else find(name))
    monkeypatch.setattr(timm, "create_model", lambda name, **_: copy.deepcopy(network))
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: module)
    monkeypatch.setattr(formats, "write", lambda vit, plan, folder: folder / "model.onnx")
    monkeypatch.setattr(runtimes, "open_onnx", lambda path: path.name)
    sides = dict(export._sides([], tmp_path))
    assert list(sides) == ["torch eager", "torch.compile", "ONNX Runtime fp32", "OpenVINO fp32"]
    assert sides["OpenVINO fp32"] == "compiled"
    assert compiled == [(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})]


def test_agreement_of_every_recipe(tmp_path, small_models, monkeypatch, capsys):
    small_models(tmp_path / "shared", export.TINY)
    for number in range(2):
        noise(40, 30, number).save(tmp_path / f"{number}.png")
    right = parity.Agreement(photos=2, largest=1, mean=1, agreement=0.97, top5=1, accuracy=0.5, accuracy_before=0.5, labelled=2)
    results = {"exact": replace(right, accuracy=None), "good": right, "bad": replace(right, agreement=0.9)}
    compared = []

    def quantise(base, path, recipe) -> None:
        path.write_bytes(bytes(200_000))
        path.with_suffix(".name").write_text(recipe.name)

    def compare(sample, run, output, *, baked: bool, labelled: bool):
        compared.append((len(sample.crops), output, baked, labelled))
        yield from (1, 2, results[run])

    def write(vit, plan, folder):
        (folder / "base").write_bytes(bytes(1_500_000))
        return folder / "base"

    monkeypatch.setattr(formats, "write", write)
    monkeypatch.setattr(quantize, "quantize", quantise)
    monkeypatch.setattr(runtimes, "open_onnx", lambda path: path.with_suffix(".name").read_text())
    monkeypatch.setattr(parity, "compare", compare)
    found = dict(export._agreements([SimpleNamespace(name=name) for name in results], tmp_path))
    assert found == {
        "exact": {"agreement": 0.97, "accuracy": None, "agrees": True},
        "good": {"agreement": 0.97, "accuracy": 0.5, "agrees": True},
        "bad": {"agreement": 0.9, "accuracy": 0.5, "agrees": False},
    }
    assert compared == [(2, "logits", False, True)] * 3
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "real ViT-Tiny on 2 photos, fp32 1.5 MB"
    assert words(said[1]) == "exact agrees on 0.970, 0.2 MB"
    assert words(said[2]) == "good agrees on 0.970, top-1 0.500 instead of 0.500, 0.2 MB"


def test_without_real_weights_nothing_is_said_of_answers(tmp_path, small_models, capsys):
    small_models(tmp_path)
    assert dict(export._agreements([SimpleNamespace(name="a")], tmp_path)) == {}
    small_models(tmp_path, export.TINY)
    assert dict(export._agreements([SimpleNamespace(name="a")], None)) == {}
    assert capsys.readouterr().out.count("real weights or photos are not there") == 2
