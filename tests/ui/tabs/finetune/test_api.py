"""The endpoint /finetune, called by gradio_client from another process, what it refuses, and a visitor's own model in the store."""

import json
import time
import zipfile

import pytest
import timm

from tests.conftest import ask
from tests.test_finetune_train import paint
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.gallery import find_items
from vitdemo.core.jobs import Job, Jobs
from vitdemo.core.store import ModelStore
from vitdemo.ui.finetune_lesson import changes_of
from vitdemo.ui.finetune_runs import Lessons, Replaces

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
    for name, pattern in (("three", "*/*.png"), ("one", "red/*.png")):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as file:
            for path in sorted((folder / "colours").glob(pattern)):
                file.write(path, path.relative_to(folder))
    return folder


def test_a_model_comes_back_and_what_is_wrong_is_said(app, archive, tmp_path):
    three, one = str(archive / "three.zip"), str(archive / "one.zip")
    calls = [
        (three, {"settings": {"head_epochs": 6, "head_lr": 0.05}}),
        (one, {}),
        (three, {"preset": "slow"}),
        (three, {"preset": ["quick"]}),
        (three, {"settings": {"lr": "ten"}}),
        (three, {"model": "none"}),
    ]
    answered, *refused = ask(CALL, app, json.dumps(calls))
    assert isinstance(answered, list), answered
    report, file = answered
    assert report["classes"] == ["blue", "green", "red"]
    assert {row["photo"].split("/", 1)[1][:8] for row in report["photos"]} <= {"colours/"}
    assert report["recipe"]["head_epochs"] == 6
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
    store.add("own:x", bundle)
    assert store.get("own:x").result(60).name == bundle.name
    assert store.place_of("own:x") == f"local-dir:{bundle}"
    locked = ModelStore(Settings(model="demo", lock_model=True))
    with pytest.raises(UserError, match="keeps everybody to one model"):
        locked.add("own:x", bundle)


def test_chosen_photos_are_a_class(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    photos = find_items([paint(tmp_path / "colours", 3, 0)])
    of = {label: [item for item in photos if item.folder == label] for label in ("red", "blue", "green")}
    settings = Settings(model="demo", max_gallery=8)
    lessons = Lessons(ModelStore(settings), Jobs(settings))

    def teach(id, label, items):
        lesson = lessons.teach(id, label, items)
        while lesson.state == "reading":
            time.sleep(0.01)
        return lesson

    lesson = teach("no such lesson", " red ", of["red"])
    with pytest.raises(UserError, match="is the only class so far"):
        lesson.data()
    assert teach(lesson.id, "cold", of["blue"]) is lesson
    assert lesson.data().classes == ("cold", "red")
    assert len(lesson.data().samples) == 6
    assert len({id for id, _, _ in lesson.read.values()}) == 6
    for id, label, items, words in (
        (lesson.id, "", of["red"], "a name first"),
        (lesson.id, 3, of["red"], "a name first"),
        (lesson.id, "more", of["green"], "more than 8 photos"),
    ):
        with pytest.raises(UserError, match=words):
            lessons.teach(id, label, items)
    lesson.job = Job(tmp_path, ("finetune",), "running")
    with pytest.raises(UserError, match="Fine-tune is at work"):
        lessons.teach(lesson.id, "cold", of["blue"])
    lesson.job = None
    lesson.changes = {"cold": "", "red": "warm"}
    teach(lesson.id, "Cold", of["blue"])  # left out before, and wanted again
    assert lesson.classes == {"cold", "warm"}
    teach(lesson.id, "cool", of["blue"])  # the same photos under another name move there
    assert (lesson.data().classes, len(lesson.items)) == (("cool", "warm"), 6)
    given = lessons.give(photos)  # by its folders
    with pytest.raises(Replaces, match="Send once more to begin anew"):
        lessons.teach(given.id, "red", of["red"])
    assert lessons.teach(given.id, "red", of["red"], anew=True) is not given


def test_new_names_for_classes_add_up():
    first = changes_of({"cat": "pet"}, {})
    assert changes_of({"pet": "animal"}, first) == {"cat": "animal", "pet": "animal"}
    assert changes_of({"pet": ""}, first) == {"cat": "", "pet": ""}
    assert changes_of({"dog": "pet"}, first) == {"cat": "pet", "dog": "pet"}
    for odd in (3, [], {"a": 1}):
        with pytest.raises(UserError):
            changes_of(odd, {})
