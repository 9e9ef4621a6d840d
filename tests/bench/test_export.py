"""The export and serving benches run all their sides for real, on a small model. How fast they are is for the benches to say."""

import json

import pytest
import timm

from tests.support.pictures import noise
from vitdemo.bench import serve
from vitdemo.cli import main
from vitdemo.core import config

pytestmark = pytest.mark.slow


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


def test_the_load_loses_nothing(tmp_path, monkeypatch, capsys):
    for number in range(6):
        noise(90, 70, number).save(tmp_path / f"{number}.jpg")
    monkeypatch.setattr(config, "SHARED", tmp_path / "none")
    monkeypatch.setattr(serve, "REQUESTS", 60)
    assert main(["bench", "serve", "--runs", "2", "--photos", str(tmp_path), "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))["serve"]
    assert (figures["lost"], figures["wrong"]) == (0, 0)
    assert 0 < figures["p50"] <= figures["p99"]
    assert "lost 0, wrong 0" in capsys.readouterr().out


def test_a_wrong_answer_is_counted(capsys):
    rows = [{"index": 1, "probability": 0.9}, {"index": 0, "probability": 0.1}]
    answers = [(number, 0.01, 200, rows) for number in range(serve.REQUESTS - 1)] + [(999, 0.01, 503, [])]
    found = serve._report("model", answers, [[0.1, 0.9], [0.9, 0.1]], 10, 200)
    assert (found["lost"], found["wrong"]) == (1, serve.REQUESTS // 2 - 1)
