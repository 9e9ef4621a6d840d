"""What the page asks of an embedded gallery, with maps and jobs that are as they are told to be. test_sessions.py has real ones."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.http import answer_of
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps.atlas import Atlas, MapOptions
from vitdemo.embeddings.maps.scores import LayerScore
from vitdemo.embeddings.progress import WorkProgress
from vitdemo.embeddings.vectors.gallery import EmbeddingRow
from vitdemo.ui.server.page_routes import Caller
from vitdemo.ui.tabs.embeddings import routes
from vitdemo.ui.tabs.embeddings.maps import FinishedMap, MapKey
from vitdemo.ui.tabs.embeddings.routes import EmbeddingsRoutes
from vitdemo.ui.tabs.finetune.sessions import ReplacesSession

KEY = {"layer": "final", "pool": "cls", "dimensions": 2, "neighbours": 15, "min_dist": 0.1, "metric": "cosine", "seed": 0}


class Maps:
    """A gallery's maps: `answer` is what they say of a map."""

    def __init__(self, embedding) -> None:
        self.embedding, self.answer, self.idle, self.asked, self.stopped = embedding, None, True, [], 0
        self.known, self.finished = [LayerScore(1, 0.5, None), LayerScore("final", 0.75, 0.25)], []

    def ask(self, key: MapKey):
        self.asked.append(key)
        return self.answer

    def scores(self, pool: str) -> list:
        return self.known

    def drawn(self, pool: str, options: MapOptions) -> list[FinishedMap]:
        return [each for each in self.finished if (each.key.pool, each.key.options) == (pool, options)]

    def stop(self) -> None:
        self.stopped += 1


class Job:
    """A gallery of three photos, the second of which can't be read."""

    def __init__(self) -> None:
        rows = [EmbeddingRow("a.png"), EmbeddingRow("b.png", error="“b.png” is damaged."), EmbeddingRow("c.png")]
        self.embedding = SimpleNamespace(rows=rows, layers=(1, "final"), pools=("cls", "mean"))
        self.maps = Maps(self.embedding)
        self.over, self.state, self.error, self.items, self.done, self.speed = True, "done", "", [1, 2, 3], 3, 1.5
        self.notes = ["One is no photo."]
        self.stopping = SimpleNamespace(set=lambda: self.stops.append(True))
        self.stops = []

    def embedded(self):
        return self.embedding

    def mapped(self):
        return self.maps

    def row(self, number):
        if number not in (0, 2):
            raise UserError("There is no such photo.")
        return self.embedding.rows[number], f"item {number}"


@pytest.fixture
def job(monkeypatch) -> Job:
    monkeypatch.setattr(routes, "photos_file", lambda job: {"rows": "rows.json"})
    monkeypatch.setattr(routes, "map_file", lambda job, drawn: {"path": "map.bin", "layer": drawn.key.layer})
    return Job()


@pytest.fixture
def lessons() -> SimpleNamespace:
    """Fine-tuning sessions, which note the classes they are given; `fault` is raised instead."""
    lessons = SimpleNamespace(asked=[], fault=None)

    def add_class(session, label, items, *, anew):
        if lessons.fault:
            raise lessons.fault
        lessons.asked.append((session, label, items, anew))
        return SimpleNamespace(id="lesson", classes=["cat", label])

    lessons.add_class = add_class
    return lessons


@pytest.fixture
def ask(job, lessons, tmp_path):
    callers = []

    def get(id: str, visitor: str = ""):
        callers.append(visitor)
        if id != "gallery":
            raise UserError("This gallery is not here any more: give the photos again.")
        return job

    jobs = SimpleNamespace(
        get=get, settings=Settings(maps_dir=tmp_path), title=lambda job: "ViT", status_text=lambda job: "", callers=callers
    )
    asking = partial(answer_of, EmbeddingsRoutes(jobs, lessons), caller=Caller("ann"), gallery="gallery")
    return lambda name, **asked: asking(name, **(KEY | asked))


def drawn(layer, trust: float, **options) -> FinishedMap:
    atlas = Atlas(np.zeros((2, 2), np.float32), np.zeros(2, np.int32), np.ones(2, np.float32), trust, MapOptions(**options))
    return FinishedMap(MapKey(layer, "cls", atlas.options), atlas, ["cat"], np.zeros(2, np.float32))


def test_how_far_a_gallery_is(ask, job, monkeypatch):
    told = ask("poll")
    assert (told["done"], told["total"], told["wrong"], told["speed"], told["model"]) == (3, 3, 1, 1.5, "ViT")
    assert told["errors"] == [{"name": "b.png", "error": "“b.png” is damaged."}]
    assert told["notes"] == ["One is no photo."]
    assert (told["layers"], told["pools"], told["photos"]) == ([1, "final"], ["cls", "mean"], {"rows": "rows.json"})
    monkeypatch.setattr(routes, "MAX_ERRORS", 0)
    assert ask("poll")["errors"] == []
    job.over, job.state = False, "running"
    told = ask("poll")
    assert (told["wrong"], told["errors"], told["layers"], told["photos"]) == (1, [], [], None)
    job.embedding = None
    assert ask("poll")["wrong"] == 0
    job.over, job.maps = True, None
    assert ask("poll")["photos"] is None


def test_stop_ends_the_photos_and_then_the_map(ask, job):
    assert ask("stop") == {}
    assert (job.maps.stopped, job.stops) == (1, [True])
    job.over = False
    ask("stop")
    assert (job.maps.stopped, job.stops) == (1, [True, True])


@pytest.mark.parametrize(
    ("progress", "answer"),
    [
        (WorkProgress("map", 75, 300, 5.0), {"text": "Laying out the map", "share": 0.25, "left": 45.0}),
        (WorkProgress("map", 0, 300), {"text": "Laying out the map", "share": 0.0, "left": None}),
        (WorkProgress("map", 0, 0), {"text": "Laying out the map", "share": None, "left": None}),
        (WorkProgress("starting", 0, 1, 1.0), {"text": "Preparing the map (first time only)", "share": None, "left": None}),
        (WorkProgress("clusters", 0, 1), {"text": "Finding clusters", "share": None, "left": None}),
        (WorkProgress("something", 0, 1), {"text": "something", "share": None, "left": None}),
    ],
)
def test_how_far_a_map_is(ask, job, progress, answer):
    job.maps.answer = progress
    assert ask("map") == {"map": None} | answer
    assert job.maps.asked == [MapKey("final", "cls", MapOptions())]


def test_a_map_that_is_there_or_has_failed(ask, job):
    job.maps.answer = drawn("final", 0.9)
    assert ask("map") == {"map": {"path": "map.bin", "layer": "final"}, "text": "", "share": None, "left": None}
    job.maps.answer = "The map was stopped."
    assert ask("map") == {"error": "The map was stopped."}
    for change in ({"neighbours": 2.5}, {"seed": 0.5}, {"dimensions": 2.5}):
        assert ask("map", **change)["error"] == "Neighbours and seed are whole numbers: correct the one that is not."


def test_scores_stand_beside_the_trust_of_maps_of_the_same_options(ask, job):
    job.maps.finished = [drawn(1, 0.8), drawn("final", 0.9), drawn("final", 0.1, seed=3)]
    told = ask("scores")
    assert told["scores"] == [
        {"layer": 1, "accuracy": 0.5, "silhouette": None, "trust": 0.8},
        {"layer": "final", "accuracy": 0.75, "silhouette": 0.25, "trust": 0.9},
    ]
    assert told["complete"]
    assert [row["trust"] for row in ask("scores", seed=3)["scores"]] == [None, 0.1]
    job.maps.idle = False
    assert not ask("scores")["complete"]  # a map is being drawn
    job.maps.idle, job.maps.known = True, [None, job.maps.known[1]]
    told = ask("scores")
    assert (told["complete"], told["scores"][0]["accuracy"]) == (False, None)


def test_selected_photos_become_a_class(ask, lessons):
    assert ask("add_class", ids=[0, 2], label="dog", session="before", anew=True) == {"session": "lesson", "classes": 2, "warning": ""}
    assert lessons.asked == [("before", "dog", ["item 0", "item 2"], True)]
    assert "No photos are selected" in ask("add_class", ids=[], label="dog")["error"]
    assert ask("add_class", ids=[1], label="dog")["error"] == "There is no such photo."
    lessons.fault = ReplacesSession("This takes the place of your photos.")
    assert ask("add_class", ids=[0], label="dog") == {"session": "", "classes": 0, "warning": "This takes the place of your photos."}
    lessons.fault = UserError("Give the class a name.")
    assert ask("add_class", ids=[0]) == {"error": "Give the class a name."}
    assert len(lessons.asked) == 1


def test_a_kept_map_is_opened_by_its_number(ask, tmp_path):
    (tmp_path / "a.html").write_text("the page")
    assert ask("kept", number=0) == {"page": "the page"}
    for number in (1, -1):
        assert "There is no such map here" in ask("kept", number=number)["error"]


def test_patches_of_a_layer_that_is_there(ask):
    for ids in ([], list(range(13))):
        assert ask("colours", ids=ids)["error"] == "Choose from 1 to 12 photos to look at together."
    assert ask("alike", ids=[0], layer=7)["error"] == "There is no such layer in this model."
