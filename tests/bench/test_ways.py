"""The bench of ways: which run, in which lanes, and what is said of those that can't."""

import importlib.util
import sys
import threading

import pytest
import torch

from tests.bench.conftest import words
from vitdemo.bench import ways
from vitdemo.core.inference import precision
from vitdemo.export import formats, runtimes


@pytest.fixture
def small(small_network, monkeypatch):
    monkeypatch.setattr(ways, "network_of", small_network)
    monkeypatch.setattr(precision, "slow_on", lambda *_: "")
    return small_network("m").pretrained_cfg["input_size"]


def test_every_way_of_torch_gives_the_same_answers(small):
    batches = [torch.randn(2, *small) for _ in range(2)]
    answers = {name: torch.cat(way(batches)).float() for name, way in ways._torch_ways(2).items()}
    names = [ways.EAGER, "torch bf16 weights", "torch bf16 autocast"]
    assert [*answers] == [each for name in names for each in (name, f"{name}, 2 lanes of 1 thread")]
    for name, answer in answers.items():
        assert answer == pytest.approx(answers[ways.EAGER], abs=1e-5 if "fp32" in name else 0.1), name
    assert not torch.equal(answers["torch bf16 weights"], answers[ways.EAGER])


def test_one_core_has_no_lanes(small):
    assert [*ways._torch_ways(1)] == [ways.EAGER, "torch bf16 weights", "torch bf16 autocast"]


def test_lanes_have_one_thread_each_and_keep_the_order():
    met = threading.Barrier(2)  # both run at the same time, or neither ends

    def one(number: int) -> tuple[int, int]:
        met.wait(10)
        return number, torch.get_num_threads()

    assert ways._in_lanes(one, 2)([5, 6]) == [(5, 1), (6, 1)]


def test_where_bf16_is_slow_it_is_left_out(small, monkeypatch, capsys):
    monkeypatch.setattr(precision, "slow_on", lambda *_: "No fast bf16.")
    assert all("bf16" not in name for name in ways._torch_ways(2))
    assert capsys.readouterr().out == "No fast bf16. So bf16 is left out.\n"


@pytest.mark.slow
def test_the_other_engines_answer_as_torch_does(small, small_network, monkeypatch, capsys, tmp_path):
    """Without OpenVINO and a compiler, each of which is said."""

    def no_compiler(*_, **__):
        raise RuntimeError("no C++ compiler\nfound")

    monkeypatch.setattr(torch, "compile", no_compiler)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = dict(ways._other_engines(tmp_path))
    assert [*found] == ["ONNX Runtime fp32"]
    images = torch.randn(1, *small)
    (answer,) = found["ONNX Runtime fp32"]([images])
    with torch.inference_mode():
        assert answer["logits"] == pytest.approx(small_network("m")(images).numpy(), abs=1e-4)
    printed = capsys.readouterr().out
    assert printed.count("torch.compile is left out: no C++ compiler\n") == 2
    assert "OpenVINO is left out: it is not installed" in printed


def test_openvino_runs_in_both_precisions(small, monkeypatch, tmp_path):
    asked = []

    class Core:
        def compile_model(self, path, device: str, config: dict):
            asked.append((device, config))
            return lambda batch: batch.shape

    monkeypatch.setattr(torch, "compile", lambda network, dynamic: network)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "openvino", type("openvino", (), {"Core": Core}))
    monkeypatch.setattr(ways, "_pass", lambda network: lambda images: images)
    monkeypatch.setattr(formats, "write", lambda vit, plan, folder: folder / "m.onnx")
    monkeypatch.setattr(runtimes, "open_onnx", lambda path: lambda batch: {"logits": batch})
    found = dict(ways._other_engines(tmp_path))
    assert [*found][-2:] == ["OpenVINO fp32", "OpenVINO bf16"]
    assert found["OpenVINO bf16"]([torch.zeros(3, 2)]) == [(3, 2)]
    assert asked == [("CPU", {"INFERENCE_PRECISION_HINT": hint}) for hint in ("f32", "bf16")]


def test_an_export_that_fails_is_said(small, monkeypatch, capsys, tmp_path):
    def fail(*_):
        raise ImportError("no onnx")

    monkeypatch.setattr(torch, "compile", lambda network, dynamic: network)
    monkeypatch.setattr(ways, "_pass", lambda network: lambda images: images)
    monkeypatch.setattr(formats, "write", fail)
    assert [*dict(ways._other_engines(tmp_path))] == ["torch.compile fp32", "torch.compile bf16"]
    assert "ONNX Runtime and OpenVINO are left out: no onnx" in capsys.readouterr().out


def test_what_is_made_of_known_seconds(monkeypatch, capsys):
    monkeypatch.setattr(ways, "_torch_ways", lambda cores: {ways.EAGER: len, "torch bf16 weights": len})
    monkeypatch.setattr(ways, "_other_engines", lambda folder: iter([("ONNX Runtime fp32", len)]))
    monkeypatch.setattr(ways, "BATCHES", (1, 2))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    seconds = {ways.EAGER: [0.4, 0.4], "torch bf16 weights": [0.1, 0.2], "ONNX Runtime fp32": [0.3, 0.3]}
    monkeypatch.setattr(ways, "in_turns", lambda sides, runs: {name: seconds[name] for name in sides if side_runs(sides[name])})
    found = ways.run(runs=2)
    assert {batch: [*each] for batch, each in found.items()} == {"1": [*seconds], "2": [*seconds][:2]}
    printed = words(capsys.readouterr().out)
    assert "torch bf16 weights 75.0 ms a photo, 3.00 × torch fp32 in speed" in printed
    assert printed.count("fastest: torch bf16 weights") == 2


def side_runs(side) -> bool:
    """Whether a side takes as many batches as there are cores."""
    return side() == 2
