"""The bench of both engines runs for real, on a few photos; how fast they are is for it to say."""

import json

import pytest

from tests.support.pictures import noise
from vitdemo.bench import ray as bench
from vitdemo.cli import main
from vitdemo.core import config

pytest.importorskip("ray")


@pytest.mark.slow
def test_both_engines_and_all_actors_answer(shared, tmp_path, capsys):
    for number in range(40):
        noise(80, 60, number).save(tmp_path / f"{number}.png")
    assert main(["bench", "ray", "--runs", "1", "--photos", str(tmp_path), "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))["ray"]
    assert all(figures["engines"][name]["photos_per_second"][0] > 0 for name in ("local", "ray"))
    assert [len(figures["actors"][str(actors)]["memory"]) <= actors for actors in bench.ACTORS] == [True] * 3
    assert all(sum(each["parts"] for each in figures["actors"][str(actors)]["memory"]) == 3 for actors in bench.ACTORS[:1])
    assert "× local" in capsys.readouterr().out


def test_without_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(config, "SHARED", tmp_path)
    assert main(["bench", "ray"]) == 1
    assert "set VITDEMO_SHARED" in capsys.readouterr().err
