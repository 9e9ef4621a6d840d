"""The bench of both engines runs for real, on a few photos; how fast they are is for it to say."""

import json

import pytest

from tests.bench.conftest import Sides
from tests.support.pictures import noise
from vitdemo.bench import ray as bench
from vitdemo.cli import main
from vitdemo.core import config


@pytest.mark.slow
def test_both_engines_and_all_actors_answer(shared, tmp_path, capsys):
    pytest.importorskip("ray")
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


@pytest.fixture
def five(tmp_path):
    """A folder of five photos."""
    (tmp_path / "photos").mkdir()
    for number in range(5):
        noise(40, 30, number).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_what_is_made_of_the_sides_seconds(five, tmp_path, small_models, monkeypatch, capsys):
    small_models(tmp_path / "shared", bench.TINY)
    memory = [{"parts": 3, "half": 100.4, "last": 120.0, "most": 130.0}]
    sides = Sides(
        {"local": [1.0] * 9, "ray": [1.0] * 9}, {"local": {"seconds": 2.0}, "ray": {"seconds": 2.5, "start": 7.0, "memory": memory}}
    )
    monkeypatch.setattr(bench, "Side", sides)
    found = bench.run(runs=9, photos=five)
    engines = found["engines"]
    assert engines["local"]["photos_per_second"] == [2.5] * 3  # never more than three rounds
    assert engines["ray"]["photos_per_second"] == [2.0] * 3
    assert engines["shares"] == pytest.approx([0.8] * 3)
    assert (engines["start"], engines["memory"]) == (7.0, memory * 3)
    assert {actors: each["photos_per_second"] for actors, each in found["actors"].items()} == {1: 2.0, 2: 2.0, 4: 2.0}
    assert sides.turns == ["local", "ray", "ray", "local", "local", "ray", "ray", "ray", "ray"]
    weights = str(tmp_path / "shared" / "weights" / f"{bench.TINY}.safetensors")
    assert [task[1:] for task in sides.tasks] == [
        ("local", str(five), weights, 0),
        ("ray", str(five), weights, 2),
        *(("ray", str(five), weights, actors) for actors in (1, 2, 4)),
    ]
    assert len(sides.ended) == 5
    said = capsys.readouterr().out
    assert f"{bench.TINY}, 5 photos; the two engines in turn, 3 times\n" in said
    assert "  ray is 0.80 × local (0.80 to 0.80); 7.0 s of start-up apart\n" in said
    assert "    an actor of 3 parts: 100 MB half way, 120 MB at last, 130 MB at most\n" in said


def test_the_local_side_classifies_all_photos(five, vit, monkeypatch, clock_of):
    from vitdemo.classify import files

    clock, tables = clock_of(bench), []
    monkeypatch.setattr(bench, "_vit", lambda weights: vit)
    monkeypatch.setattr(files, "as_table", lambda rows, model: tables.append((len(rows), model)) or clock.pass_(3))
    work = bench._local(str(five), "weights", 0)
    assert work(True) == work(False) == {"seconds": 3}
    assert tables == [(5, vit.name)] * 2


def test_pictures_are_drawn_where_none_are_given(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "DRAWINGS", 7)
    folder = bench._drawn(tmp_path)
    assert len(list(folder.rglob("*.*"))) == 7


def test_a_side_warms_before_it_works(monkeypatch):
    asked = []
    monkeypatch.setattr(bench, "_local", lambda *task: asked.append(task) or (lambda warm: asked.append(warm)))
    monkeypatch.setattr(bench, "serve", lambda warm, work: (warm(), work()))
    bench._serve("local", "folder", "weights", 0)
    assert asked == [("folder", "weights", 0), True, False]


@pytest.mark.parametrize(("actors", "machines", "cpus"), [(1, 1, 2), (2, 1, 2), (4, 2, None)])
def test_the_ray_side_has_as_many_machines_as_its_actors_need(actors, machines, cpus, vit, monkeypatch):
    from vitdemo.core.bulk import ray_session

    log, ends = [], []

    class Session:
        def __init__(self, *words):
            log.append(words)

        def __enter__(self) -> None:
            log.append("begun")

        def __exit__(self, *_) -> None:
            log.append("ended")

    monkeypatch.setattr(bench.atexit, "register", lambda *call: ends.append(call))
    monkeypatch.setattr(ray_session, "ray_session", lambda name, *, cpus: Session(name, cpus))
    monkeypatch.setattr(bench, "_machines", lambda count: Session("machines", count))
    monkeypatch.setattr(bench, "_vit", lambda weights: vit)
    monkeypatch.setattr(bench, "_bulk", lambda folder, model, actors: {"done": (folder, model.name, actors)})
    work = bench._ray("folder", "weights", actors)
    assert log == [("bench ray", cpus) if machines == 1 else ("machines", machines), "begun"]
    assert work(True) == {}
    assert work(False) == {"done": ("folder", vit.name, actors)}
    end, *arguments = ends[0]
    end(*arguments)
    assert log[-1] == "ended"


def test_the_steady_state_begins_with_the_first_part(five, vit, monkeypatch, clock_of):
    import sys
    from types import SimpleNamespace

    from vitdemo.core import bulk

    clock, asked = clock_of(bench), []

    def run(task, items, model, settings, parts, stages):
        asked.append((task.top, len(items), model.name, settings.device, stages.model.actors))
        for actor, seconds, memory in (("a", 5.0, 100.0), ("b", 1.0, 90.0), ("a", 1.0, 130.0), ("a", 1.0, 120.0)):
            clock.pass_(6.0 if actor == "a" and memory == 100 else 2.0)
            yield SimpleNamespace(actor=actor, seconds=seconds, memory_mb=memory)

    module = SimpleNamespace(run=run, free_resources=lambda: (4.0, 0.0))
    monkeypatch.setitem(sys.modules, "vitdemo.core.bulk.ray_data", module)
    monkeypatch.setattr(bulk, "ray_data", module, raising=False)
    found = bench._bulk(str(five), vit, 2)
    assert asked == [(5, 5, vit.name, "cpu", 2)]
    assert found == {
        "seconds": 11.0,  # from the first part's begin, one second after the start
        "start": 1.0,
        "memory": [{"parts": 3, "half": 130.0, "last": 120.0, "most": 130.0}, {"parts": 1, "half": 90.0, "last": 90.0, "most": 90.0}],
    }
