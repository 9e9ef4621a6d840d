"""The sample pictures on the page: copies that are served, and what is said where one does not suit the model."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.small_vits import small_vit
from vitdemo.core.config import Settings
from vitdemo.core.models import catalogue
from vitdemo.core.models.labels import Label, labels_of
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.samples import DRAWN_CLASSES, samples
from vitdemo.ui.components.samples import first_sample, note_on, opening_picture, served, suit_drawings


@pytest.fixture(scope="module")
def models():
    vit = small_vit()
    drawn = [Label(index, folder.name) for index, folder in enumerate(sorted(DRAWN_CLASSES.iterdir()))]
    return {
        "photographs": dataclasses.replace(vit, labels=labels_of(1000, {})),
        "drawings": dataclasses.replace(vit, labels=tuple(drawn)),
        "none": dataclasses.replace(vit, labels=()),
    }


def test_a_photograph_is_served_as_a_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    cheetah, cat = (next(sample for sample in samples() if sample.name == name) for name in ("cheetah", "cat"))
    copy = Path(served(cheetah))
    assert copy.is_relative_to(tmp_path)
    assert copy.read_bytes() == cheetah.path.read_bytes()
    assert served(cheetah) == str(copy)
    assert Path(served(cat)).read_bytes() == cat.path.read_bytes()
    assert Image.open(copy).size == (502, 343)


@pytest.mark.parametrize(
    ("name", "here", "suits"),
    [
        ("demo", False, "drawings"),
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", False, "photographs"),
        ("auto", True, "photographs"),
        ("auto", False, None),  # while it is downloaded the demo model answers
        ("local-dir:somewhere", True, None),
    ],
)
def test_the_page_opens_on_the_sample_that_will_be_answered(models, monkeypatch, name, here, suits):
    monkeypatch.setattr(catalogue, "is_here", lambda entry: here)
    found = opening_picture(Settings(model=name))
    assert bool(found) == bool(suits)
    if suits:
        picture = Image.open(io.BytesIO(base64.b64decode(found.partition(",")[2])))
        expected = Image.open(first_sample(models[suits]).path)
        expected.thumbnail((800, 800))
        assert picture.size == expected.size
        assert np.abs(np.asarray(picture, float) - np.asarray(expected.convert("RGB"), float)).mean() < 2


def test_a_sample_that_does_not_suit_the_model_is_told(models):
    assert [suit_drawings(models[name]) for name in ("photographs", "drawings", "none")] == [False, True, False]
    for sample in samples():
        id = open_photo(sample.path, Settings()).id
        assert note_on(id, models["none"]) == []
        assert note_on(id, models["drawings" if sample.drawn else "photographs"]) == []
        (note,) = note_on(id, models["photographs" if sample.drawn else "drawings"])
        assert note.startswith("This is a drawing" if sample.drawn else "This is a photograph")
    assert note_on("0" * 64, models["photographs"]) == []
