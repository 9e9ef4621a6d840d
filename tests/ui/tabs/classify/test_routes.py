"""What the page asks of a gallery that is classified, whose rows are known."""

import csv
import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.http import answer_of
from tests.support.pictures import noise
from vitdemo.classify.gallery import PredictionRow
from vitdemo.classify.scores import score
from vitdemo.core.config import Settings
from vitdemo.core.models.labels import ClassNames, Label
from vitdemo.core.models.predictions import Prediction
from vitdemo.core.photos.gallery import find_items
from vitdemo.ui.server.page_routes import Caller
from vitdemo.ui.tabs.classify import routes
from vitdemo.ui.tabs.classify.routes import ClassifyRoutes
from vitdemo.ui.tabs.classify.sessions import ClassifyJob

LABELS = tuple(Label(index, name, f"n{index:08}") for index, name in enumerate(("cat, house cat", "dog", "<b>fish", "boat", "hat", "gate")))


def predicted(*indices: int) -> list[Prediction]:
    """Predictions of these classes, each half as probable as the one before."""
    return [Prediction(LABELS[index], 0.5 ** (place + 1)) for place, index in enumerate(indices)]


@pytest.fixture
def job(tmp_path, monkeypatch) -> ClassifyJob:
    """Four photos of cats and dogs: right, wrong, unreadable, and a copy of the first."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    for number, name in enumerate(("cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        noise(600, 300, number).save(tmp_path / name)
    job = ClassifyJob(find_items([tmp_path / "cat", tmp_path / "dog"]), "m", "ann", Settings(), 5)
    job.rows = [
        PredictionRow("cat/0.png", "0", predicted(0, 1, 2, 3, 4, 5), folder="cat", thumbnail=b"small"),
        PredictionRow("cat/1.png", "1", predicted(2, 0), folder="cat", thumbnail=b"small", unfamiliar=True),
        PredictionRow("dog/2.png", error="“2.png” is no photo.", folder="dog"),
        PredictionRow("dog/3.png", "0", predicted(0, 1), folder="dog", duplicate_of="cat/0.png", thumbnail=b"small"),
    ]
    job.state, job.model_name, job.class_names = "done", "the model", ClassNames(LABELS)
    job.scores = score(job.rows, LABELS)
    return job


@pytest.fixture
def ask(job):
    jobs = SimpleNamespace(get=lambda id, visitor="": job, settings=job.settings, title=lambda job: "ViT", status_text=lambda job: "")
    return partial(answer_of, ClassifyRoutes(jobs), caller=Caller("ann"), gallery=job.id)


def test_rows_are_sent_with_what_the_page_shows(ask):
    told = ask("poll")
    assert (told["state"], told["total"], told["done"], told["wrong"]) == ("done", 4, 4, 1)
    first, second, bad, copy = told["rows"]
    assert first == {
        **{"path": "cat/0.png", "folder": "cat", "index": 0, "label": "cat", "probability": 0.5, "percent": "50.0 %", "right": True},
        **{"duplicate": None, "unfamiliar": False, "thumbnail": "c21hbGw="},
    }
    assert (second["label"], second["right"], second["unfamiliar"]) == ("<b>fish", False, True)
    assert bad == {"path": "dog/2.png", "folder": "dog", "error": "“2.png” is no photo."}
    assert (copy["right"], copy["duplicate"]) == (False, "cat/0.png")


def test_rows_come_in_parts_and_the_end_comes_last(ask, job, monkeypatch):
    monkeypatch.setattr(routes, "ROWS_PER_POLL", 3)
    first = ask("poll")
    assert (len(first["rows"]), first["state"], first["scores"]) == (3, "running", None)
    last = ask("poll", start=3)
    assert ([row["path"] for row in last["rows"]], last["state"]) == (["dog/3.png"], "done")
    assert last["scores"] is not None
    assert ask("poll", start=-7)["rows"] == first["rows"]
    job.state = "running"
    assert ask("poll", start=3)["scores"] is None


def test_scores_are_there_where_folders_name_classes(ask, job):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", ask("poll")["scores"]))
    assert "33.3 %" in text  # one of three
    job.scores = None
    assert ask("poll")["scores"] is None


def test_one_photo_is_opened_with_its_five_classes(ask):
    html = ask("detail", index=0)["html"]
    assert html.count("data:image/jpeg;base64,") == 1
    assert re.findall(r'class="label"[^>]*>([^<]+)<', html) == ["cat", "dog", "&lt;b&gt;fish", "boat", "hat"]
    assert "The same file as cat/0.png" in ask("detail", index=3)["html"]
    for index in (-1, 4, 2):  # the last can't be read
        assert ask("detail", index=index)["error"] == "There is no such photo in this gallery."


def test_predictions_are_downloaded_with_five_classes_each(ask, job):
    path = Path(ask("download", kind="json")["path"])
    assert path == job.folder / "predictions.json"
    rows = json.loads(path.read_text("utf-8"))
    assert [len(row.get("predictions", ())) for row in rows] == [5, 2, 0, 2]
    with open(ask("download", kind="csv")["path"], newline="", encoding="utf-8") as file:
        assert list(dict.fromkeys(row["path"] for row in csv.DictReader(file))) == [row.path for row in job.rows]
    for kind in ("exe", "", "../x"):
        assert ask("download", kind=kind)["error"] == "There is nothing to download here yet."
    job.model_name = ""
    assert ask("download", kind="csv")["error"] == "There is nothing to download here yet."


def test_stop_reaches_the_job(ask, job):
    assert ask("stop") == {}
    assert job.stopping.is_set()
