"""The gallery bench runs all its sides for real, on few photos and one small model."""

import json
import sys
from types import SimpleNamespace

import pytest

from tests.bench.conftest import Sides, _Side, words
from tests.support.apps import TINY
from tests.support.pictures import noise
from vitdemo.bench import agreement, classify, passes
from vitdemo.cli import main
from vitdemo.core import config


@pytest.mark.slow
def test_all_sides_answer(tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    for number in range(5):
        noise(80, 60, number).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(classify, "PHOTOS", {TINY: 5})
    assert main(["bench", "classify", "--runs", "1", "--photos", str(tmp_path), "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))["classify"]
    assert list(figures) == [f"{TINY} batch {batch}" for batch in classify.BATCHES]
    for sides in figures.values():
        assert list(sides) == list(classify.SIDES)
        assert all(len(each["seconds"]) == 1 and each["seconds"][0] > 0 and each["peak_mb"] > 100 for each in sides.values())
    assert capsys.readouterr().out.count("photos/s") == 8


def test_without_photos(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(config, "SHARED", tmp_path)
    assert main(["bench", "classify"]) == 1
    assert "set VITDEMO_SHARED, or give --photos DIR" in capsys.readouterr().err


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(classify, "is_installed", lambda name: True)


def test_what_is_made_of_the_sides_seconds(installed, five, tmp_path, monkeypatch, capsys):
    seconds = {"ours": [2.0, 1.0, 4.0], "timm loop": [3.0] * 3, "transformers pipeline": [9.0] * 3, "model alone": [0.5, 1.0, 0.1]}
    sides = Sides(seconds)
    monkeypatch.setattr(classify, "Side", sides)
    monkeypatch.setattr(classify, "PHOTOS", {TINY: 4, classify.BASE: 9})
    found = classify.run(runs=3, photos=tmp_path)
    names = [f"{model} batch {batch}" for model in (TINY, classify.BASE) for batch in (1, 32)]
    assert list(found) == names
    assert all({side: figures["seconds"] for side, figures in measured.items()} == seconds for measured in found.values())
    assert sides.turns == list(classify.SIDES) * 3 * 4
    counts = {(model, batch): count for _, _, model, batch, folder, count in sides.tasks if folder == str(tmp_path)}
    assert counts == {(TINY, 1): 4, (TINY, 32): 4, (classify.BASE, 1): 5, (classify.BASE, 32): 5}  # there are no nine
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * 5
    assert lines[0].endswith("4 photos, batch 1")
    assert words(lines[1]) == "ours 2.0 photos/s 4.00 × the model alone, 4.00 × its CPU time 400 MB at most (1.00 to 4.00 s)"
    assert words(lines[4]) == "model alone 8.0 photos/s 1.00 × the model alone, 1.00 × its CPU time 1100 MB at most (0.10 to 1.00 s)"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("batch", [1, 2, 32])
@pytest.mark.parametrize("side", ["ours", "timm loop", "model alone"])
def test_a_side_answers_every_photo(side, batch, precision, five, small_network, monkeypatch):
    monkeypatch.setattr(classify, "network_of", small_network)
    given = {"precision": precision} if side in classify.BY_PRECISION else {}
    answer = classify._SIDES[side](TINY, batch, five, **given)
    assert [answer(five[:count]) for count in (5, 2, 1)] == [5, 2, 1]


@pytest.mark.parametrize("precisions", [("fp32", "bf16"), ("bf16",)])
def test_each_precision_is_beside_its_own_bare_model(precisions, installed, five, tmp_path, monkeypatch, capsys):
    seconds = {"ours": [4.0], "timm loop": [3.0], "transformers pipeline": [9.0], "model alone": [2.0]}
    sides = Sides(seconds | {"ours bf16": [1.5], "model alone bf16": [1.0]})
    monkeypatch.setattr(classify, "Side", sides)
    monkeypatch.setattr(classify, "PHOTOS", {TINY: 4})
    monkeypatch.setattr(passes, "compare_passes", lambda model, precisions, runs: (model, precisions, runs))
    monkeypatch.setattr(agreement, "compare_answers", lambda precisions, photos: (precisions, photos))
    found = classify.run(runs=1, photos=tmp_path, precisions=precisions)
    assert list(found[f"{TINY} batch 1"]) == [*seconds, "ours bf16", "model alone bf16"]
    assert (found["passes"], found["agreement"]) == ({TINY: (TINY, precisions, 1)}, (precisions, tmp_path))
    lines = [words(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[1].startswith("ours 1.0 photos/s 2.00 × the model alone")
    assert lines[5].startswith("ours bf16 2.7 photos/s 1.50 × the model alone")


def test_what_is_not_there_is_left_out(five, tmp_path, monkeypatch, capsys):
    """transformers, and the memory that a system doesn't report."""
    sides = Sides({"ours": [2.0], "timm loop": [3.0], "model alone": [1.0]})
    monkeypatch.setattr(classify, "Side", sides)
    monkeypatch.setattr(classify, "is_installed", lambda name: name != "transformers")
    monkeypatch.setattr(classify, "PHOTOS", {TINY: 4})
    monkeypatch.setattr(_Side, "end", lambda side: {"seconds": side.seconds, "cpu_seconds": side.seconds, "peak_mb": None})
    assert list(classify.run(runs=1, photos=tmp_path)[f"{TINY} batch 1"]) == ["ours", "timm loop", "model alone"]
    assert words(capsys.readouterr().out.splitlines()[1]).endswith("2.00 × its CPU time (2.00 to 2.00 s)")


def test_a_sides_name_has_its_precision(five, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(classify, "_SIDES", {"ours": lambda *task, precision: asked.append((*task, precision)) or len})
    monkeypatch.setattr(classify, "serve", lambda warm, work: (warm(), work()))
    classify._serve("ours bf16", TINY, 2, str(tmp_path), 4)
    classify._serve("ours", TINY, 2, str(tmp_path), 4)
    assert asked == [(TINY, 2, five[:4], "bf16"), (TINY, 2, five[:4], "fp32")]


def test_a_side_warms_with_two_photos_and_fails_where_one_is_missing(five, tmp_path, monkeypatch):
    asked = []

    def side(model: str, batch: int, paths: list[str]):
        return lambda wanted: asked.append((model, batch, paths, wanted)) or len(wanted) - (batch == 7)

    monkeypatch.setattr(classify, "_SIDES", {"one": side})
    monkeypatch.setattr(classify, "serve", lambda warm, work: (warm(), work()))
    classify._serve("one", TINY, 2, str(tmp_path), 4)
    assert asked == [(TINY, 2, five[:4], five[:2]), (TINY, 2, five[:4], five[:4])]
    with pytest.raises(AssertionError, match=r"^1"):
        classify._serve("one", TINY, 7, str(tmp_path), 4)


def test_the_pipeline_has_the_models_shape(five, monkeypatch):
    asked = []

    class Network:
        def __init__(self, shape: dict):
            self.shape = shape

        def eval(self) -> "Network":
            return self

    def pipeline(task: str, model: Network, image_processor: str):
        asked.append((task, model.shape, image_processor))
        return lambda paths, batch_size, top_k: asked.append((len(paths), batch_size, top_k)) or ["answer"] * len(paths)

    transformers = SimpleNamespace(
        ViTConfig=lambda **shape: shape, ViTForImageClassification=Network, ViTImageProcessor=lambda: "processor", pipeline=pipeline
    )
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    assert classify._SIDES["transformers pipeline"](classify.BASE, 32, five)(five[:3]) == 3
    shape = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "num_labels": 1000}
    assert asked == [("image-classification", shape, "processor"), (3, 32, 5)]
