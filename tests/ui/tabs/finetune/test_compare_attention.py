"""Attention before and after a training, for the mistake of which the model is surest."""

import base64
import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import noise
from tests.support.small_vits import small_vit
from vitdemo.attention.drawing import render
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.artefacts import find_artefacts, without_artefacts
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import trace
from vitdemo.core.photos.search import find_items
from vitdemo.ui.tabs.finetune.compare_attention import MAX_PIXELS, before_and_after


def picture(number: int) -> Image.Image:
    """A picture that JPEG hardly changes."""
    return noise(8, 6, number).resize((400, 300), Image.Resampling.BICUBIC)


@pytest.fixture
def models():
    return {"old": small_vit(seed=0), "new": small_vit(seed=1)}


@pytest.fixture
def given(tmp_path, models, engine):
    """sessions, session: a training whose report names photo 1, of two, as the worst mistake."""
    for number in range(2):
        picture(number).save(tmp_path / f"{number}.png")
    rows = [{"path": f"{number}.png", "label": "cat", "predicted": "dog", "taken": "dog", "probability": 0.9} for number in range(2)]
    (tmp_path / "report.json").write_text(json.dumps({"photos": rows, "worst": [1], "weights_of": {"stage": "head"}}))
    store = SimpleNamespace(engine=engine, get=lambda name: SimpleNamespace(result=lambda seconds: models[name]))
    session = SimpleNamespace(
        result=tmp_path,
        shown=SimpleNamespace(model="old"),
        items=find_items([tmp_path]),
        number_of=lambda row: int(row["path"].split(".")[0]),
    )
    return SimpleNamespace(store=store, settings=Settings()), session


def drawn(markup: str) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int) for data in re.findall(r"base64,([^\"]+)", markup)]


def expected(vit, photo: Image.Image) -> np.ndarray:
    traced = trace(vit, vit.preprocessing(photo))
    heat = without_artefacts(maps.rollout(traced), find_artefacts(traced))
    picture = render.overlay(photo, heat, vit.preprocessing.geometry(photo.size, vit.patch))
    picture.thumbnail((MAX_PIXELS, MAX_PIXELS))
    return np.asarray(picture.convert("RGB")).astype(int)


@pytest.mark.parametrize(("worst", "number"), [([1, 0], 1), ([], 0)])
def test_both_overlays_are_of_the_worst_mistake_or_the_first_photo(worst, number, given, models, tmp_path):
    report = json.loads((tmp_path / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps(report | {"worst": worst}))
    sessions, session = given
    before, after = drawn(before_and_after(sessions, session, "new"))
    photo = picture(number)
    assert before.shape == after.shape == (255, 340, 3)
    old, new = (expected(models[name], photo) for name in ("old", "new"))
    assert [np.abs(each - other).mean() < 2 for each in (before, after) for other in (old, new)] == [True, False, False, True]


@pytest.mark.parametrize(("stage", "said"), [("head", True), ("blocks", False)])
def test_a_head_changes_no_attention(stage, said, given, tmp_path):
    report = json.loads((tmp_path / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps(report | {"weights_of": {"stage": stage}}))
    assert ("Only the head was trained" in before_and_after(*given, "new")) == said


def test_a_trace_that_is_too_large_is_refused(given):
    sessions, session = given
    sessions.settings = replace(sessions.settings, trace_cache_mb=1)
    with pytest.raises(UserError):
        before_and_after(sessions, session, "new")
