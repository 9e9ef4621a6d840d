"""Patch colours: foreground first, then alike parts alike; correspondence is the cosine."""

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from vitdemo.embeddings.vectors.patches import correspondence, patch_colours


@pytest.fixture
def scenes():
    """Tokens of two photos, (2, 8, 8, 32): an object of two halves, in different places, before a plain ground; and its mask."""
    random = np.random.default_rng(0)
    ground, shared, left, right = random.normal(size=(4, 32))
    tokens, mask = np.tile(ground, (2, 8, 8, 1)), np.zeros((2, 8, 8), bool)
    for photo, (row, column) in enumerate([(2, 2), (3, 1)]):
        tokens[photo, row : row + 4, column : column + 2] = 2 * shared + left
        tokens[photo, row : row + 4, column + 2 : column + 4] = 2 * shared + right
        mask[photo, row : row + 4, column : column + 4] = True
    return (tokens + 0.05 * random.normal(size=tokens.shape)).astype(np.float32), mask


@pytest.mark.parametrize("sign", [1, -1])
def test_the_object_is_the_foreground(scenes, sign):
    tokens, mask = scenes
    colours, foreground = patch_colours(sign * tokens)
    assert np.array_equal(foreground, mask)
    assert colours.dtype == np.float32
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert (colours[~mask] == 0).all()


def test_alike_parts_share_a_colour_across_photos(scenes):
    tokens, _ = scenes
    colours, _ = patch_colours(tokens)
    left, right = [colours[0, 2:6, 2:4, 0], colours[1, 3:7, 1:3, 0]], [colours[0, 2:6, 4:6, 0], colours[1, 3:7, 3:5, 0]]
    assert abs(left[0].mean() - left[1].mean()) < 0.1
    assert abs(right[0].mean() - right[1].mean()) < 0.1
    assert abs(left[0].mean() - right[0].mean()) > 0.7


def test_colours_are_the_foregrounds_principal_components(scenes):
    tokens, mask = scenes
    colours, _ = patch_colours(tokens)
    rows = tokens[mask].astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    left, scales, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    for channel in range(3):
        correlation = np.corrcoef(colours[mask][:, channel], left[:, channel] * scales[channel])[0, 1]
        assert abs(correlation) > 0.98  # but for the ends, which are cut off


@pytest.mark.parametrize("tokens", [np.ones((1, 4, 4, 8)), np.zeros((2, 1, 1, 8)), np.eye(16).reshape(1, 4, 4, 16)])
def test_photos_without_a_foreground(tokens):
    colours, foreground = patch_colours(tokens.astype(np.float32))
    assert colours.shape == (*tokens.shape[:3], 3)
    assert foreground.shape == tokens.shape[:3]
    assert np.isfinite(colours).all()


def test_correspondence_is_the_cosine(scenes):
    tokens, _ = scenes
    found = correspondence(tokens, 1, 3, 2)
    expected = cosine_similarity(tokens.reshape(-1, 32), tokens[1, 3, 2][None])[:, 0].reshape(2, 8, 8)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert np.unravel_index(found.argmax(), found.shape) == (1, 3, 2)


def test_long_tokens_are_no_foreground(scenes):
    tokens, mask = scenes
    tokens[:, 0, :3] *= 30
    assert np.array_equal(patch_colours(tokens)[1], mask)


def test_every_pets_animal_stands_out(shared, real_tiny, engine):
    """On real photos the foreground is the animal far more often than chance would have it."""
    from PIL import Image

    from vitdemo.embeddings.vectors.extract import patch_tokens

    names = sorted(path.stem for path in (shared / "data" / "pets" / "masks").glob("*.png"))[:24]
    photos = [Image.open(shared / "data" / "pets" / "images" / f"{name}.jpg").convert("RGB") for name in names]
    masks = [Image.open(shared / "data" / "pets" / "masks" / f"{name}.png").convert("L") for name in names]
    batch = torch.stack([real_tiny.preprocessing(photo) for photo in photos])
    _, foreground = patch_colours(patch_tokens(real_tiny, engine, batch, 12).numpy())
    covered = np.stack([np.asarray(real_tiny.preprocessing.crop(mask.convert("RGB")).resize((14, 14)))[..., 0] > 127 for mask in masks])
    inside, outside = foreground[covered].mean(), foreground[~covered].mean()
    assert inside > 0.9
    assert outside < 0.45
