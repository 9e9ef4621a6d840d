"""What the Attention tab sends of the current photo, and in which words it waits."""

from types import SimpleNamespace

import gradio as gr
import pytest

from tests.support.waiting import finished
from vitdemo.core.errors import UserError
from vitdemo.ui.components import model_picker
from vitdemo.ui.components.preprocessing_panel import OWN
from vitdemo.ui.sessions.photo_requests import Answer, Waiting
from vitdemo.ui.tabs.attention import tab

PLAIN = (OWN,) * 6


@pytest.fixture
def component(tmp_path):
    return SimpleNamespace(GRADIO_CACHE=str(tmp_path))


def test_the_state_of_a_photo_is_what_the_page_draws(sessions, upload, component):
    payload = {"path": str(upload.path), "orig_name": upload.name}
    answer = tab._state_of(sessions, component, "ann", payload, "small", PLAIN)
    assert answer.complete
    session = sessions.get(answer.value["session"])
    assert (session.visitor, session.model, session.upload.name) == ("ann", "small", "photo.png")
    other = tab._state_of(sessions, component, "ann", payload, "small", (OWN, OWN, OWN, OWN, "CLIP", OWN))
    assert sessions.get(other.value["session"]).preprocessing.mean != session.preprocessing.mean


def test_without_a_photo_the_explorer_is_empty(sessions, component):
    assert tab._state_of(sessions, component, "ann", None, "small", PLAIN) == Answer({"state": "empty"})


def test_what_went_wrong_is_asked_again(sessions, component):
    answer = tab._state_of(sessions, component, "ann", {"path": "/etc/passwd"}, "small", PLAIN)
    assert answer == Answer({"state": "error", "text": "Send the photo as an uploaded file."}, complete=False)


def responded(monkeypatch, steps: list, payload, active: str = "attention") -> list[tuple]:
    async def watch(store, name, visitor):
        yield Waiting("Loading ViT …", 0.5, "status")
        yield Waiting(status="ready")

    class Requests:
        async def answer(self, visitor, client, asked, watching, work):
            async for waiting in watching:
                yield waiting
            for step in steps:
                if isinstance(step, Exception):
                    raise step
                yield step

    async def run() -> list[tuple]:
        request = SimpleNamespace(session_hash="ann", client=None)
        respond = tab._respond(SimpleNamespace(store=SimpleNamespace(title_of=str)), None, Requests())
        return [step async for step in respond(request, payload, "m", active, *PLAIN)]

    monkeypatch.setattr(model_picker, "watch", watch)
    return finished(run())


def test_a_request_is_followed_to_its_answer(monkeypatch):
    steps = [Waiting("2 photos before yours"), Answer({"state": "ready"})]
    assert responded(monkeypatch, steps, {"path": "/x.png"}) == [
        ("status", {"state": "busy", "text": "Loading ViT … Your photo is next.", "share": 0.5}),
        ("ready", gr.skip()),
        (gr.skip(), {"state": "busy", "text": "2 photos before yours", "share": None}),
        (gr.skip(), {"state": "ready"}),
        tab.UNCHANGED,
    ]


def test_without_a_photo_only_the_status_changes(monkeypatch):
    assert responded(monkeypatch, [], None) == [("status", gr.skip()), ("ready", gr.skip()), tab.UNCHANGED]


def test_a_full_queue_is_said(monkeypatch):
    found = responded(monkeypatch, [UserError("The app is busy.")], None)
    assert found[2:] == [(gr.skip(), {"state": "error", "text": "The app is busy."}), tab.UNCHANGED]


def test_a_tab_that_is_not_open_answers_nothing(monkeypatch):
    assert responded(monkeypatch, [Answer("x")], {"path": "/x.png"}, active="classify") == [tab.UNCHANGED]
