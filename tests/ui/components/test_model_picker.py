"""The header: which models are offered, and what its status line says of a model on its way."""

import re
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from tests.support.waiting import finished
from vitdemo.core.config import DEFAULT_MODEL, DEMO_MODEL, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models.catalogue import CATALOGUE
from vitdemo.core.models.weights import LoadProgress
from vitdemo.ui.components import model_picker
from vitdemo.ui.components.model_picker import BANNER, build, choices, watch


def text(status: str) -> str:
    """What a status line says."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", status)).strip()


def test_the_catalogue_is_offered_with_sizes_and_classes():
    offered = choices("auto")
    assert [name for _, name in offered] == ["auto" if entry.name == DEFAULT_MODEL else entry.name for entry in CATALOGUE]
    words = dict((name, said) for said, name in offered)
    assert words["auto"] == "ViT-B/16, or the demo model offline"
    assert words[DEMO_MODEL].endswith(" · 21 classes · comes with the app")
    assert re.fullmatch(r".+ · 1,000 classes · \d+ MB", words["vit_tiny_patch16_224.augreg_in21k_ft_in1k"])
    (without,) = {said.split(" · ")[1] for said, name in offered for entry in CATALOGUE if entry.name == name and not entry.classes}
    assert without == "features only"


def test_the_operators_own_model_comes_first():
    assert choices("local-dir:/srv/mine")[0][1] == "local-dir:/srv/mine"
    assert len(choices("local-dir:/srv/mine")) == len(CATALOGUE) + 1
    named = [name for _, name in choices(DEFAULT_MODEL)]
    assert named == [entry.name for entry in CATALOGUE]  # asked for by its name, there is no other in its place


@pytest.mark.parametrize("locked", [True, False])
def test_a_locked_picker_can_not_be_changed(locked):
    with gr.Blocks():
        header = build(SimpleNamespace(settings=Settings(model=DEMO_MODEL, lock_model=locked)))
    assert (header.picker.interactive, header.picker.value) == (not locked, DEMO_MODEL)
    assert text(header.status.value) == "Opening …"


def looks(count: int):
    """A thing that is done after so many looks at it."""
    left = iter([False] * count)
    return SimpleNamespace(is_set=lambda: next(left, True))


def watched(loading, monkeypatch) -> list:
    async def all_steps() -> list:
        return [step async for step in watch(SimpleNamespace(get=lambda name, visitor: loading), "m", "ann")]

    monkeypatch.setattr(model_picker, "POLL_SECONDS", 0)
    return finished(all_steps())


def test_a_download_is_followed_to_its_end(vit, monkeypatch):
    vit = replace(vit, parameters=5_678_000, source="the hub")
    loading = SimpleNamespace(name="a model", vit=vit, error=None, done=looks(2), progress=LoadProgress("download", 5_000_000, 20_000_000))
    first, second, last = watched(loading, monkeypatch)
    assert first == second
    assert (first.text, first.share) == ("Downloading a model: 5 of 20 MB", 0.25)
    assert 'aria-valuenow="25"' in first.status
    assert 'class="model-status busy"' in first.status
    assert last.text == ""
    assert 'class="model-status ready"' in last.status
    assert text(last.status) == f"{vit.name} 5.7 M parameters 8 classes on CPU weights from the hub"


def test_a_model_without_classes_gives_features(vit, monkeypatch):
    loading = SimpleNamespace(name="m", vit=replace(vit, labels=()), error=None, done=looks(0), progress=None)
    (status,) = watched(loading, monkeypatch)
    assert "features, no classes" in text(status.status)


@pytest.mark.parametrize(("asked", "warned"), [("auto", True), (DEMO_MODEL, False)])
def test_the_demo_model_in_another_ones_place_is_said(asked, warned, vit, monkeypatch):
    loading = SimpleNamespace(name=asked, vit=replace(vit, name=DEMO_MODEL), error=None, done=looks(0), progress=None)
    (status,) = watched(loading, monkeypatch)
    assert (BANNER.split(":")[0] in text(status.status)) == warned
    assert f"{DEMO_MODEL}: " in text(status.status)  # what it is good for


def test_what_went_wrong_is_said(monkeypatch):
    loading = SimpleNamespace(name="m", vit=None, error=UserError("The hub has no <b>."), done=looks(0), progress=None)
    (status,) = watched(loading, monkeypatch)
    assert 'class="model-status failed"' in status.status
    assert "The hub has no &lt;b&gt;." in status.status

    def refuse(name: str, visitor: str):
        raise UserError("Choose one from the list.")

    async def all_steps() -> list:
        return [step async for step in watch(SimpleNamespace(get=refuse), "m", "ann")]

    (status,) = finished(all_steps())
    assert text(status.status) == "Choose one from the list."
