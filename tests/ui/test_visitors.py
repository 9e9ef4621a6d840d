"""What visitors gave and made is kept as long as somebody asks for it or works with it, piece by piece, and goes after that."""

import os
import threading
import time
from pathlib import Path

import pytest

from tests.support.pictures import noise
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Job
from vitdemo.core.photos.search import uploaded_items
from vitdemo.ui.server.upload import Upload
from vitdemo.ui.tabs.attention.sessions import AttentionSession
from vitdemo.ui.visitors import Visitors


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


@pytest.fixture
def visitors(bundle, folder) -> Visitors:
    return Visitors(ModelStore(Settings(model=f"local-dir:{bundle}", device="cpu", upload_minutes=5)))


def given(folder: Path, name: str) -> Path:
    """An upload."""
    (folder / name).mkdir(parents=True)
    noise(30, 20, len(name)).save(folder / name / "photo.png")
    return folder / name / "photo.png"


def age(folder: Path) -> None:
    """As if nobody had touched anything for long."""
    for place, folders, files in os.walk(folder):
        for each in (*folders, *files):
            os.utime(Path(place, each), (time.time() - 1000,) * 2)


@pytest.mark.parametrize("kind", ["classify_jobs", "embedding_jobs"])
def test_the_photos_of_a_gallery_stay_while_it_works_waits_or_is_looked_at(visitors, folder, monkeypatch, kind):
    go = threading.Event()
    runs = getattr(visitors, kind)
    monkeypatch.setattr(runs, "_process", lambda run, vit: go.wait(60))
    photos = [given(folder, str(number)) for number in range(4)]
    started = [
        runs.start(uploaded_items([("a.png", each)], visitors.settings), visitors.settings.model, f"visitor {number}")
        for number, each in enumerate(photos)
    ]
    until(lambda: [run.state for run in started].count("running") == 2)
    for run in started:
        run.seen -= 400  # longer than uploads are kept, and shorter than what makes a gallery give way to those that wait
        run.folder.mkdir()
    age(folder)
    visitors.sweep()
    assert all(each.is_file() for each in photos)
    assert all(run.folder.is_dir() for run in started)
    go.set()
    until(lambda: all(run.over for run in started))
    runs.get(started[0].id)
    age(folder)
    visitors.sweep()
    assert [each.is_file() for each in photos] == [True, False, False, False]
    visitors.embedding_jobs.mapper.close()


def test_a_lesson_stays_while_it_works_or_is_looked_at_and_takes_no_other_with_it(visitors, folder):
    photos = [given(folder, str(number)) for number in range(4)]
    lessons = [visitors.finetune_sessions.create(uploaded_items([("a.png", each)], visitors.settings)) for each in photos]
    until(lambda: all(each.state == "ready" for each in lessons))
    running, waiting, looked_at, left = lessons
    for each, state in ((running, "running"), (waiting, "waiting")):
        each.job = Job(each.folder / "job", ("finetune",), state)
    for each in lessons:
        (each.folder / "weights").write_bytes(b"x")
        each.shelf.mkdir()
        each.seen -= 1000
    visitors.finetune_sessions.get(looked_at.id)
    age(folder)
    os.utime(folder / "lessons", (0, 0))
    visitors.sweep()
    assert [each.folder.is_dir() and each.shelf.is_dir() and photo.is_file() for each, photo in zip(lessons, photos, strict=True)] == [
        *(True, True, True),
        False,
    ]
    with pytest.raises(UserError, match="not here any more"):
        visitors.finetune_sessions.get(left.id)


def test_an_export_stays_while_it_works_or_is_looked_at_and_takes_no_other_with_it(visitors, folder):
    exports = [visitors.export_sessions.begin() for _ in range(3)]
    running, looked_at, left = exports
    running.job = Job(running.folder / "job", ("export",), "running")
    for each in exports:
        each.shelf.mkdir()
        each.seen -= 1000
    visitors.export_sessions.get(looked_at.id)
    age(folder)
    visitors.sweep()
    assert [each.folder.is_dir() and each.shelf.is_dir() for each in exports] == [True, True, False]
    with pytest.raises(UserError, match="not here any more"):
        visitors.export_sessions.get(left.id)


def test_a_scene_keeps_its_photo_and_its_files_as_long_as_it_is_asked_for(visitors, folder):
    photos = [given(folder, name) for name in ("asked for", "left")]
    scenes = [AttentionSession(str(each), "", Upload(each, "photo.png"), "", None, None, None, visitors.settings) for each in photos]
    for each in scenes:
        visitors.attention_sessions.keep(each)
        each.write("file", b"x")
    age(folder)
    visitors.attention_sessions.get(scenes[0].id)
    visitors.sweep()
    assert [photo.is_file() and each.folder.is_dir() for photo, each in zip(photos, scenes, strict=True)] == [True, False]
