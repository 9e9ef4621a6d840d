"""The header: which models are offered, and what its status line says of a model on its way."""

import re
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from tests.support.waiting import finished
from vitdemo.core.config import DEFAULT_MODEL, DEMO_MODEL, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference import precision
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.models import catalogue
from vitdemo.core.models.catalogue import CATALOGUE
from vitdemo.core.models.weights import LoadProgress
from vitdemo.ui.components import model_picker
from vitdemo.ui.components.model_picker import build, choices, watch


def text(status: str) -> str:
    """What a status line says."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", status)).strip()


def test_the_catalogue_is_offered_with_sizes_and_classes():
    offered = choices(Settings())
    assert [name for _, name in offered] == ["auto" if entry.name == DEFAULT_MODEL else entry.name for entry in CATALOGUE]
    words = dict((name, said) for said, name in offered)
    purpose = {entry.name: entry.purpose for entry in CATALOGUE}
    assert words["auto"] == f"ViT-B/16 · 1,000 classes · 346 MB to fetch · {purpose[DEFAULT_MODEL]}"
    assert words[DEMO_MODEL] == f"Demo model · 21 classes · on this machine · {purpose[DEMO_MODEL]}"
    (without,) = {said.split(" · ")[1] for said, name in offered for entry in CATALOGUE if entry.name == name and not entry.classes}
    assert without == "features only"


def test_what_is_on_this_machine_is_marked(monkeypatch, tmp_path):
    tiny = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert " · 23 MB to fetch · " in dict((name, said) for said, name in choices(Settings()))[tiny]
    assert " · on this machine · " in dict((name, said) for said, name in choices(Settings(model=tiny, checkpoint=tmp_path)))[tiny]
    assert " MB to fetch · " in dict((name, said) for said, name in choices(Settings(model=tiny)))[tiny]  # it may be on its way
    monkeypatch.setattr(catalogue, "try_to_load_from_cache", lambda repo, file: str(tmp_path) if repo == f"timm/{tiny}" else None)
    here = [name for said, name in choices(Settings()) if " · on this machine · " in said]
    assert here == [tiny, DEMO_MODEL]


def test_a_licence_of_a_models_own_is_named():
    words = {name: said for said, name in choices(Settings())}
    assert words["vit_small_patch16_dinov3.lvd1689m"].split(" · ")[:3] == [
        "DINOv3-S/16",
        "features only",
        "86 MB to fetch under dinov3-license",
    ]
    assert sum("licen" in said for said in words.values()) == 3


def test_the_chip_links_to_a_licence():
    said = model_picker._status("failed", "Not loaded", ["Read https://x.org/a?b=1 <now>."], retry=True)
    assert '<a href="https://x.org/a?b=1" rel="noopener" target="_blank">https://x.org/a?b=1</a> &lt;now&gt;.' in said


def test_every_model_is_looked_for_where_timm_keeps_it():
    import timm

    for entry in CATALOGUE[:-1]:
        config = timm.get_pretrained_cfg(entry.name)
        assert (config.hf_hub_id, config.hf_hub_filename or "model.safetensors") == (f"timm/{entry.name}", "model.safetensors")


def test_the_operators_own_model_comes_first():
    named = choices(Settings(model="local-dir:/srv/mine"))
    assert (named[0], len(named)) == (("mine", "local-dir:mine"), len(CATALOGUE) + 1)
    named = [name for _, name in choices(Settings(model=DEFAULT_MODEL))]
    assert named == [entry.name for entry in CATALOGUE]  # asked for by its name, there is no other in its place


@pytest.mark.parametrize("locked", [True, False])
def test_a_locked_picker_can_not_be_changed(locked):
    with gr.Blocks() as page:
        header = build(page, SimpleNamespace(settings=Settings(model=DEMO_MODEL, lock_model=locked)), lambda name: None)
    assert (header.picker.interactive, header.picker.value) == (not locked, DEMO_MODEL)
    assert text(header.status.value) == "Opening …"


def looks(count: int):
    """A thing that is done after so many looks at it."""
    left = iter([False] * count)
    return SimpleNamespace(is_set=lambda: next(left, True))


def watched(loading, monkeypatch, name: str = "m", **options) -> list:
    async def all_steps() -> list:
        return [step async for step in watch(store, name, "ann")]

    store = ModelStore(Settings(**{"lock_model": True} | options))
    monkeypatch.setattr(store, "get", lambda name, visitor: loading)
    monkeypatch.setattr(model_picker, "POLL_SECONDS", 0)
    return finished(all_steps())


@pytest.mark.parametrize(
    ("options", "fast", "name", "offered", "checked"),
    [
        ({}, True, "m", ["fp32", "bf16", "auto"], "fp32"),
        ({}, True, "m@auto", ["fp32", "bf16", "auto"], "auto"),
        ({"precision": "fp16"}, False, "m", ["fp32", "bf16", "auto", "fp16"], "fp16"),
        ({"precision": "bf16"}, False, "m@fp32", ["fp32", "bf16", "auto"], "fp32"),
        ({}, False, "m", [], None),
        ({"precision": "bf16", "lock_model": True}, True, "m", [], None),
    ],
)
def test_the_precisions_on_offer(options, fast, name, offered, checked, vit, monkeypatch):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
    loading = SimpleNamespace(name="m", title="a model", vit=vit, error=None, instead="", done=looks(0), progress=None)
    (status,) = watched(loading, monkeypatch, name, **{"lock_model": False} | options)
    inputs = re.findall(r'name="model-precision" value="(\w+)"( checked)?', status.status)
    assert [value for value, _ in inputs] == offered
    assert [value for value, on in inputs if on] == ([checked] if checked else [])
    locked = options.get("lock_model", False)
    assert ("This machine has no fast bf16" in status.status) == (not offered and not locked)


def test_all_models_are_offered_in_the_selected_precision():
    settings = Settings(model="local-dir:/srv/mine")
    assert [name for _, name in choices(settings, "bf16")] == [f"{name}@bf16" for _, name in choices(settings)]
    assert choices(settings, "fp32") == choices(settings)
    assert choices(Settings(precision="bf16"), "fp32")[-1][1] == f"{DEMO_MODEL}@fp32"


def test_the_chip_selects_a_precision_or_tries_again():
    retried: list[str] = []

    def chip(settings: Settings, name: str, asked: dict):
        """What the picker becomes."""
        with gr.Blocks() as page:
            build(page, ModelStore(settings), retried.append)
        (select,) = (each.fn for each in page.fns.values() if each.fn and each.fn.__name__ == "chip")
        return select(name, gr.EventData(None, asked))

    settings = Settings(model=DEMO_MODEL)
    found = chip(settings, DEMO_MODEL, {"precision": "bf16"})
    assert (found["value"], found["choices"]) == (f"{DEMO_MODEL}@bf16", choices(settings, "bf16"))
    assert chip(settings, f"{DEMO_MODEL}@bf16", {"precision": "fp32"})["value"] == DEMO_MODEL
    found = chip(replace(settings, model="local-dir:/srv/mine"), "local-dir:mine", {"precision": "bf16"})
    assert (found["value"], "/srv" in str(found)) == ("local-dir:mine@bf16", False)
    own = chip(settings, "own:secret@fp32", {"precision": "auto", "title": "My <cats>"})
    assert (own["value"], own["choices"][0]) == ("own:secret@auto", ("My <cats>", "own:secret@auto"))
    assert retried == []
    for changes, asked in (({}, {}), ({}, {"precision": "fp8"}), ({"lock_model": True}, {"precision": "bf16"})):
        assert "value" not in chip(replace(settings, **changes), DEMO_MODEL, asked)
    assert retried == [DEMO_MODEL] * 3


def test_a_download_is_followed_to_its_end(vit, monkeypatch):
    vit = replace(vit, parameters=5_678_000, source="the hub", notes=("Positions resampled from 24×24 to 14×14.",))
    loading = SimpleNamespace(
        name="m",
        title="a model",
        vit=vit,
        error=None,
        done=looks(2),
        instead="",
        progress=LoadProgress("download", 5_000_000, 20_000_000),
    )
    first, second, last = watched(loading, monkeypatch)
    assert first == second
    assert (first.text, first.share) == ("Downloading a model: 5 of 20 MB", 0.25)
    assert 'aria-valuenow="25"' in first.status
    assert 'class="model-status busy"' in first.status
    assert last.text == ""
    assert 'class="model-status ready"' in last.status
    assert text(first.status) == "25 % Downloading a model: 5 of 20 MB"
    facts = "5.7 M parameters 8 classes on CPU in fp32 weights from the hub Positions resampled from 24×24 to 14×14."
    assert text(last.status) == f"CPU · fp32 {vit.name} {facts}"


def test_a_model_without_classes_gives_features(vit, monkeypatch):
    loading = SimpleNamespace(name="m", title="a model", vit=replace(vit, labels=()), error=None, instead="", done=looks(0), progress=None)
    (status,) = watched(loading, monkeypatch)
    assert "features, no classes" in text(status.status)


@pytest.mark.parametrize("instead", ["", "ViT-B/16 is not on this machine. The model hub can't be reached."])
def test_the_demo_model_in_another_ones_place_is_said(instead, vit, monkeypatch):
    vit = replace(vit, name=DEMO_MODEL)
    loading = SimpleNamespace(name="auto", title="ViT-B/16", vit=vit, error=None, instead=instead, done=looks(0), progress=None)
    (status,) = watched(loading, monkeypatch)
    said = text(status.status).replace("&#39;", "'")
    assert ("ViT-B/16 is not on this machine. The model hub can't be reached. Until then the demo model answers" in said) == bool(instead)
    assert ("Retry" in said, said.startswith("Offline: demo model")) == (bool(instead), bool(instead))
    assert f"{DEMO_MODEL}: " in text(status.status)  # what it is good for


def test_what_went_wrong_is_said(monkeypatch):
    loading = SimpleNamespace(
        name="m", title="a model", vit=None, error=UserError("The hub has no <b>."), instead="", done=looks(0), progress=None
    )
    (status,) = watched(loading, monkeypatch)
    assert 'class="model-status failed"' in status.status
    assert "The hub has no &lt;b&gt;." in status.status
    assert "Retry" in status.status

    def refuse(name: str, visitor: str):
        raise UserError("Choose one from the list.")

    async def all_steps() -> list:
        return [step async for step in watch(SimpleNamespace(get=refuse), "m", "ann")]

    (status,) = finished(all_steps())
    assert text(status.status) == "No model Choose one from the list."
