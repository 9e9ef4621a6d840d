"""The sample pictures: photographs of installed packages and drawings, and what is said where one does not suit the model."""

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

from tests.support.small_vits import small_vit
from vitdemo.core.config import Settings
from vitdemo.core.models.labels import Label, labels_of
from vitdemo.core.photos.photo import open_photo
from vitdemo.ui.components import samples as module
from vitdemo.ui.components.samples import DRAWN_CLASSES, note_on, samples, suit_drawings


@pytest.fixture(scope="module")
def models():
    vit = small_vit()
    drawn = [Label(index, folder.name) for index, folder in enumerate(sorted(DRAWN_CLASSES.iterdir()))]
    return {
        "photographs": dataclasses.replace(vit, labels=labels_of(1000, {})),
        "drawings": dataclasses.replace(vit, labels=tuple(drawn)),
        "none": dataclasses.replace(vit, labels=()),
    }


def test_photographs_come_first_and_every_sample_has_a_credit():
    names = [sample.name for sample in samples()]
    assert names == [*("cheetah", "lion", "tower", "temple", "flower", "officer"), *("butterfly", "cat", "clock", "sailboat", "umbrella")]
    assert [sample.drawn for sample in samples()] == [False] * 6 + [True] * 5
    assert all(sample.credit for sample in samples())
    assert all("CC BY 2.0" in sample.credit for sample in samples() if "sklearn" in str(sample.path))


def test_what_a_release_lacks_is_left_out(monkeypatch):
    def gone() -> str:
        raise ValueError("no such picture")

    monkeypatch.setattr(module, "_PHOTOGRAPHS", (("gone", gone, ""), ("nowhere", lambda: "/nowhere.jpg", ""), module._PHOTOGRAPHS[0]))
    assert [sample.name for sample in samples.__wrapped__() if not sample.drawn] == ["cheetah"]


def test_a_photograph_is_served_as_a_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    cheetah, cat = (next(sample for sample in samples() if sample.name == name) for name in ("cheetah", "cat"))
    served = Path(cheetah.served())
    assert served.is_relative_to(tmp_path)
    assert served.read_bytes() == cheetah.path.read_bytes()
    assert cheetah.served() == str(served)
    assert Path(cat.served()).read_bytes() == cat.path.read_bytes()
    assert Image.open(served).size == (502, 343)


def test_a_sample_that_does_not_suit_the_model_is_told(models):
    assert [suit_drawings(models[name]) for name in ("photographs", "drawings", "none")] == [False, True, False]
    for sample in samples():
        id = open_photo(sample.path, Settings()).id
        assert note_on(id, models["none"]) == []
        assert note_on(id, models["drawings" if sample.drawn else "photographs"]) == []
        (note,) = note_on(id, models["photographs" if sample.drawn else "drawings"])
        assert note.startswith("This is a drawing" if sample.drawn else "This is a photograph")
    assert note_on("0" * 64, models["photographs"]) == []
