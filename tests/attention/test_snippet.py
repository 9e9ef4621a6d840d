"""“Copy as Python” is run, and gives the numbers of the map that was shown."""

import copy
import os
from dataclasses import replace

import numpy as np
import pytest
import timm
from PIL import Image

from tests.support.apps import TINY
from tests.support.pictures import noise
from tests.support.profiles import ADOBE_RGB, of_screen
from tests.support.small_vits import images, small_vit, unfused_vit
from vitdemo.attention.methods.ablation import without_heads
from vitdemo.attention.question import OF_A_CLASS, Question, heat
from vitdemo.attention.snippet import snippet
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import trace
from vitdemo.core.photos.photo import open_photo

QUESTIONS = [
    Question("cls"),
    Question("cls", layer=1, head=2),
    Question("cls", layer=2, head="max"),
    Question("rollout", layer=2, head="min"),
    Question("rollout", start_layer=2),
    Question("relevance", target=3),
    Question("relevance", target=3, other=5, layer=2),
    Question("relevance", target=3, other=5, gradient="plain"),
    Question("gradient-rollout", target=3, start_layer=2),
    Question("gradient-rollout", target=3, gradient="plain"),
    Question("votes", target=3),
    Question("votes", target=3, other=5, layer=2, start_layer=2),
    Question("fullgrad", target=3),
    Question("fullgrad", target=3, other=5, layer=2),
    Question("looks-at", patch=(1, 2), layer=2),
    Question("looked-at-by", patch=(1, 2), head=0),
]


@pytest.fixture(autouse=True)
def fused_again():
    """A snippet switches fused attention off for all models made after it."""
    yield
    timm.layers.set_fused_attn(True)


def run(text: str) -> np.ndarray:
    found = {}
    exec(text, found)
    return found["heat"]


def agree(vit, engine, preprocessing, photo, question, text) -> None:
    with Image.open(photo) as image:
        tensor = preprocessing(image.convert("RGB"))
    expected = heat(question, trace(vit, tensor), vit, engine, tensor)
    np.testing.assert_allclose(run(text), expected.numpy(), rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("kind", ["plain", "distilled", "registers", "no CLS, average", "CLS, average", "parallel"])
def test_it_gives_the_map_shown(kind, engine, tmp_path, monkeypatch):
    vit, unfused = small_vit(kind), unfused_vit(kind)
    preprocessing = replace(vit.preprocessing, size=(140, 112)) if kind == "registers" else vit.preprocessing  # its own is 518×518
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: copy.deepcopy(unfused))
    monkeypatch.chdir(tmp_path)
    noise(90, 70).save("photo.png")
    with Image.open("photo.png") as image:
        traced = trace(vit, preprocessing(image))
    for question in QUESTIONS:
        if kind == "parallel" and question.method in OF_A_CLASS and question.gradient == "libra":  # it has RMS norms
            with pytest.raises(UserError, match="more than a few lines"):
                snippet(question, traced, vit, preprocessing)
            continue
        text = snippet(question, traced, vit, preprocessing, photo="photo.png")
        agree(vit, engine, preprocessing, "photo.png", question, text)
        assert len(text.splitlines()) < 36


def test_without_some_heads(engine, tmp_path, monkeypatch):
    vit, unfused, heads = small_vit(), unfused_vit(), ((1, 2), (2, 0), (2, 1))
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: copy.deepcopy(unfused))
    monkeypatch.chdir(tmp_path)
    noise(90, 70).save("photo.png")
    ablated = without_heads(vit, heads)
    with Image.open("photo.png") as image:
        traced = trace(ablated, vit.preprocessing(image))
    for question in QUESTIONS:
        agree(
            ablated,
            engine,
            vit.preprocessing,
            "photo.png",
            question,
            snippet(question, traced, vit, vit.preprocessing, photo="photo.png", off=heads),
        )


def test_a_bundle_and_preprocessing_of_ones_own(vit, bundle, engine, tmp_path, monkeypatch):
    monkeypatch.chdir(bundle.parent)
    path = tmp_path / 'it\'s a "photo".png'
    noise(60, 90).save(path)
    own = replace(vit.preprocessing, crop_pct=1.0, crop_mode="border", size=(192, 192), mean=(0.1, 0.2, 0.3))
    with Image.open(path) as image:
        traced = trace(vit, own(image))
    question = Question("relevance", target=4)
    text = snippet(question, traced, vit, own, photo=str(path), bundle=True)
    assert "dynamic_img_size=True" in text
    agree(vit, engine, own, path, question, text)


def test_colours_converted_by_the_photos_profile(vit, bundle, engine, tmp_path, monkeypatch):
    monkeypatch.chdir(bundle.parent)
    path, converting = tmp_path / "photo.png", replace(vit.preprocessing, icc="convert")
    noise(60, 90).save(path, icc_profile=of_screen("Adobe", ADOBE_RGB, 2.2))
    image = open_photo(path, Settings()).image
    traced = trace(vit, tensor := converting(image))
    assert not np.array_equal(tensor, vit.preprocessing(image))
    text = snippet(Question("rollout"), traced, vit, converting, photo=str(path), bundle=True)
    np.testing.assert_allclose(run(text), heat(Question("rollout"), traced, vit, engine, tensor).numpy(), rtol=2e-4, atol=2e-6)


def test_heic_is_opened(vit):
    text = snippet(Question("cls"), trace(vit, vit.preprocessing(noise(70, 70))), vit, vit.preprocessing, photo="IMG_1.HEIC")
    assert "import pi_heif; pi_heif.register_heif_opener()\n" in text


def test_a_model_of_timms(real_tiny, tiny_checkpoint, shared, engine, monkeypatch):
    create = timm.create_model
    overlay = {"file": str(tiny_checkpoint), "custom_load": False}  # the hub's weights, without the hub
    monkeypatch.setattr(timm, "create_model", lambda name, **rest: create(name, pretrained_cfg_overlay=overlay, **rest))
    photo = next((shared / "data" / "pets" / "images").glob("*.jpg"))
    with Image.open(photo) as image:
        traced = trace(real_tiny, real_tiny.preprocessing(image.convert("RGB")))
    for question in (Question("cls", layer=6), *map(Question, ("relevance", "votes", "fullgrad", "gradient-rollout", "rollout"))):
        text = snippet(question, traced, real_tiny, real_tiny.preprocessing, photo=str(photo))
        assert f"timm.create_model('{TINY}', pretrained=True)" in text
        agree(real_tiny, engine, real_tiny.preprocessing, photo, question, text)


def test_a_checkpoint_of_the_operators(real_tiny, tiny_checkpoint, shared, engine, monkeypatch):
    monkeypatch.chdir(tiny_checkpoint.parent)
    photo = next((shared / "data" / "pets" / "images").glob("*.jpg"))
    with Image.open(photo) as image:
        traced = trace(real_tiny, real_tiny.preprocessing(image.convert("RGB")))
    question, checkpoint = Question("relevance"), tiny_checkpoint.name
    text = snippet(question, traced, real_tiny, real_tiny.preprocessing, photo=str(photo), checkpoint=checkpoint)
    agree(real_tiny, engine, real_tiny.preprocessing, photo, question, text)  # from the file alone, without the hub


def test_what_takes_more_than_a_few_lines(engine):
    vit = small_vit("no CLS, attention pooling")
    with pytest.raises(UserError, match="more than a few lines"):
        snippet(Question("cls"), None, vit, vit.preprocessing)
    for kind, methods in {
        "norms after": ("votes",),
        "norms inside": ("relevance", "votes", "fullgrad"),
        "gated MLP, RMS norms": ("relevance", "votes", "fullgrad"),
    }.items():
        vit = small_vit(kind)
        for method in methods:
            with pytest.raises(UserError, match="more than a few lines"):
                snippet(Question(method), trace(vit, images()[0]), vit, vit.preprocessing)
    plain = small_vit()
    with pytest.raises(UserError, match="more than a few lines"):
        snippet(Question("rollout", discard=0.5), None, plain, plain.preprocessing)


def test_a_name_is_no_code(monkeypatch):
    vit = small_vit()
    name = "');import os;os.environ['HIT']='1';('.jpg"
    text = snippet(Question("cls"), trace(vit, vit.preprocessing(noise(70, 70))), vit, vit.preprocessing, photo=name)
    model = unfused_vit()
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: model)
    with pytest.raises(FileNotFoundError):
        exec(text, {})
    assert "HIT" not in os.environ
