"""Varied photos: repeatable from the seed alone, different from epoch to epoch, and still the model's own kind of input."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.support.pictures import noise
from vitdemo.core.photos.photo import Photo
from vitdemo.finetune.data.augment import VARIATIONS, varied


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    return [Photo(f"{number:064x}", "x", noise(40 + number, 30, number)) for number in range(1, 9)]


@pytest.mark.parametrize("augment", VARIATIONS)
def test_it_follows_the_seed_and_the_photo_alone(augment, photos, vit):
    one = [varied(vit.preprocessing, augment, 3, 1)(photo) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        two = list(pool.map(varied(vit.preprocessing, augment, 3, 1), photos))
    other = [varied(vit.preprocessing, augment, 3, 2)(photo) for photo in photos]
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(one, other, strict=True))
    assert all((each.shape, each.dtype) == ((3, 224, 224), torch.float32) for each in one)


def test_none_is_the_model_s_own(photos, vit):
    assert torch.equal(varied(vit.preprocessing, "none", 0)(photos[0]), vit.preprocessing(photos[0].image))


def test_long_and_tiny_photos(vit):
    for size in ((1, 1), (2000, 3), (3, 2000)):
        assert varied(vit.preprocessing, "strong", 0)(Photo("1" * 64, "x", noise(*size))).shape == (3, 224, 224)
