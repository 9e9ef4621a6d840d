"""The endpoint /finetune, called by gradio_client from another process, what it refuses, and a visitor's own model in the store."""

import json
import zipfile

import pytest
import timm

from tests.support.apps import ask_by_client
from tests.support.pictures import paint
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Job, Jobs
from vitdemo.core.photos.search import find_items
from vitdemo.ui.tabs.finetune.session import changes_of
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions, ReplacesSession

CALL = """
import json, sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
answers = []
for path, asked in json.loads(sys.argv[2]):
    try:
        answers.append(client.predict(handle_file(path), api_name="/finetune", **asked))
    except Exception as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A zip of three classes, and one of a single class."""
    folder = tmp_path_factory.mktemp("zips")
    paint(folder / "colours", 4, 0)
    (folder / "colours" / "red" / "same.png").write_bytes((folder / "colours" / "red" / "0.png").read_bytes())
    (folder / "colours" / "red" / "bad.png").write_bytes(b"no photo")
    (folder / "colours" / "notes.txt").write_text("Hello")
    for name, pattern in (("three", "**/*.*"), ("one", "red/*.png")):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as file:
            for path in sorted((folder / "colours").glob(pattern)):
                file.write(path, path.relative_to(folder))
    return folder


@pytest.mark.app
def test_a_model_comes_back_and_what_is_wrong_is_said(app, archive, tmp_path):
    three, one = str(archive / "three.zip"), str(archive / "one.zip")
    calls = [
        (three, {"settings": {"views": 1, "seed": 6}}),
        (one, {}),
        (three, {"preset": "slow"}),
        (three, {"preset": ["quick"]}),
        (three, {"settings": {"lr": "ten"}}),
        (three, {"model": "none"}),
    ]
    answered, *refused = ask_by_client(CALL, app, json.dumps(calls))
    assert isinstance(answered, list), answered
    report, file = answered
    assert report["classes"] == ["blue", "green", "red"]
    assert {row["photo"].split("/", 1)[1][:8] for row in report["photos"]} <= {"colours/"}
    assert report["recipe"]["seed"] == 6
    spoken = [row["photo"] for reasons in report["why"] for rows in reasons.values() for row in rows]
    assert all("colours/" in name and "lessons" not in name for name in spoken)
    assert report["notes"] == [
        "1 file that is no photo is left out (1 .txt).",
        "1 photo that can’t be read (“red/bad.png”): left out.",
        "1 photo equal to another in its class (“red/same.png”): left out.",
    ]
    with zipfile.ZipFile(file) as packed:
        packed.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert list(model.pretrained_cfg["label_names"]) == ["blue", "green", "red"]
    words = (
        "at least two classes",
        "preset must be one of quick",
        "preset must be one of quick",
        "--lr is “ten”",
        "There is no model of that name here",
    )
    for answer, said in zip(refused, words, strict=True):
        assert said in answer["error"]


def test_a_visitors_own_model_is_had_by_its_name_alone(bundle):
    store = ModelStore(Settings(model="demo", device="cpu"))
    with pytest.raises(UserError, match="choose one from the list"):
        store.get("own:x")
    store.add("own:x", bundle, "Run 1")
    assert store.get("own:x").result(60).name == bundle.name
    assert store.place_of("own:x") == f"local-dir:{bundle}"
    locked = ModelStore(Settings(model="demo", lock_model=True))
    with pytest.raises(UserError, match="keeps everybody to one model"):
        locked.add("own:x", bundle, "Run 1")


def test_chosen_photos_are_a_class(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    photos = find_items([paint(tmp_path / "colours", 3, 0)])
    of = {label: [item for item in photos if item.folder == label] for label in ("red", "blue", "green")}
    settings = Settings(model="demo", max_gallery=8)
    sessions = FinetuneSessions(ModelStore(settings), Jobs(settings))

    def teach(id, label, items):
        session = sessions.add_class(id, label, items)
        until(lambda: session.state != "reading")
        return session

    session = teach("no such lesson", " red ", of["red"])
    with pytest.raises(UserError, match="is the only class so far"):
        session.data()
    assert teach(session.id, "cold", of["blue"]) is session
    assert session.data().classes == ("cold", "red")
    assert len(session.data().samples) == 6
    assert len({id for id, *_ in session.read.values()}) == 6
    for id, label, items, words in (
        (session.id, "", of["red"], "a name first"),
        (session.id, 3, of["red"], "a name first"),
        (session.id, "more", of["green"], "more than 8 photos"),
    ):
        with pytest.raises(UserError, match=words):
            sessions.add_class(id, label, items)
    session.job = Job(tmp_path, ("finetune",), "running")
    with pytest.raises(UserError, match="Fine-tune is at work"):
        sessions.add_class(session.id, "cold", of["blue"])
    session.job = None
    session.changes = {"cold": "", "red": "warm"}
    teach(session.id, "cold", of["blue"])  # left out before, and wanted again
    assert session.classes == {"cold", "warm"}
    teach(session.id, "cool", of["blue"])  # the same photos under another name move there
    assert (session.data().classes, len(session.items)) == (("cool", "warm"), 6)
    given = sessions.create(photos)  # by its folders
    with pytest.raises(ReplacesSession, match="Send once more to begin anew"):
        sessions.add_class(given.id, "red", of["red"])
    assert sessions.add_class(given.id, "red", of["red"], anew=True) is not given


def test_new_names_for_classes_add_up():
    first = changes_of({"cat": "pet"}, {})
    assert changes_of({"pet": "animal"}, first) == {"cat": "animal", "pet": "animal"}
    assert changes_of({"pet": ""}, first) == {"cat": "", "pet": ""}
    assert changes_of({"dog": "pet"}, first) == {"cat": "pet", "dog": "pet"}
    assert changes_of({"cafe\u0301": "tea"}, {"x": "caf\u00e9"}) == {"caf\u00e9": "tea", "x": "tea"}
    for odd in ({"a": 1}, {"a": "b\0c"}, {"a": "b\nc"}, {"a": "b" * 201}):
        with pytest.raises(UserError):
            changes_of(odd, {})
