"""A training as the page asks for it: photos, names, start, the report and its parts, and the model in use."""

import base64
import io
import json
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import sleep

import numpy as np
import pytest
from PIL import Image

from tests.support.http import answer_of
from tests.support.pictures import noise, paint
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Jobs
from vitdemo.core.names import plain_name
from vitdemo.finetune.learning import estimate
from vitdemo.ui.tabs.finetune.routes import FinetuneRoutes
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions


@pytest.fixture
def ask(bundle, tmp_path, monkeypatch):
    """ask("poll") → what the page is answered of one session, whose classes are red, green and blue."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    folder = paint(tmp_path / "uploads" / "colours", 4, 0)
    settings = Settings(model=f"local-dir:{bundle}", device="cpu")
    store, jobs = ModelStore(settings), Jobs(settings)
    routes = FinetuneRoutes(FinetuneSessions(store, jobs))
    files = [[path.relative_to(folder.parent).as_posix(), str(path)] for path in sorted(folder.rglob("*.png"))]
    session = answer_of(routes, "give", files=files, others=["colours/notes.txt", "colours/.DS_Store"])["session"]

    def ask(name: str, **asked) -> dict:
        return answer_of(routes, name, session=session, **asked)

    ask.store, ask.routes = store, routes
    yield ask
    jobs.close()


def test_changes_are_undone_where_there_are_some(ask, tmp_path):
    def data(session: str) -> str:
        until(lambda: answer_of(ask.routes, "poll", session=session)["state"] == "ready", 60)
        return answer_of(ask.routes, "poll", session=session, data=True)["data"]

    files = [["one/red/0.png", str(path)] for path in [next((tmp_path / "uploads").rglob("red/*.png"))]]
    one = answer_of(ask.routes, "give", files=files)["session"]
    assert "There is one class only" in data(one)
    assert "Undo all changes" not in data(one)
    answer_of(ask.routes, "change", session=one, names={"red": "crimson"})
    assert "Undo all changes" in data(one)


def test_folders_called_by_wordnet_ids_are_classes_called_as_imagenets(ask, tmp_path):
    files = []
    for folder in ("n02099601", "n02012849", "n03126707", "cat"):  # a dog, and the two cranes
        for number in range(2):
            path = tmp_path / "uploads" / folder / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            noise(20, 16, len(files)).save(path)
            files.append([f"dogs/{folder}/{number}.png", str(path)])
    session = answer_of(ask.routes, "give", files=files)["session"]

    def names() -> list[str]:
        until(lambda: answer_of(ask.routes, "poll", session=session)["state"] == "ready", 60)
        return re.findall(r'class="name" value="([^"]+)"', answer_of(ask.routes, "poll", session=session, data=True)["data"])

    assert names() == ["cat", "crane (n02012849)", "crane (n03126707)", "golden retriever"]
    answer_of(ask.routes, "change", session=session, names={"golden retriever": "dog"})
    assert names()[2:] == ["crane (n03126707)", "dog"]
    answer_of(ask.routes, "change", session=session)  # which undoes all changes
    assert names()[3] == "golden retriever"


def test_time_is_estimated_by_one_pass_and_not_before_the_photos_are_read(ask, bundle, monkeypatch):
    (session,) = ask.routes._sessions._sessions.values()
    until(lambda: session.state == "ready", 60)
    model, measured = f"local-dir:{bundle}", []
    until(lambda: ask("estimate", model=model)["seconds"] is not None, 60)
    session.passes.clear()
    monkeypatch.setattr(estimate, "measure", lambda *_: (sleep(0.2), measured.append(1), 0.5)[-1])
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask("estimate", model=model), range(4)))
    assert answers == 4 * [{"seconds": 6.0, "photos": 12}]
    assert len(measured) == 1
    session.state = "reading"
    session.read.clear()
    assert "wait a moment" in ask("estimate", model=model)["error"]


def test_folders_and_notes_stay_where_nothing_can_be_learned(ask):
    sessions = ask.routes._sessions
    (session,) = sessions._sessions.values()
    until(lambda: session.state == "ready", 60)
    items = [item for item in session.items if item.folder in ("red", "blue")]
    session.items[:] = [replace(item, name=f"{'train' if '0' in item.name else 'test'}/{item.folder}/{item.shown}") for item in items]
    session.items[-1] = replace(session.items[-1], name="train/Red/9.png")

    def shown(**folders: str) -> tuple[str, dict[str, str]]:
        assert ask("change", folders=folders) == {}
        data = ask("poll", data=True)["data"]
        return data, dict(re.findall(r'data-folder="(\w+)">.*?<option value="(\w*)" selected', data, re.DOTALL))

    data, folders = shown()
    assert "“Red” has 1 usable photo" in data
    assert "“Red”, “red” differ only in upper and lower case or spaces" in data
    assert folders == {"test": "test", "train": "train"}
    data, folders = shown(train="test")
    assert "There is nothing to learn from" in data
    assert folders == {"test": "test", "train": "test"}
    assert shown(test="train")[1] == {"test": "train", "train": "test"}
    assert shown(test="class")[1] == {"test": "class", "train": "class"}
    assert shown(train="train")[1] == {"test": "test", "train": "train"}


def test_from_photos_to_a_model_in_use(ask, bundle, tmp_path):
    until(lambda: ask("poll")["state"] == "ready", 60)
    told = ask("poll", data=True)
    assert "9 photos for training, 3 for validation" in told["data"]
    assert (told["job"], told["report"], told["asked"]) == ("", "", None)
    assert ask("change", names={"blue": "navy"}) == {}
    assert 'value="navy"' in ask("poll", data=True)["data"]
    assert ask("use")["error"].startswith("There is no model yet")
    assert "“Learning rate of the blocks” is “ten”" in ask("start", recipe={"lr": "ten"})["error"]
    model = f"local-dir:{bundle}"
    assert ask("estimate", model=model)["photos"] == 12
    until(lambda: ask("estimate", model=model)["seconds"] is not None, 60)  # the model is loaded
    once, twice = (ask("estimate", model=model, recipe={"views": views})["seconds"] for views in ("0", "1"))
    assert 0 < twice == pytest.approx(2 * once)
    assert "“Learning rate of the blocks” is “ten”" in ask("estimate", model=model, recipe={"lr": "ten"})["error"]
    assert ask("start", model=model, preset="quick", recipe={"views": "1", "seed": "6"}) == {}
    assert "stop it first" in ask("change", names={"navy": "sky"})["error"]
    until(lambda: ask("poll", start=10_000)["job"] == "done", 120)
    told = ask("poll", data=True)
    assert told["asked"] == {"preset": "quick", "recipe": {"views": "1", "seed": "6"}}
    epochs = [event for event in told["events"] if event["kind"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1]
    assert ask("poll", start=len(told["events"]) - 1)["events"] == told["events"][-1:]
    assert {row["label"] for row in told["guesses"]} == {"green", "navy", "red"}
    report = told["report"]
    for words in (
        "2 files that are no photos are left out (1 .txt, 1 hidden).",
        "Baselines",
        "majority class",
        "Confusion matrix",
        "95 % confidence interval",
        "Per class",
    ):
        assert words in report
    label, taken = re.search(r'data-label="(\w+)" data-taken="(\w+)"', report).groups()
    cell = ask("cell", label=label, taken=taken)["html"]
    assert f"of <strong>{label}</strong> predicted as <strong>{taken}</strong>" in cell
    assert cell.count("<img") == int(re.search(r"<p>(\d+) photo", cell)[1])
    looked = ask("looks")["html"]
    assert "Only the head was trained" in looked
    before, after = (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([^\"]+)", looked))
    np.testing.assert_array_equal(before, after)  # the same blocks look at the same places
    assert before.shape[:2] == (24, 24)
    (session,) = ask.routes._sessions._sessions.values()
    written = json.loads((session.result / "report.json").read_text())
    written |= {"features": "2", "recipe": written["recipe"] | {"features": "auto"}}
    (session.result / "report.json").write_text(json.dumps(written))
    assert "The head reads" not in report
    assert "that you left out" not in report
    session.without = {0, 2}
    assert "First remove from <code>PHOTOS</code> the 2 photos that you left out" in ask("poll")["report"]
    session.without = set()
    assert "CLS after block 2, where the model is cut: the choice of the cross-validation, which may show" in ask("poll")["report"]
    own = ask("use")
    assert own["title"].startswith("Your model “Run 1” · 3 classes · ")
    vit = ask.store.get(own["name"]).result(60)
    renamed = ask("title", run=session.shown.folder.name, title="Colours")
    assert renamed == own | {"title": own["title"].replace("Run 1", "Colours")}
    assert (ask.store.title_of(own["name"]), ask.store.get(own["name"]).result(60).title) == ("Colours", "Colours")
    assert [label.name for label in vit.labels] == ["green", "navy", "red"]
    taken = Path(ask("download")["path"])
    assert taken.name == f"Colours-{plain_name(ask.store.title_of(session.shown.model))}-finetuned.zip"
    with zipfile.ZipFile(taken) as packed:
        (config,) = (name for name in packed.namelist() if name.endswith("config.json"))
        assert json.loads(packed.read(config))["label_names"] == ["green", "navy", "red"]


def test_single_photos_are_left_out_and_taken_again(ask):
    until(lambda: ask("poll")["state"] == "ready", 60)
    listed = ask("photos", label="red")["html"]
    numbers = [int(number) for number in re.findall(r'data-number="(\d+)"', listed)]
    assert len(numbers) == 4
    assert 'aria-pressed="true"' not in listed
    for number in numbers[:3]:
        assert ask("without", number=number) == {}
    data = ask("poll", data=True)["data"]
    assert "“red” has 1 usable photo, and a class needs two at least" in data
    listed = ask("photos", label="red")["html"]
    assert listed.count('aria-pressed="true"') == 3
    assert ask("without", number=numbers[0]) == {}
    data = ask("poll", data=True)["data"]
    assert "2 photos left out by you." in data
    assert "7 photos for training, 3 for validation" in data
    assert ask("without", number=12)["error"] == "There is no such photo: give the photos again."
    ask("change")
    assert "9 photos for training, 3 for validation" in ask("poll", data=True)["data"]
