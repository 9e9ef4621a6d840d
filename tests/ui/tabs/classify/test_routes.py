"""What the page asks of a gallery that is classified, whose rows are known."""

import csv
import json
import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.http import answer_of
from tests.support.pictures import noise
from vitdemo.classify import scores
from vitdemo.classify.gallery import PredictionRow, with_conflicts
from vitdemo.classify.scores import score
from vitdemo.core.config import Settings
from vitdemo.core.models.labels import ClassNames, Label
from vitdemo.core.models.predictions import Prediction
from vitdemo.core.photos.gallery import Gallery
from vitdemo.core.photos.search import find_items
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
    """Five photos: of cats right and wrong, unreadable, a copy of the first as a dog, and a fish in a folder of no class."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    for number, name in enumerate(("cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png", "pets/4.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        noise(600, 300, number).save(tmp_path / name)
    job = ClassifyJob(find_items([tmp_path / "cat", tmp_path / "dog", tmp_path / "pets"]), "m", "ann", Settings(), 5)
    job.items = Gallery(replace(item, name=item.path.relative_to(tmp_path).as_posix()) for item in job.items)
    cats, dogs = {"folder": "n00000000", "meant": LABELS[:1]}, {"folder": "dog", "meant": LABELS[1:2]}
    job.rows = with_conflicts(
        [
            PredictionRow("cat/0.png", "0", predicted(0, 1, 2, 3, 4, 5), thumbnail=b"small", **cats),
            PredictionRow("cat/1.png", "1", predicted(2, 0), thumbnail=b"small", unfamiliar=True, **cats),
            PredictionRow("dog/2.png", error="“2.png” is no photo.", **dogs),
            PredictionRow("dog/3.png", "0", predicted(0, 1), duplicate_of="cat/0.png", thumbnail=b"small", **dogs),
            PredictionRow("pets/4.png", "4", predicted(2), folder="pets", thumbnail=b"small"),
        ]
    )
    job.state, job.model_name, job.class_names = "done", "the model", ClassNames(LABELS)
    job.scores = score(job.rows)
    return job


@pytest.fixture
def ask(job):
    jobs = SimpleNamespace(get=lambda id, visitor="": job, settings=job.settings, title=lambda job: "ViT-B/16", status_text=lambda job: "")
    return partial(answer_of, ClassifyRoutes(jobs), caller=Caller("ann"), gallery=job.id)


def test_rows_are_sent_with_what_the_page_shows(ask):
    told = ask("poll")
    assert (told["state"], told["total"], told["done"], told["wrong"]) == ("done", 5, 5, 1)
    first, second, bad, copy, other = told["rows"]
    assert first == {
        **{"path": "cat/0.png", "folder": "n00000000", "title": "cat", "index": 0, "label": "cat", "probability": 0.5, "percent": "50.0 %"},
        **{"right": None, "truth": "cat", "id": "0", "duplicate": None, "conflict": True, "unfamiliar": False, "thumbnail": "c21hbGw="},
    }
    assert (second["label"], second["right"], second["truth"], second["unfamiliar"]) == ("<b>fish", False, "cat", True)
    assert bad == {"path": "dog/2.png", "folder": "dog", "title": "dog", "error": "“2.png” is no photo."}
    assert (copy["right"], copy["duplicate"], copy["id"], copy["conflict"]) == (None, "cat/0.png", "0", True)
    assert (other["right"], other["truth"], other["title"], other["conflict"]) == (None, "", "pets", False)
    assert told["conflicts"] == [0, 3]


def test_rows_come_in_parts_and_the_end_comes_last(ask, job, monkeypatch):
    monkeypatch.setattr(routes, "ROWS_PER_POLL", 3)
    first = ask("poll")
    assert (len(first["rows"]), first["state"], first["scores"]) == (3, "running", None)
    last = ask("poll", start=3)
    assert ([row["path"] for row in last["rows"]], last["state"]) == (["dog/3.png", "pets/4.png"], "done")
    assert last["scores"] is not None
    assert (first["conflicts"], last["conflicts"]) == ([], [0, 3])
    assert ask("poll", start=-7)["rows"] == first["rows"]
    job.state = "running"
    assert ask("poll", start=3)["scores"] is None


def test_scores_are_there_where_folders_name_classes(ask, job):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", ask("poll")["scores"]))
    assert "0.0 % top-1 and 100.0 % top-5 accuracy on the 1 photos" in text
    assert "2 photos are copies in folders of different classes" in text
    matrix = ask("poll")["scores"]
    assert '<th scope="row" title="n00000000">cat</th>' in matrix
    assert '<th scope="col" class="other"><span>&lt;b&gt;fish</span></th>' in matrix
    assert 'data-folder="n00000000" data-from="cat" data-taken="&lt;b&gt;fish" data-classes="2" aria-label="1 of cat predicted as' in matrix
    assert "something else" not in matrix
    job.scores = None
    assert "2 photos are copies" in ask("poll")["scores"]
    job.rows = [replace(row, conflict=()) for row in job.rows]
    assert ask("poll")["scores"] is None


def test_what_has_no_column_of_its_own_is_something_else(ask, job, monkeypatch):
    monkeypatch.setattr(scores, "MAX_OTHERS", 0)
    matrix = ask("poll")["scores"]
    assert "<span>something else</span>" in matrix
    assert 'data-taken="something else" data-classes="0" data-rest aria-label="1 of cat predicted as something else"' in matrix


def test_many_folders_have_a_list_of_mistakes(ask, job):
    many = [Label(index, f"class {index}", f"n{index:08}") for index in range(30)]
    job.rows = [
        PredictionRow("a", str(index), [Prediction(many[index // 2], 0.5)], folder=many[index].synset, thumbnail=b"", meant=(many[index],))
        for index in range(30)
    ]
    job.class_names, job.scores = ClassNames(many), score(job.rows)
    text = ask("poll")["scores"]
    assert "Confusion matrix" not in text
    assert 'data-folder="n00000001" data-from="class 1" data-taken="class 0" data-classes="0"' in text
    assert "1 × class 1 predicted as class 0</button>" in text


def test_one_photo_is_opened_with_its_five_classes(ask):
    html = ask("detail", index=0)["html"]
    assert html.count("data:image/jpeg;base64,") == 1
    assert re.findall(r'class="label"[^>]*>([^<]+)<', html) == ["cat", "dog", "&lt;b&gt;fish", "boat", "hat"]
    copy = ask("detail", index=3)["html"]
    assert "The same file as cat/0.png" in copy
    assert "in folders of different classes, cat and dog: it counts neither" in copy
    assert "True class, by its folder: <strong>cat</strong>" in ask("detail", index=1)["html"]
    assert "True class" not in copy + html + ask("detail", index=4)["html"]
    for index in (-1, 5, 2):  # the last can't be read
        assert ask("detail", index=index)["error"] == "There is no such photo in this gallery."


def test_predictions_are_downloaded_with_five_classes_each(ask, job):
    path = Path(ask("download", kind="json")["path"])
    assert path == job.folder / f"photos-ViT-B-16-predictions-{time.strftime('%Y-%m-%d')}.json"
    rows = json.loads(path.read_text("utf-8"))
    assert [len(row.get("predictions", ())) for row in rows] == [5, 2, 0, 2, 1]
    assert [row["label_conflict"] for row in rows] == [True, False, False, True, False]
    with open(ask("download", kind="csv")["path"], newline="", encoding="utf-8") as file:
        assert list(dict.fromkeys(row["path"] for row in csv.DictReader(file))) == [row.path for row in job.rows]
    for kind in ("exe", "", "../x"):
        assert ask("download", kind=kind)["error"] == "There is nothing to download here yet."
    for numbers in ([], [5], [-1], ["0"], [True]):
        assert ask("download", kind="csv", rows=numbers)["error"] == "No photo fits this filter: choose another one, then download."
    job.model_name = ""
    assert ask("download", kind="csv")["error"] == "There is nothing to download here yet."


def test_what_is_filtered_is_downloaded_under_a_name_that_says_so(ask, job):
    job.items = Gallery(replace(item, name=f"My pets.zip/{item.name}") for item in job.items)
    answer = ask("download", kind="json", rows=[3, 0], filter="../Wrong <é>")
    assert answer["name"] == f"My-pets-ViT-B-16-Wrong-é-predictions-{time.strftime('%Y-%m-%d')}.json"
    assert Path(answer["path"]).parent == job.folder
    assert [row["path"] for row in json.loads(Path(answer["path"]).read_text("utf-8"))] == ["dog/3.png", "cat/0.png"]


def test_stop_reaches_the_job(ask, job):
    assert ask("stop") == {}
    assert job.stopping.is_set()
