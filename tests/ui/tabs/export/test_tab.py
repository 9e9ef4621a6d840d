"""What the Export tab shows of the model that is selected."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from tests.support.waiting import finished
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models.labels import Label
from vitdemo.core.photos.samples import DRAWN_CLASSES
from vitdemo.ui.components import model_picker
from vitdemo.ui.sessions.photo_requests import Waiting
from vitdemo.ui.tabs.export import tab


def test_a_models_size_and_classes(vit):
    told = tab._facts(replace(vit, parameters=5_678_000))
    assert told == {"title": vit.name, "about": "5.7 M parameters · 8 classes", "parameters": 5_678_000, "drawings": False}
    assert tab._facts(replace(vit, labels=()))["about"].endswith(" · features, no classes")


def test_drawings_will_do_for_a_model_that_knows_all_of_them(vit):
    names = sorted(folder.name for folder in DRAWN_CLASSES.iterdir() if folder.is_dir())
    labels = tuple(Label(index, name) for index, name in enumerate(names))
    assert tab._facts(replace(vit, labels=labels))["drawings"]
    assert not tab._facts(replace(vit, labels=labels[1:]))["drawings"]


@pytest.fixture
def look(vit, monkeypatch):
    """look(active) → what the tab shows; `fault` is why the model can't be had."""
    events, fault = [], []

    async def watch(store, name, visitor):
        assert (name, visitor) == ("m", "ann")
        yield Waiting("Loading …", status="busy")
        yield Waiting(status="ready")

    def result(timeout: float):
        if fault:
            raise fault[0]
        return vit

    async def run(active: str) -> list:
        return [step async for step in events[0]["fn"](SimpleNamespace(session_hash="ann"), "m", active)]

    monkeypatch.setattr(model_picker, "watch", watch)
    store = SimpleNamespace(settings=Settings(), get=lambda name, visitor: SimpleNamespace(result=result))
    note = lambda **event: events.append(event)  # noqa: E731
    with gr.Blocks():
        header = SimpleNamespace(picker=SimpleNamespace(change=note), status=None)
        tab.build(store, header, SimpleNamespace(offer=lambda panel: None), SimpleNamespace(active=None, then=note))
    assert len(events) == 2
    assert all(event["concurrency_limit"] is None and not event["preprocess"] for event in events)
    return SimpleNamespace(at=lambda active: finished(run(active)), fault=fault)


def test_the_model_is_followed_while_the_tab_is_open(look, vit):
    busy, ready, last = look.at("export")
    assert (busy[0], busy[1]["model"]) == ("busy", {"text": "Loading …"})
    assert ready == ("ready", gr.skip())
    assert (last[0], last[1]["model"]) == (gr.skip(), tab._facts(vit))
    assert last[1]["limits"]["command"] == "export"
    assert look.at("classify") == [(gr.skip(), gr.skip())]


def test_a_model_that_can_not_be_had_is_said(look):
    look.fault.append(UserError("This model is not here."))
    assert look.at("export")[-1][1]["model"] == {"error": "This model is not here."}
