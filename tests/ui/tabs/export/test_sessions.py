"""Visitors' exports: what is kept of photos, what the child is asked, what is refused, and what is left when it ends early."""

import os
import signal
import sys
import time
import zipfile

import pytest
import torch

from tests.core.jobs.test_jobs import FOREVER, until
from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Jobs
from vitdemo.core.photos.search import find_items, uploaded_items
from vitdemo.export.plan import Plan
from vitdemo.finetune.heads.head import put
from vitdemo.finetune.heads.readout import BOTH, read_from
from vitdemo.finetune.learning.bundle import write
from vitdemo.ui.tabs.export import sessions
from vitdemo.ui.tabs.export.session import GONE_MODEL, NO_ROOM, read_plan
from vitdemo.ui.tabs.export.sessions import ExportSessions, _plain_name

CHILD = """
import sys, time
from pathlib import Path
from vitdemo.core.jobs.child import emit_event, stop_with_parent
stop_with_parent()
place = Path(next(each for each in sys.argv if each.startswith("--output=")).removeprefix("--output="))
place.parent.mkdir(parents=True)
(place.parent / ".export-half").mkdir()
emit_event({"kind": "step", "stage": "model", "phase": "Loading the model", "done": 0, "total": 0})
"""
WHOLE = """
(place.parent / ".export-half").rename(place)
for name in ("model.onnx", "labels.json", "known_answer/photo.png"):
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_bytes(b"12345")
"""
PLAN = Plan("onnx")


@pytest.fixture
def make(bundle, tmp_path, monkeypatch):
    """make(what the child does, **settings) → Exports, with the small ViT loaded."""
    monkeypatch.setattr(sessions, "get_upload_folder", lambda: str(tmp_path / "uploads"))
    made = []

    def start(script: str = WHOLE, **more) -> ExportSessions:
        settings = Settings(model=f"local-dir:{bundle}", device="cpu", **more)
        store = ModelStore(settings)
        store.get().result(60)
        sessions = ExportSessions(store, Jobs(settings, (sys.executable, "-c", CHILD + script)))
        made.append(sessions)
        return sessions

    yield start
    for each in made:
        each.jobs.close()


def ended(sessions: ExportSessions, plan: Plan = PLAN, session=None):
    session = session or sessions.begin()
    sessions.start(session, sessions.settings.model, plan)
    until(lambda: session.job.over)
    return session


@pytest.fixture
def photos(tmp_path):
    """Uploads, with folders, an odd name and one that is no photo."""
    names = ["cat/1.png", "cat/2.png", "<b>“ä\u202e”/3.png", "cat/broken.png"]
    found = []
    for number, name in enumerate(names):
        path = tmp_path / f"{number}.png"
        path.write_bytes(b"no photo") if "broken" in name else noise(40, 30, number).save(path)
        found.append((name, path))
    return uploaded_items(found, Settings())


def test_a_bundle_its_files_and_a_zip(make):
    sessions = make()
    session = ended(sessions)
    assert session.done
    assert [name for name, _ in session.files()] == ["model.onnx", "labels.json", "known_answer/photo.png"]
    packed = sessions.pack(session)
    assert sessions.pack(session) == packed
    with zipfile.ZipFile(packed) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {session.bundle.name}
        assert archive.read(f"{session.bundle.name}/known_answer/photo.png") == b"12345"
    for name in ("../../job/events.jsonl", "/etc/passwd", "none", "", "a\0"):
        with pytest.raises(UserError):
            session.file(name)


def test_the_next_one_takes_its_place(make):
    sessions = make()
    session = ended(sessions)
    first = session.bundle
    ended(sessions, Plan("onnx", "fp16"), session)
    assert session.bundle.name.endswith("-onnx-fp16")
    assert not first.exists()
    assert len(list(session.folder.glob("bundle-*"))) == 1


def test_what_the_child_is_asked(make, photos, bundle):
    sessions = make()
    session = sessions.begin()
    sessions.add_photos(session, "photos", photos)
    sessions.add_photos(session, "calibration", photos)
    plan = Plan("onnx", "int8", baked=True, extras=("features",), kits=("fastapi",), prefer="smallest")
    ended(sessions, plan, session)
    command = session.job.command
    assert command[:4] == ("export", "--format=onnx", "--precision=int8", "--prefer=smallest")
    for flag in ("--bake-preprocessing", "--with=features", "--serve=fastapi", f"--model=local-dir:{bundle}", "--compare-photos=200"):
        assert flag in command
    assert f"--photos={session.folder}/photos.zip" in command
    assert f"--calibrate={session.folder}/calibration.zip" in command
    ended(sessions, Plan("onnx", "fp32"), session)
    assert not any(each.startswith("--calibrate") for each in session.job.command)


def test_what_timm_could_not_read_is_refused_before_the_work(make, vit, tmp_path):
    both, arguments = read_from(vit, BOTH)
    put(both.module, {"weight": torch.zeros(2, 96), "bias": torch.zeros(2)})
    write(both.module, ("cat", "dog"), vit.preprocessing, tmp_path / "both", arguments)
    sessions = make()
    sessions.store.add("own:both", tmp_path / "both", "Run 2")
    sessions.store.get("own:both").result(60)
    session = sessions.begin()
    with pytest.raises(UserError, match="choose the format onnx or pt2"):
        sessions.start(session, "own:both", Plan("safetensors"))
    assert session.job is None


def test_a_visitors_own_model_and_the_operators_checkpoint(make, bundle, tmp_path):
    sessions = make()
    sessions.store.add("own:x", bundle, "Run 1")
    sessions.store.get("own:x").result(60)
    session = sessions.begin()
    sessions.start(session, "own:x", PLAN)
    assert f"--model=local-dir:{bundle}" in session.job.command
    assert session.model == "own:x"
    until(lambda: session.job.over)
    weights = tmp_path / "w.safetensors"
    store = ModelStore(Settings(model="vit_tiny_patch16_224", checkpoint=weights))
    assert store.flags_of("vit_tiny_patch16_224") == ["--model=vit_tiny_patch16_224", f"--checkpoint={weights.resolve()}"]
    assert store.flags_of("demo") == ["--model=demo"]
    converting = ModelStore(Settings(icc="convert"))
    assert converting.flags_of("demo") == ["--model=demo", "--icc=convert"]


def test_photos_keep_their_folders_and_lose_their_names(make, photos):
    sessions = make()
    session = sessions.begin()
    sessions.add_photos(session, "photos", photos)
    assert session.given["photos"].photos == 4
    assert session.given["photos"].folders == 2
    kept = find_items([session.photos("photos")])
    assert sorted({item.folder for item in kept}) == sorted({item.folder for item in photos})
    assert {path.name for path in session.folder.iterdir()} == {"photos.zip"}
    sessions.remove_photos(session, "photos")
    assert list(session.folder.iterdir()) == []


def test_of_many_photos_some_of_every_part_are_kept(make, tmp_path):
    noise(40, 30).save(tmp_path / "p.png")
    items = uploaded_items([(f"{folder}/{number}.png", tmp_path / "p.png") for folder in "abcd" for number in range(10)], Settings())
    sessions = make(compare_photos=8)
    session = sessions.begin()
    sessions.add_photos(session, "photos", items)
    assert session.given["photos"].used == 8
    assert [item.folder for item in find_items([session.photos("photos")])] == [*"aabbccdd"]


def test_photos_that_will_not_do(make, tmp_path):
    sessions = make(workspace_mb=16)
    session = sessions.begin()
    (tmp_path / "bad.png").write_bytes(b"no photo")
    with pytest.raises(UserError, match=r"“bad\.png” is not a photo"):
        sessions.add_photos(session, "photos", uploaded_items([("bad.png", tmp_path / "bad.png")], sessions.settings))
    noise(40, 30).save(tmp_path / "big.png")
    with (tmp_path / "big.png").open("ab") as file:
        file.write(bytes(9 << 20))
    with pytest.raises(UserError, match="These photos take more than the 16 MB"):
        sessions.add_photos(
            session, "photos", uploaded_items([(f"{number}.png", tmp_path / "big.png") for number in range(2)], sessions.settings)
        )
    assert session.given == {}
    assert list(session.folder.iterdir()) == []


def test_too_large_for_a_visitor_is_said_before_the_work(make):
    sessions = make(workspace_mb=16)
    session = ended(sessions)
    object.__setattr__(sessions.store.get().result(1), "parameters", 5_000_000)
    with pytest.raises(UserError, match="The bundle would take more than the 16 MB that one visitor may keep here: choose a smaller model"):
        sessions.start(session, sessions.settings.model, PLAN)
    assert session.done  # the earlier one stays


@pytest.mark.parametrize("kill", [False, True])
def test_stop_or_death_leaves_nothing_half_written(kill, make):
    sessions = make(FOREVER)
    session = sessions.begin()
    sessions.start(session, sessions.settings.model, PLAN)
    until(lambda: session.job.events())
    with pytest.raises(UserError, match="An export is at work here"):
        sessions.start(session, sessions.settings.model, PLAN)
    if kill:
        os.kill(session.job.process.pid, signal.SIGKILL)
    else:
        sessions.jobs.stop(session.job)
    until(lambda: session.job.over)
    assert session.job.state == ("failed" if kill else "stopped")
    assert not session.done
    assert [path.name for path in session.folder.rglob("*") if path.is_dir() and path.name.startswith(".")] == []
    with pytest.raises(UserError, match="There is no bundle yet"):
        sessions.pack(session)


def test_two_at_once_wait_in_line(make):
    sessions = make(FOREVER)
    first, second = sessions.begin(), sessions.begin()
    for each in (first, second):
        sessions.start(each, sessions.settings.model, PLAN)
    until(lambda: first.job.events())
    assert (second.job.state, sessions.jobs.place(second.job)) == ("waiting", 1)
    sessions.jobs.stop(first.job)
    until(lambda: second.job.events())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("The disk of {folder}/x is full, and nothing was kept: make room, or choose another place.", NO_ROOM),
        ("The disk of {folder} has less room than this export needs (9 MB): choose another place.", NO_ROOM),
        (
            "{folder}/x can't be written (Read-only file system): choose another place.",
            "The server can't keep this export: tell the operator.",
        ),
        ("There is no folder /srv/models/x: give local-dir: and the path of a bundle.", GONE_MODEL),
        ("The config.json in /srv/models/secret can't be read: export it.", "The config.json in secret can't be read: export it."),
        ("vit can't be written as ONNX (it's 3/4 odd): choose another format or model.",) * 2,
    ],
)
def test_what_went_wrong_is_told_without_paths(said, told, make):
    sessions = make(
        "text = " + repr(said) + ".replace('{folder}', str(place.parent.parent)); emit_event({'kind': 'error', 'text': text}); sys.exit(1)"
    )
    session = ended(sessions)
    assert (session.job.state, session.error) == ("failed", told)


def test_ids_are_unguessable_and_folders_go_in_time(make):
    sessions = make(upload_minutes=5)
    old, busy = sessions.begin(), sessions.begin()
    assert len(old.id) == 32
    sessions.start(busy, sessions.settings.model, PLAN)
    for each in (old, busy):
        os.utime(each.folder, (time.time() - 301,) * 2)
    with pytest.raises(UserError, match="not here any more"):
        sessions.get("x" * 32)
    sessions.begin()
    with pytest.raises(UserError, match="not here any more"):
        sessions.get(old.id)
    assert not old.folder.exists()
    until(lambda: busy.job.over)


def test_names_are_fit_for_any_system():
    assert _plain_name("vit_tiny.augreg-onnx-int8") == "vit_tiny.augreg-onnx-int8"
    assert _plain_name("../„Mein Modell“ <b>\0-onnx") == "Mein-Modell-b-onnx"
    assert _plain_name("日本") == "bundle"
    assert len(_plain_name("x" * 300)) == 80


def test_a_plan_is_read_from_words_alone():
    asked = {"format": "onnx", "precision": "int8", "prefer": "smallest", "baked": True, "extras": ["features"] * 2, "kits": []}
    assert read_plan(asked) == Plan("onnx", "int8", True, ("features",), (), "smallest")
    for odd in (None, {}, {"format": ["onnx"]}, {"format": "onnx", "extras": "features"}, {"format": "onnx", "kits": [3]}):
        with pytest.raises(UserError):
            read_plan(odd)
