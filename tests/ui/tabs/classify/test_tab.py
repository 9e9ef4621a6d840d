"""What the Classify tab answers for one photo: the model's classes, the view, and what a person gets wrong in words."""

import re
from types import SimpleNamespace

import gradio as gr
import pytest

from tests.support.pictures import noise
from tests.support.waiting import finished
from vitdemo.classify.photo import classify
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.ui.components import model_picker
from vitdemo.ui.components.preprocessing_panel import OWN
from vitdemo.ui.sessions.photo_requests import Answer, Waiting
from vitdemo.ui.tabs.classify import tab

PLAIN = (OWN,) * 6


@pytest.fixture
def store(vit, engine):
    return SimpleNamespace(settings=Settings(), engine=engine, get=lambda name, visitor: SimpleNamespace(result=lambda timeout: vit))


@pytest.fixture
def component(tmp_path):
    """Gradio's image, as far as uploads know it."""
    return SimpleNamespace(GRADIO_CACHE=str(tmp_path))


@pytest.fixture
def payload(tmp_path) -> dict:
    noise(60, 40).save(tmp_path / "photo.png")
    return {"path": str(tmp_path / "photo.png"), "orig_name": "my photo.png"}


def names(html: str) -> list[str]:
    return re.findall(r'class="label"[^>]*>([^<]+)<', html)


def test_a_photos_answer_is_the_models(store, component, payload, vit, engine):
    answer = tab._outputs(store, component, "ann", payload, "m", 3, PLAIN)
    html, view, about, size, kept = answer.value
    expected = classify(noise(60, 40), vit, engine, top=20)
    assert answer.complete
    assert names(html) == [each.label.name.replace("<b>egg</b>", "&lt;b&gt;egg&lt;/b&gt;") for each in expected.predictions[:3]]
    assert [each.label.index for each in kept["predictions"]] == [each.label.index for each in expected.predictions]
    assert (kept["name"], kept["model"]) == ("my photo.png", vit.name)
    assert kept["milliseconds"] > 0
    assert "<svg" in view
    assert size["value"] == OWN
    assert "224" in about


def test_another_preprocessing_is_said_to_be_one(store, component, payload, vit):
    recipes = (PLAIN, (OWN, OWN, OWN, OWN, "CLIP", OWN))
    own, other = (tab._outputs(store, component, "ann", payload, "m", 3, recipe).value for recipe in recipes)
    assert own[2] != other[2]
    assert own[4]["predictions"][0].probability != other[4]["predictions"][0].probability


def test_without_a_photo_the_model_is_there_all_the_same(store, component):
    answer = tab._outputs(store, component, "ann", None, "m", 3, PLAIN)
    html, view, about, _, kept = answer.value
    assert (answer.complete, kept) == (False, None)
    assert tab.EMPTY_ANSWER in html.replace("&#39;", "'")
    assert tab.EMPTY_VIEW in view
    assert "224" in about


def test_what_goes_wrong_is_a_sentence_beside_what_went_right(store, component, payload, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"no photo")
    answer = tab._outputs(store, component, "ann", payload, "m", 3, PLAIN)
    assert not answer.complete
    assert "“my photo.png” is not a photo" in answer.value[0]
    assert "224" in answer.value[2]
    answer = tab._outputs(store, component, "ann", {"path": "/etc/passwd"}, "m", 3, PLAIN)
    assert "Send the photo as an uploaded file." in answer.value[0]

    def fail(timeout: float):
        raise UserError("This model is not here.")

    store.get = lambda *_: SimpleNamespace(result=fail)
    assert "This model is not here." in tab._outputs(store, component, "ann", payload, "m", 3, PLAIN).value[0]


def test_the_slider_shows_more_of_the_same_answer(store, component, payload):
    kept = tab._outputs(store, component, "ann", payload, "m", 3, PLAIN).value[4]
    assert [len(names(tab._show(kept, top))) for top in (1, 5, 8, 20, 99, 0, -3, 2.7)] == [1, 5, 8, 8, 8, 1, 1, 2]
    for top in (None, True, "3"):
        assert tab._show(kept, top) == gr.skip()
    assert tab._show(None, 3) == gr.skip()


class Requests:
    """Requests whose steps are known; `asked` has what they are about."""

    def __init__(self, *steps):
        self.steps, self.asked = steps, []

    async def answer(self, visitor, client, asked, watching, work):
        self.asked.append((visitor, client, asked))
        async for waiting in watching:
            yield waiting
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            yield step


def responded(requests: Requests, monkeypatch, payload, active: str = "classify") -> list[tuple]:
    async def watch(store, name, visitor):
        yield Waiting("Loading ViT …", 0.5, "status")

    async def run() -> list[tuple]:
        request = SimpleNamespace(session_hash="ann", client=SimpleNamespace(host="10.0.0.1"))
        return [step async for step in tab._respond(None, None, requests)(request, payload, "m", 5, active, "a", "b")]

    monkeypatch.setattr(model_picker, "watch", watch)
    return finished(run())


def test_a_request_is_followed_to_its_answer(monkeypatch):
    requests = Requests(Waiting("2 photos before yours"), Answer(("answer", "view", "about", "size", "kept")))
    loading, waiting, answer, last = responded(requests, monkeypatch, {"path": "/x.png"})
    assert requests.asked == [("ann", "10.0.0.1", ("/x.png", "m", "a", "b"))]
    assert loading[0] == "status"
    assert "Loading ViT … Your photo is next." in loading[1]
    assert 'aria-valuenow="50"' in loading[1]
    assert (waiting[0], "2 photos before yours" in waiting[1], "is next" in waiting[1]) == (gr.skip(), True, False)
    assert answer == (gr.skip(), "answer", "view", "about", "size", "kept")
    assert last == tab.UNCHANGED
    assert {len(step) for step in (loading, waiting, answer, last)} == {6}


def test_without_a_photo_only_the_status_changes(monkeypatch):
    loading, *_ = responded(Requests(), monkeypatch, None)
    assert loading[:2] == ("status", gr.skip())


def test_a_full_queue_is_said_in_place_of_the_answer(monkeypatch):
    _, refused, last = responded(Requests(UserError("The app is busy.")), monkeypatch, {"path": "/x.png"})
    assert (refused[0], "The app is busy." in refused[1], refused[2:]) == (gr.skip(), True, tab.UNCHANGED[2:])
    assert last == tab.UNCHANGED


def test_a_tab_that_is_not_open_answers_nothing(monkeypatch):
    requests = Requests(Answer("x"))
    assert responded(requests, monkeypatch, {"path": "/x.png"}, active="export") == [tab.UNCHANGED]
    assert requests.asked == []
