"""Figures and animations: what stands where, and that their files open again with every layer in them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.support.pictures import noise
from vitdemo.attention.drawing.figures import BAR, GAP, LARGEST_FRAME, all_layers, animation, layer_frames, number, with_bar
from vitdemo.attention.drawing.render import OverlayStyle, lookup_table, overlay
from vitdemo.core.photos.preprocessing import Preprocessing

WHERE = Preprocessing((64, 64), 0.9, "center", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).geometry((300, 200), (16, 16))
PHOTO = noise(300, 200)
HEATS = np.random.default_rng(0).random((12, 4, 4)).astype(np.float32)


def has(sheet: Image.Image, picture: Image.Image, left: int, top: int) -> bool:
    return np.array_equal(sheet.crop((left, top, left + picture.width, top + picture.height)), picture)


def test_a_colour_bar_beside_the_picture():
    barred = with_bar(PHOTO, "viridis", (-0.25, 1234.5))
    assert has(barred, PHOTO, 0, 0)
    column = np.asarray(barred)[:, 300 + GAP + BAR // 2]
    assert np.array_equal(column[0], lookup_table("viridis")[255])
    assert np.array_equal(column[-1], lookup_table("viridis")[0])
    assert np.array_equal(column[100], lookup_table("viridis")[127])
    beside = np.asarray(barred)[:, 300 + 2 * GAP + BAR :].min((1, 2))
    assert (beside[:20] < 100).any(), "a number stands at the top"
    assert (beside[-20:] < 100).any(), "and one at the bottom"
    assert (beside[40:-40] == 255).all()


@pytest.mark.parametrize("span", [None, (0.0, 2.0)])
def test_all_layers_on_one_sheet(span):
    look = OverlayStyle("magma", 1, smooth=False)
    sheet = all_layers(PHOTO, HEATS, WHERE, look, title="Rollout", side=150, span=span)
    small = PHOTO.resize((150, 100), reducing_gap=2)
    found = np.asarray(sheet)
    tops = []
    for heat in HEATS:
        picture = np.asarray(overlay(small, heat, WHERE, look, span=span))
        places = [
            (top, left)
            for top in range(sheet.height - 99)
            for left in (np.flatnonzero((found[top] == picture[0, 0]).all(-1)) if (found[top] == picture[0, 0]).all(-1).any() else ())
            if np.array_equal(found[top : top + 100, left : left + 150], picture)
        ]
        assert len(places) == 1, "each layer's picture stands on the sheet once"
        tops += places
    assert tops == sorted(tops), "in reading order"
    assert len({top for top, _ in tops}) == 3
    assert len({left for _, left in tops}) == 4


def test_few_layers_and_odd_photos():
    for count in (1, 2, 5):
        assert all_layers(PHOTO, HEATS[:count], WHERE, side=60).width > 60
    for size in ((1, 900), (900, 1)):
        where = Preprocessing((64, 64), 1.0, "squash", "bicubic", (0.5,) * 3, (0.5,) * 3).geometry(size, (16, 16))
        assert all_layers(noise(*size), HEATS, where).height > 12


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation_has_every_layer(kind):
    frames = layer_frames(noise(12, 8).resize((300, 200), Image.Resampling.BICUBIC), HEATS, WHERE)
    assert len({frame.size for frame in frames}) == 1
    with Image.open(io.BytesIO(animation(frames, kind))) as file:
        assert (file.format, file.n_frames, file.info["loop"]) == (kind.upper(), 12, 0)
        shown = [frame.convert("RGB").copy() for frame in ImageSequence.Iterator(file)]
    for frame, expected in zip(shown, frames, strict=True):
        assert frame.size == expected.size
        assert np.abs(np.asarray(frame).astype(int) - np.asarray(expected)).mean() < 8  # a GIF has 256 colours, a WebP loses a little


def test_frames_of_a_large_photo_are_made_small():
    photo = noise(3000, 2000)
    where = Preprocessing((64, 64), 0.9, "center", "bicubic", (0.5,) * 3, (0.5,) * 3).geometry(photo.size, (16, 16))
    (frame,) = layer_frames(photo, HEATS[:1], where)
    assert LARGEST_FRAME < frame.width < LARGEST_FRAME + 150


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.012345, "0.0123"), (-4.5678e-5, "−4.57e-05"), (1234.5, "1.23e+03"), (-0.5, "−0.5")]
)
def test_numbers(value, text):
    assert number(value) == text
