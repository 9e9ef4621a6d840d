"""The benches of vectors, maps and layers run all their sides for real; how fast they are is for them to say."""

import json

import pytest

from tests.support.pictures import noise
from vitdemo.bench import embed
from vitdemo.cli import main
from vitdemo.core import config


@pytest.mark.slow
def test_all_sides_answer(tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    for number in range(3):
        noise(80, 60, number).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(embed, "POINTS", 300)
    assert main(["bench", "embed", "--runs", "1", "--photos", str(tmp_path), "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))["embed"]
    assert list(figures["vectors"]) == list(embed.PASSES)
    assert list(figures["map"]) == list(embed.MAPS)
    for side in (*figures["vectors"].values(), *figures["map"].values()):
        assert len(side["seconds"]) == 1
        assert side["seconds"][0] > 0
        assert side["peak_mb"] > 100
    assert all(0.5 < side["found"] <= 1 for side in figures["map"].values())
    assert all(len(figures[name]) == 1 for name in ("ready", "first map", "layer switch"))
    printed = capsys.readouterr().out
    assert "map of 300 × 768" in printed
    assert all(words in printed for words in embed.WORDS.values())


@pytest.mark.slow
def test_the_known_accuracies_are_printed(shared, tmp_path, capsys):
    assert main(["bench", "layers", "--json", str(tmp_path / "f.json")]) == 0
    layers = json.loads((tmp_path / "f.json").read_text("utf-8"))["layers"]["layers"]
    assert [each["layer"] for each in layers] == [*range(1, 13), "final"]
    assert all(each["ours"] == pytest.approx(each["sklearn"], abs=0.006) for each in layers)
    assert "best: layer 12" in capsys.readouterr().out


@pytest.mark.parametrize("bench", ["embed", "layers"])
def test_without_photos(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(config, "SHARED", tmp_path)
    assert main(["bench", bench]) == 1
    assert "set VITDEMO_SHARED, or give --photos" in capsys.readouterr().err
