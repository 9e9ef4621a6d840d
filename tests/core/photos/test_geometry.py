"""The geometry against itself (exact inverse) and against timm: pictures whose pixels say where they are."""

import random

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image

from vitdemo.core.photos.geometry import Geometry, centred
from vitdemo.core.photos.preprocessing import Preprocessing

BASE = 1000  # a coordinate picture's values start here, so that padding, which is 0, can't be taken for a coordinate


def random_geometry(seed: int) -> Geometry:
    draw = random.Random(seed)
    photo = draw.randint(1, 6000), draw.randint(1, 6000)
    patch = draw.choice((8, 14, 16, 32))
    return preprocessing(
        draw.choice(("center", "squash", "border")),
        size=(patch * draw.randint(2, 20), patch * draw.randint(2, 20)),
        crop_pct=draw.choice((1.0, 0.95, 0.9, 0.875, 0.5)),
    ).geometry(photo, (patch, patch))


def preprocessing(crop_mode: str, *, size: tuple[int, int] = (224, 224), crop_pct: float = 0.9) -> Preprocessing:
    return Preprocessing(size, crop_pct, crop_mode, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def where(photo: tuple[int, int], asked: Preprocessing) -> np.ndarray:
    """(2, height, width): for each pixel of timm's output the x and y on the photo it was made from; NaN in the padding.

    timm's own transform runs on floating-point pictures, so nothing is rounded to 8 bits. Its padding takes the mean's value, here 0.
    """
    transform = timm.data.create_transform(
        (1, *asked.size),
        is_training=False,
        crop_pct=asked.crop_pct,
        crop_mode=asked.crop_mode,
        interpolation=asked.interpolation,
        mean=(0.0,),
        std=(1.0,),
    )
    y, x = np.mgrid[: photo[1], : photo[0]].astype(np.float32) + 0.5 + BASE  # a pixel's value is its centre
    ramps = torch.cat([transform(Image.fromarray(each)) for each in (x, y)]).numpy()
    return np.where(ramps == 0, np.nan, ramps - BASE)


def test_inverse_is_exact(subtests):
    for seed in range(300):
        with subtests.test(seed=seed):
            geometry, draw = random_geometry(seed), random.Random(~seed)
            for _ in range(20):
                point = draw.uniform(-50, geometry.crop[0] + 50), draw.uniform(-50, geometry.crop[1] + 50)
                assert geometry.to_crop(*geometry.to_photo(*point)) == pytest.approx(point, abs=1e-9, rel=0)
            corner = geometry.to_crop(0, 0), geometry.to_crop(*geometry.photo)  # the whole photo is the whole resized photo
            assert np.subtract(corner[1], corner[0]) == pytest.approx(geometry.resized, abs=1e-9)


def test_patches_tile_the_box_exactly(subtests):
    for seed in range(60):
        with subtests.test(seed=seed):
            geometry = random_geometry(seed)
            rows, columns = geometry.grid
            boxes = np.array([[geometry.patch_box(row, column) for column in range(columns)] for row in range(rows)])  # (rows, columns, 4)
            left, top, right, bottom = np.moveaxis(boxes, -1, 0)
            assert (left[:, 1:] == right[:, :-1]).all()  # neighbours share their edges to the last bit: no gap, no overlap
            assert (top[1:] == bottom[:-1]).all()
            assert ((right > left) & (bottom > top)).all()
            assert (np.ptp(left, axis=0) == 0).all()
            assert (np.ptp(top, axis=1) == 0).all()
            assert geometry.box == (left[0, 0], top[0, 0], right[-1, -1], bottom[-1, -1])


SIZES = [(1000, 700), (700, 1000), (500, 375), (224, 224), (248, 248), (333, 334), (1201, 301), (57, 40), (300, 1999)]


def test_patch_boxes_are_where_timm_reads(subtests):
    for crop_pct in [0.9, 1.0, 0.875]:
        for crop_mode in ["center", "squash", "border"]:
            for photo in SIZES:
                with subtests.test(crop_pct=crop_pct, crop_mode=crop_mode, photo=photo):
                    check_against_timm(photo, preprocessing(crop_mode, crop_pct=crop_pct), patch=16)


def test_patch_boxes_are_where_timm_reads_any_photo(subtests):
    for seed in range(40):
        with subtests.test(seed=seed):
            draw = random.Random(seed)
            patch = draw.choice((14, 16, 32))
            size = draw.choice([(patch * 16,) * 2, (patch * 7,) * 2, (patch * 10, patch * 15), (patch * 12, patch * 5)])
            asked = preprocessing(draw.choice(("center", "squash", "border")), size=size, crop_pct=draw.choice((1.0, 0.95, 0.9, 0.8)))
            check_against_timm((draw.randint(60, 900), draw.randint(60, 900)), asked, patch)


def check_against_timm(photo: tuple[int, int], asked: Preprocessing, patch: int) -> None:
    """Every patch's centre, as Geometry tells it, is where timm read it; padding lies where Geometry says that there is no photo.

    Tolerance: a resize reproduces a ramp but for its filter's weights at whole pixels, which err by up to 0.0013 output pixels (measured).
    A crop that starts one pixel off is 1, centres mixed up with corners are 0.5, and one pixel more or less in the resize is 0.05 and
    more at the corner patches; 0.01 tells them all. Near the photo's edge the filter is cut off, so patches within its reach (2 pixels of
    the output, or of the photo where that is larger) are left out.
    """
    geometry = asked.geometry(photo, (patch, patch))
    pixels = where(photo, asked)  # (2, height, width)
    scale = np.divide(geometry.resized, photo)  # output pixels per photo pixel
    reach = 2 * np.maximum(1, 1 / scale) + 1e-9  # photo pixels
    compared = 0
    for row in range(geometry.grid[0]):
        for column in range(geometry.grid[1]):
            left, top, right, bottom = geometry.patch_box(row, column)
            seen = pixels[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]  # (2, patch, patch)
            if right <= 0 or bottom <= 0 or left >= photo[0] or top >= photo[1]:
                assert np.isnan(seen).all(), "a patch outside the photo holds nothing but padding"
            elif left >= 0 and top >= 0 and right <= photo[0] and bottom <= photo[1]:
                assert not np.isnan(seen).any(), "a patch inside the photo holds no padding"
            if left < reach[0] or top < reach[1] or right > photo[0] - reach[0] or bottom > photo[1] - reach[1]:
                continue
            centre = seen.reshape(2, -1).mean(1)  # a ramp's mean over the patch is its value at the centre
            assert (np.abs(centre - ((left + right) / 2, (top + bottom) / 2)) * scale).max() < 0.01, (row, column)
            compared += 1
    assert compared >= geometry.grid[0] * geometry.grid[1] / 10 or max(photo) > 4 * min(photo)  # such a strip, padded, is a patch wide


def test_known_answers():
    landscape = preprocessing("center").geometry((640, 480), (16, 16))  # short side 480 → 248, long side int(330.67), crop 224
    assert (landscape.resized, landscape.offset, landscape.grid) == ((330, 248), (53, 12), (14, 14))
    assert landscape.box == pytest.approx((53 * 640 / 330, 12 * 480 / 248, 277 * 640 / 330, 236 * 480 / 248))
    padded = preprocessing("border", crop_pct=1.0).geometry((640, 480), (16, 16))
    assert (padded.resized, padded.offset) == ((224, 168), (0, -28))
    assert padded.box == pytest.approx((0, -80, 640, 560))
    squashed = preprocessing("squash", crop_pct=1.0).geometry((640, 480), (16, 16))
    assert squashed.box == (0, 0, 640, 480)
    assert squashed.patch_box(13, 0) == pytest.approx((0, 480 * 13 / 14, 640 / 14, 480))


def test_grid_is_rows_by_columns():
    assert centred((300, 300), (96, 64), (96, 64), (32, 16)).grid == (4, 3)


def test_seen():
    assert preprocessing("squash", crop_pct=1.0).geometry((640, 480), (16, 16)).seen == 1
    for photo in ((640, 480), (480, 640)):
        assert preprocessing("border", crop_pct=1.0).geometry(photo, (16, 16)).seen == pytest.approx(1)
    assert preprocessing("center", crop_pct=1.0).geometry((448, 224), (16, 16)).seen == pytest.approx(0.5)
    assert preprocessing("squash", crop_pct=0.5).geometry((640, 480), (16, 16)).seen == pytest.approx(0.25)
