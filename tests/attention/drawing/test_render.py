"""Overlays against the same picture drawn pixel by pixel."""

import dataclasses
import resource
import time

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from tests.support.pictures import noise
from vitdemo.attention.drawing.render import (
    COLOURS,
    DIFFERENCE,
    DIMMED,
    LIGHT_EXPONENT,
    OverlayStyle,
    crop_pixels,
    even_span,
    lookup_table,
    overlay,
    sampling,
    span_of,
    unseen_note,
    without_peaks,
)
from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.core.photos.geometry import Geometry
from vitdemo.core.photos.preprocessing import Preprocessing

CENTRE = Preprocessing((64, 96), 0.8, "center", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def geometry(photo: tuple[int, int], crop_mode: str = "center", **changes) -> Geometry:
    return dataclasses.replace(CENTRE, crop_mode=crop_mode, **changes).geometry(photo, (16, 16))


@pytest.mark.parametrize("colours", [*COLOURS, DIFFERENCE])
def test_lookup_tables_are_matplotlibs(colours):
    table = lookup_table(colours)
    assert (table.shape, table.dtype) == ((256, 3), np.uint8)
    for level in (0, 1, 100, 255):
        assert tuple(table[level]) == colormaps[colours](level, bytes=True)[:3]


def test_uniform_maps_grow_lighter_all_the_way():
    for colours in COLOURS:
        lightness = lookup_table(colours) @ (0.2126, 0.7152, 0.0722)
        assert (np.diff(lightness) > -1).all()
        assert lightness[-1] > lightness[0] + 150


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("photo", [(70, 50), (40, 90), (101, 33)])
@pytest.mark.parametrize("smooth", [True, False], ids=["smooth", "by patch"])
@pytest.mark.parametrize("flat", [True, False], ids=["flat", "light"])
def test_every_pixel_has_the_colour_of_its_place(photo, crop_mode, smooth, flat):
    where, heat = geometry(photo, crop_mode), np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    picture = noise(*photo)
    drawn = np.asarray(overlay(picture, heat, where, OverlayStyle("viridis", 0.6, smooth, flat)))
    low, high = heat.min(), heat.max()
    left, top, right, bottom = crop_pixels(where)
    frame = 4  # pixels of outline, which is drawn over all
    for y in range(0, photo[1], 3):
        for x in range(0, photo[0], 3):
            across, down = where.to_crop(x + 0.5, y + 0.5)
            pixel = np.asarray(picture)[y, x].astype(float)
            if not (0 <= across < 96 and 0 <= down < 64):
                assert np.abs(drawn[y, x] - (pixel * DIMMED if flat else pixel @ (0.299, 0.587, 0.114))).max() <= 1.5
                assert not (left <= x < right and top <= y < bottom)
            elif left + frame <= x < right - frame and top + frame <= y < bottom - frame:
                value = interpolated(heat, across / 16, down / 16) if smooth else heat[int(down // 16), int(across // 16)]
                level = (value - low) / (high - low) * 255
                levels = np.clip([np.floor(level), np.ceil(level)], 0, 255)
                near = [colormaps["viridis"](int(each), bytes=True)[:3] for each in levels]
                alpha = 0.6 * (np.ones(2) if flat else (levels / 255) ** LIGHT_EXPONENT)[:, None]
                expected = alpha * np.array(near, float) + (1 - alpha) * pixel  # (2, 3)
                assert (drawn[y, x] > expected.min(0) - 2).all()
                assert (drawn[y, x] < expected.max(0) + 2).all()


def interpolated(heat: np.ndarray, x: float, y: float) -> float:
    """Keys's cubic convolution with a = −½, one point."""

    def weight(distance: float) -> float:
        d = abs(distance)
        return 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0

    total = 0.0
    for row in range(-3, heat.shape[0] + 3):
        for column in range(-3, heat.shape[1] + 3):
            value = heat[min(max(row, 0), heat.shape[0] - 1), min(max(column, 0), heat.shape[1] - 1)]
            total += value * weight(y - 0.5 - row) * weight(x - 0.5 - column)
    return total


def test_sampling_passes_through_the_patches_and_is_even():
    centres = np.arange(7) + 0.5
    assert np.allclose(sampling(centres, 7, True), np.eye(7))
    assert np.array_equal(sampling(centres, 7, False), np.eye(7))
    anywhere = np.linspace(-0.5, 7.5, 400)
    assert np.allclose(sampling(anywhere, 7, True).sum(1), 1, atol=1e-6)
    middle = (anywhere > 1.5) & (anywhere < 5.5)
    assert np.allclose(sampling(anywhere, 7, True)[middle] @ centres, anywhere[middle], atol=1e-5)  # a slope stays a slope
    assert sampling(np.array([0.0, 0.999, 1.0, 6.999, 7.0]), 7, False).argmax(1).tolist() == [0, 0, 1, 6, 6]


def test_any_size_and_a_tensor():
    photo, heat = noise(90, 60), torch.rand(4, 6)
    small = overlay(photo.resize((45, 30)), heat, geometry((90, 60)))
    assert small.size == (45, 30)
    big = overlay(photo, heat, geometry((90, 60)), OverlayStyle(opacity=1))
    bare = np.asarray(small.resize((90, 60))).astype(float) - np.asarray(photo)
    assert bare.std() > 1
    assert big.size == (90, 60)


def test_opacity_nothing_and_everything():
    photo, heat, where = noise(96, 64), np.eye(4, 6, dtype=np.float32), geometry((96, 64), "squash", crop_pct=1.0)
    assert np.array_equal(overlay(photo, heat, where, OverlayStyle(opacity=0)), photo)  # the whole photo is seen: no dimming, no outline
    shown = np.asarray(overlay(photo, heat, where, OverlayStyle("magma", 1, smooth=False, flat=True)))
    assert {tuple(each) for each in shown.reshape(-1, 3)} == {tuple(lookup_table("magma")[level]) for level in (0, 255)}


def test_light_leaves_cold_patches_clear():
    photo, where = noise(96, 64), geometry((96, 64), "squash", crop_pct=1.0)
    heat = np.zeros((4, 6), np.float32)
    heat[1, 2], heat[2, 4] = 1, -1
    for colours, span, shown in (("magma", (0, 1), {(1, 2)}), (DIFFERENCE, (-1, 1), {(1, 2), (2, 4)})):
        drawn = np.asarray(overlay(photo, heat, where, OverlayStyle(colours, 1, smooth=False), span=span))
        changed = (drawn != np.asarray(photo)).any(-1).reshape(4, 16, 6, 16).mean((1, 3))  # of each patch, 16 × 16 pixels
        assert {tuple(map(int, place)) for place in np.argwhere(changed > 0.9)} == shown
        assert np.abs(drawn.astype(int) - np.asarray(photo))[:16].max() <= 1  # a row of cold patches


def test_spans():
    heat = np.array([[-1.0, 3.0]])
    assert span_of(heat) == (-1, 3)
    assert even_span(heat) == (-3, 3)
    photo, where = noise(96, 64), geometry((96, 64), "squash", crop_pct=1.0)
    look, flat = OverlayStyle(DIFFERENCE, 1, smooth=False, flat=True), np.zeros((4, 6), np.float32)
    middle = np.asarray(overlay(photo, flat, where, look, span=(-1, 1)))
    assert (middle == lookup_table(DIFFERENCE)[128]).all()
    assert (np.asarray(overlay(photo, flat, where, look)) == lookup_table(DIFFERENCE)[0]).all()  # one value alone: no division by 0


def test_the_crop_is_outlined():
    drawn = np.asarray(overlay(Image.new("RGB", (200, 100), "red"), np.zeros((4, 6)), geometry((200, 100))))
    left, top, right, bottom = crop_pixels(geometry((200, 100)))
    assert (0 < left < right < 200, 0 < top < bottom < 100) == (True, True)
    assert (drawn[top, left:right] == 255).all()
    assert (drawn[bottom - 1, left:right] == 255).all()
    assert (drawn[top:bottom, [left, right - 1]] == 255).all()
    assert (drawn[top + 1, left + 1 : right - 1] == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 5)])
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_photos_of_hardly_any_size(size, crop_mode):
    assert overlay(noise(*size), np.ones((4, 6)), geometry(size, crop_mode)).size == size


def test_a_photo_that_is_mostly_not_seen():
    assert unseen_note(geometry((100, 70))) is None
    wide = geometry((1000, 70))
    seen = percent(wide.seen, 0)
    assert unseen_note(wide) == f"The model sees {seen} of this photo, inside the frame: crop it yourself to choose another part."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"colours": "jet"}, "There is no colour map “jet”: choose inferno, viridis, magma, cividis, coolwarm."),
        ({"opacity": 1.5}, "The opacity must lie between 0 and 1; 1.5 was asked for."),
        ({"opacity": float("nan")}, "The opacity must lie between 0 and 1; nan was asked for."),
    ],
)
def test_a_look_that_is_none(arguments, said):
    with pytest.raises(UserError) as refused:
        OverlayStyle(**arguments)
    assert str(refused.value) == said


def test_a_heat_of_another_grid_is_our_own_fault():
    with pytest.raises(ValueError, match="grid"):
        overlay(noise(90, 60), np.zeros((6, 4)), geometry((90, 60)))


def test_twenty_megapixels(tmp_path):
    """About 1 s where it was measured; memory beyond the photo is another copy or two of it, 60 MB each."""
    photo = Image.effect_noise((5477, 3652), 60).convert("RGB")
    where = geometry(photo.size)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    overlay(photo, np.random.default_rng(0).random((4, 6)), where).save(tmp_path / "a.png", compress_level=1)
    assert time.process_time() - begin < 8  # CPU time, with room for a slow machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def test_without_peaks_cuts_each_map_at_its_95th_percentile():
    heats = np.stack([np.arange(100, dtype=np.float32).reshape(10, 10), np.full((10, 10), 3, np.float32)])
    heats[0, 9, 9] = 1000
    cut = without_peaks(heats)
    assert cut[0].max() == 94
    assert np.array_equal(cut[0].flatten()[:95], heats[0].flatten()[:95])
    assert np.array_equal(cut[1], heats[1])
