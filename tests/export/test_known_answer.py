"""The photo of a known answer: one that the model gets right, of those that were given, else a sample of the kind that the model knows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.models import loader
from vitdemo.core.models.labels import ClassNames, Label
from vitdemo.core.photos.samples import DRAWN_CLASSES
from vitdemo.core.photos.search import find_items
from vitdemo.export import known_answer
from vitdemo.export.known_answer import MAX_PIXELS, OWN_CREDIT, choose
from vitdemo.export.parity import ParitySample, read_sample


def called(vit, *names: str):
    """The model with classes of these names; the others are numbered."""
    return replace(vit, labels=tuple(Label(index, names[index] if index < len(names) else f"thing {index}") for index in range(8)))


@pytest.fixture(scope="module")
def vit(vit):
    return called(vit)


@pytest.fixture(scope="module")
def photos(tmp_path_factory, vit):
    """Photos in folders of the classes that the small ViT takes them for, and of others."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        photo = noise(80, 60, number).resize((1600, 1200))
        with torch.inference_mode():
            best = vit.labels[int(vit.module(vit.preprocessing(photo)[None])[0].argmax())].name
        wrong = next(label.name for label in vit.labels if label.name != best)
        path = folder / (best if number in (1, 4) else wrong) / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        photo.save(path)
    return folder


def sample_of(paths, vit, engine, settings, *, given: bool = True) -> ParitySample:
    *_, sample = read_sample(find_items(paths), "given", vit, engine, settings, given=given)
    return sample


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), int)


def test_a_given_photo_that_the_model_gets_right(vit, engine, settings, photos):
    sample = sample_of([photos], vit, engine, settings)
    found = choose(vit, engine, sample, settings)
    with torch.inference_mode():
        logits = vit.module(vit.preprocessing(found.photo)[None])[0]
    assert vit.labels[int(logits.argmax())].name == found.name
    assert (found.credit, max(found.photo.size)) == (OWN_CREDIT, MAX_PIXELS)
    right = {number: next(photos.glob(f"*/{number}.png")) for number in (1, 4)}
    certain = {}
    for number, path in right.items():
        with Image.open(path) as photo, torch.inference_mode():
            certain[number] = float(vit.module(vit.preprocessing(photo)[None])[0].softmax(-1).max())
    with Image.open(right[max(certain, key=certain.get)]) as expected:
        expected.thumbnail((MAX_PIXELS, MAX_PIXELS))
        np.testing.assert_array_equal(pixels(found.photo), pixels(expected))


@pytest.fixture(scope="module")
def demo():
    return loader.load("demo", Settings(), torch.device("cpu"), lambda _: None)


def test_a_drawing_for_a_model_of_drawings(demo, engine, settings, photos):
    for given, paths in ((False, [DRAWN_CLASSES / "cat"]), (True, [photos])):  # those given say nothing of it
        found = choose(demo, engine, sample_of(paths, demo, engine, settings, given=given), settings)
        assert (found.name, found.credit) == ("butterfly", "butterfly, drawn for this app")


def test_a_photograph_that_the_model_gets_right_and_its_licence(vit, engine, settings, monkeypatch):
    """Of the photographs the first one that the model takes for what it is called."""
    sample = sample_of([DRAWN_CLASSES / "cat"], vit, engine, settings, given=False)
    photographs = known_answer._samples(vit, ClassNames(()), settings)
    (cheetah, _), (lion, _) = next(photographs), next(photographs)
    with torch.inference_mode():
        first, second = (int(vit.module(vit.preprocessing(each.photo)[None])[0].argmax()) for each in (cheetah, lion))
    names = [f"thing {index}" for index in range(8)]
    other = (second + 1) % 8
    names[second], names[other] = "lion", "cheetah" if other != first else "tiger"
    found = choose(called(vit, *names), engine, sample, settings)
    assert (found.name, found.credit) == ("lion", "lion, with Gradio, Apache 2.0")
    assert choose(vit, engine, sample, settings).name == "cheetah"  # none is right: the first one


def test_a_given_photo_rather_than_a_sample_where_none_is_right(vit, engine, settings, photos):
    strange = called(vit, *(f"other {index}" for index in range(8)))
    found = choose(strange, engine, sample_of([photos], strange, engine, settings), settings)
    assert (found.name, found.credit) == ("photo", OWN_CREDIT)
    features = replace(sample_of([photos], vit, engine, settings), targets=[frozenset()] * 6)
    assert choose(replace(vit, labels=()), engine, features, settings).credit == OWN_CREDIT
