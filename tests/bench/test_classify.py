"""The gallery bench runs all its sides for real, on few photos and one small model."""

import json

import pytest

from tests.support.apps import TINY
from tests.support.pictures import noise
from vitdemo.bench import classify
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
