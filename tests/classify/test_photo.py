"""Classify: the known accuracy on real photos, timm's own answers for each of them, and predictions as files."""

import dataclasses
from pathlib import Path

import pytest
import timm
import timm.data
import torch
from PIL import Image

from tests.support.apps import TINY
from tests.support.pictures import noise
from vitdemo.classify.gallery import PredictionRow, classify_gallery
from vitdemo.classify.photo import classify, top_classes
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models.labels import Label
from vitdemo.core.photos.search import find_items


@pytest.fixture(scope="module")
def photos(shared) -> list[Path]:
    return [item.path for item in find_items([shared / "data" / "imagenet_val"])]


@pytest.fixture(scope="module")
def rows(photos, real_tiny, engine) -> list[PredictionRow]:
    """The 200 photos, classified by this project."""
    return list(classify_gallery(find_items(photos), real_tiny, engine, Settings()))


@pytest.fixture(scope="module")
def reference(photos, tiny_checkpoint) -> torch.Tensor:
    """The 200 photos' probabilities (photos, classes), by Pillow and timm alone."""
    overlay = {"file": str(tiny_checkpoint), "custom_load": False}
    model = timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in photos])
    with torch.inference_mode():
        return torch.cat([model(part) for part in batch.split(25)]).softmax(-1)


def test_known_accuracy(photos, rows):
    """The weights' README: top-1 0.690, top-5 0.900. A photo's folder is its synset."""
    assert len(rows) == len(photos) == 200
    ranks = [[each.label.synset for each in row.predictions] for row in rows]
    truth = [path.parent.name for path in photos]
    assert sum(rank[0] == synset for rank, synset in zip(ranks, truth, strict=True)) == 138
    assert sum(synset in rank for rank, synset in zip(ranks, truth, strict=True)) == 180


def test_every_photo_has_timms_answer(photos, rows, reference):
    for path, row, probabilities in zip(photos, rows, reference, strict=True):
        best, indices = probabilities.topk(5)
        assert row.path == str(path)
        assert row.error is None
        assert [each.label.index for each in row.predictions] == indices.tolist()
        assert [each.probability for each in row.predictions] == pytest.approx(best.tolist(), abs=1e-4)


def test_one_photo(photos, rows, real_tiny, engine):
    found = classify(Image.open(photos[7]).convert("RGB"), real_tiny, engine)
    assert [each.label for each in found.predictions] == [each.label for each in rows[7].predictions]
    assert [each.probability for each in found.predictions] == pytest.approx([each.probability for each in rows[7].predictions], abs=1e-5)
    assert found.seconds > 0


def test_other_preprocessing_is_used(real_tiny, engine):
    image, other = noise(300, 200), dataclasses.replace(real_tiny.preprocessing, crop_mode="squash", crop_pct=1.0, size=(160, 160))
    found = classify(image, real_tiny, engine, preprocessing=other, top=3)
    with torch.inference_mode():
        expected, indices = real_tiny.module(other(image)[None])[0].softmax(-1).topk(3)
    assert [each.label.index for each in found.predictions] == indices.tolist()
    assert [each.probability for each in found.predictions] == pytest.approx(expected.tolist(), abs=1e-5)


def test_top_classes_known_answer():
    labels = tuple(Label(index, f"class {index}") for index in range(3))
    found = top_classes(torch.tensor([0.0, 2.0, 1.0]).log(), labels, 2)  # softmax of logs: the numbers' shares, 0, 2/3, 1/3
    assert [each.label.index for each in found] == [1, 2]
    assert [each.probability for each in found] == pytest.approx([2 / 3, 1 / 3])


def test_top_larger_than_the_classes(vit, engine):
    found = classify(noise(40, 30), vit, engine, top=1000).predictions
    assert sorted(each.label.index for each in found) == list(range(8))
    assert sum(each.probability for each in found) == pytest.approx(1)
    assert [each.probability for each in found] == sorted((each.probability for each in found), reverse=True)


def test_feature_backbone(vit, engine, picture):
    backbone = dataclasses.replace(vit, labels=())
    sentence = f"{vit.name} gives features, not classes: choose another model to classify with."
    with pytest.raises(UserError) as refused:
        classify(noise(40, 30), backbone, engine)
    assert str(refused.value) == sentence
    with pytest.raises(UserError) as refused:
        next(classify_gallery(find_items([picture]), backbone, engine, Settings()))
    assert str(refused.value) == sentence


def test_the_entropy_is_of_all_classes(vit, engine):
    image = noise(60, 40)
    with torch.inference_mode():
        logits = vit.module(vit.preprocessing(image)[None])[0]
    assert classify(image, vit, engine, top=1).entropy == pytest.approx(
        torch.distributions.Categorical(logits=logits).entropy().item(), rel=1e-5
    )
