"""What the commands for many photos do around Ray, which tests/core/bulk/test_ray_data.py has for real."""

import argparse
import contextlib
import re
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pyarrow as pa
import pytest

from tests.support.pictures import noise
from vitdemo.core.bulk import command, ray_session
from vitdemo.core.bulk.parquet import ParquetDataset
from vitdemo.core.errors import UsageError
from vitdemo.core.inference import model_store


@dataclass
class Part:
    """What is told of a finished part."""

    photos: int
    errors: tuple[str, ...] = ()
    seconds: float = 1.0
    actor: str = "one"
    memory_mb: float = 100.0


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_flags(parser)
    parser.add_argument("--output")
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--engine", "spark"], "--engine is “spark”, but it must be local or ray."),
        (["--address", "auto"], "--address and --stages are Ray's: give --engine ray with them."),
        (["--stages", "model.actors=2"], "--address and --stages are Ray's"),
        (["--engine", "ray"], "give --output DIR."),
        (["--engine", "ray", "--stages", "x", "--output", "d"], "--stages has “x”"),
        *((["--engine", "ray", "--output", f"a{end}"], "--output can't end in") for end in (".json", ".csv", ".npz", ".CSV")),
    ],
)
def test_flags_that_do_not_go_together(arguments, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        command.check_flags(parsed(*arguments))


def test_flags_that_do():
    command.check_flags(parsed())
    command.check_flags(parsed("--output", "a.csv"))
    command.check_flags(parsed("--engine", "ray", "--address", "auto", "--stages", "model.actors=2", "--output", "folder.v1"))


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(4):
        noise(20, 15, number).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def ray(vit, monkeypatch):
    """Bulk work without Ray: `asked` has what it was asked for, `parts` what it tells; one that is an exception is raised."""
    work = SimpleNamespace(asked=[], parts=[Part(4)], settings=None)

    @contextlib.contextmanager
    def session(name: str, address: str | None):
        work.asked.append((name, address))
        yield

    def run(task, missing, model, settings, parts, stages):
        work.asked.append((task, [item.path.name for item in missing], model.name, settings.device, str(stages)))
        for part in work.parts:
            if isinstance(part, BaseException):
                raise part
            yield part

    class Store:
        def __init__(self, settings):
            work.settings = settings

        def get(self):
            return SimpleNamespace(result=lambda: vit)

    monkeypatch.setattr(ray_session, "ray_session", session)
    monkeypatch.setattr(model_store, "ModelStore", Store)
    monkeypatch.setitem(sys.modules, "vitdemo.core.bulk.ray_data", SimpleNamespace(free_resources=lambda: (4.0, 0.0), run=run))
    monkeypatch.setattr("vitdemo.core.bulk.ray_data", sys.modules["vitdemo.core.bulk.ray_data"], raising=False)
    return work


@pytest.fixture
def ask(photos, tmp_path):
    """ask() runs the command on the four photos, into the folder `out`."""

    def run() -> int:
        flags = argparse.Namespace(paths=[str(photos)], output=str(tmp_path / "out"), stages="model.actors=2", address="auto", device="cpu")
        return command.run(flags, lambda vit, settings: ("task", {"command": "c", "model": vit.name}))

    return run


def test_all_photos_are_given_to_the_actors(ask, ray, vit, tmp_path, capsys):
    assert ask() == 0
    names = [f"{number}.png" for number in range(4)]
    stages = "model: 2 actors with 0.9 CPUs each, which decode for themselves"
    assert ray.asked == [("--engine ray", "auto"), ("task", names, vit.name, "cpu", stages)]
    assert ray.settings.device == "cpu"
    said = capsys.readouterr().err
    assert f"Ray: {stages}\n" in said
    assert f"4 rows in {tmp_path / 'out'}, 0 with an error: " in said
    assert "  actor one: 1 parts, 100 MB after the first, 100 MB half way, 100 MB at last, 100 MB at most\n" in said
    assert ParquetDataset(str(tmp_path / "out")).about() == {"command": "c", "model": vit.name}


def test_only_what_is_missing_is_done(ask, ray, vit, photos, tmp_path, capsys):
    parts = ParquetDataset(str(tmp_path / "out"))
    parts.begin({"command": "c", "model": vit.name})
    parts.write(pa.table({"path": [str(photos / "1.png"), str(photos / "3.png")]}), "1")
    ray.parts = [Part(2)]
    assert ask() == 0
    assert ray.asked[1][1] == ["0.png", "2.png"]
    assert "2 of 4 photos are there already\n" in capsys.readouterr().err
    parts.write(pa.table({"path": [str(photos / "0.png"), str(photos / "2.png")]}), "2")
    ray.asked.clear()
    assert ask() == 0
    assert ray.asked == [("--engine ray", "auto")]
    assert f"All 4 photos are in {tmp_path / 'out'} already.\n" in capsys.readouterr().err


def test_the_status_tells_whether_there_is_any_result(ask, ray, capsys):
    errors = tuple(f"{number}.png is damaged" for number in range(4))
    ray.parts = [Part(3, errors[:3]), Part(1, errors[3:])]
    assert ask() == 1
    said = capsys.readouterr().err
    assert all(f"vitdemo: {error}\n" in said for error in errors)
    assert "4 rows in " in said
    assert ", 4 with an error: " in said
    ray.parts = [Part(4, errors[:3])]
    assert ask() == 0


def test_ctrl_c_tells_how_to_go_on(ask, ray, capsys):
    ray.parts = [Part(3), KeyboardInterrupt()]
    assert ask() == 130
    assert "vitdemo: stopped after 3 of 4 photos; the same command goes on from there." in capsys.readouterr().err


def test_the_speed_counts_from_the_first_part_on(monkeypatch, capsys):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(command, "time", clock)
    report = command._ProgressReport(100, 90.0)
    parts = {100.0: Part(10, seconds=5), 125.0: Part(10, memory_mb=300), 145.0: Part(40, memory_mb=200), 170.0: Part(40)}
    for clock.now, part in parts.items():
        report.add(part)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2  # at 125 and at 170: every half a minute at most
    assert said[0].startswith("20/100 photos")
    assert said[1].startswith("100/100 photos")
    clock.now = 195.0
    report.print_summary("out")
    total, actor = capsys.readouterr().err.splitlines()
    assert total == "100 rows in out, 0 with an error: 1.0 photos a second after 5.0 s of start-up"
    assert actor == "  actor one: 4 parts, 100 MB after the first, 200 MB half way, 100 MB at last, 300 MB at most"


def test_a_terminal_is_told_of_every_part(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    report = command._ProgressReport(4, 0.0)
    report.add(Part(2, ("a.png is damaged",)))
    report.add(Part(2))
    said = capsys.readouterr().err
    assert f"{command.CLEAR}vitdemo: a.png is damaged\n" in said
    assert said.count("\r2/4 photos") == said.count("\r4/4 photos") == 1
    assert said.endswith("\n")
