"""Preprocessing: timm's own transform to the last bit, and a way through for photos that are too long for it."""

import math
import re
import resource
from dataclasses import replace

import numpy as np
import pytest
import timm
import timm.data
import torch
from PIL import Image

from tests.support.pictures import noise
from vitdemo.core.errors import UserError
from vitdemo.core.photos.preprocessing import (
    CROP_MODES,
    INTERPOLATIONS,
    STATISTICS,
    Preprocessing,
    _resize_inside_crop,
    check_size,
    pixels_of,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = [(1, 1), (1, 3), (2, 1), (5, 2), (224, 224), (225, 224), (640, 427), (427, 640), (1000, 80), (31, 997), (1, 40), (1, 300), (400, 1)]


def asked(crop_mode: str, interpolation: str = "bicubic", crop_pct: float = 0.9, size: tuple[int, int] = (224, 224)) -> Preprocessing:
    return Preprocessing(size, crop_pct, crop_mode, interpolation, MEAN, STD)


def timms(wanted: Preprocessing):
    """timm's evaluation transform of the same recipe."""
    return timm.data.create_transform(
        (3, *wanted.size),
        is_training=False,
        crop_pct=wanted.crop_pct,
        crop_mode=wanted.crop_mode,
        interpolation=wanted.interpolation,
        mean=wanted.mean,
        std=wanted.std,
    )


def pixels(tensor: torch.Tensor) -> np.ndarray:
    """A normalised (3, height, width) tensor as (height, width, 3) values of 0 … 255."""
    return (tensor.permute(1, 2, 0) * torch.tensor(STD) + torch.tensor(MEAN)).mul(255).numpy()


def test_equal_to_timms_transform(subtests):
    for interpolation in INTERPOLATIONS:
        for crop_mode in CROP_MODES:
            for photo in SIZES:
                with subtests.test(interpolation=interpolation, crop_mode=crop_mode, photo=photo):
                    image = noise(*photo)
                    for crop_pct in (0.9, 1.0, 0.875):
                        wanted = asked(crop_mode, interpolation, crop_pct)
                        given = wanted(image)
                        assert given.shape == (3, 224, 224)
                        assert given.dtype == torch.float32
                        assert torch.equal(given, timms(wanted)(image))


def test_equal_to_timms_transform_for_other_input_sizes(subtests):
    for size in [(160, 240), (240, 160), (32, 32), (518, 518), (384, 224)]:
        for crop_mode in CROP_MODES:
            with subtests.test(size=size, crop_mode=crop_mode):
                for photo in ((333, 500), (500, 333), (7, 9), (1200, 300)):
                    wanted = asked(crop_mode, size=size)
                    assert torch.equal(wanted(noise(*photo)), timms(wanted)(noise(*photo)))


@pytest.mark.parametrize("crop_mode", CROP_MODES)
@pytest.mark.parametrize("photo", [(500, 333), (90, 1100), (3, 2)])
def test_what_the_model_sees_is_what_it_is_given(crop_mode, photo):
    wanted = asked(crop_mode)
    seen, given = wanted.crop(noise(*photo)), wanted(noise(*photo))
    assert (seen.mode, seen.size) == ("RGB", (224, 224))
    assert np.abs(np.asarray(seen) - pixels(given)).max() < 1e-3


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_dinov2", "deit3_small_patch16_224", "vit_base_patch16_384"])
def test_the_models_own_recipe(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    config = timm.data.resolve_model_data_config(model)
    own = Preprocessing.of(model)
    assert (3, *own.size) == config["input_size"]
    for key in ("crop_pct", "crop_mode", "interpolation", "mean", "std"):
        assert getattr(own, key) == config[key], key
    image = noise(300, 200)
    assert torch.equal(own(image), timm.data.create_transform(**config, is_training=False)(image))


def test_a_resize_that_timms_border_mode_refuses():
    """Without `_rounds_to_nothing` there would be nothing to paste: the reason for the next tests' own references."""
    with pytest.raises(ValueError, match=r"height and width must be > 0"):
        timms(asked("border"))(noise(1, 5000))


# Photos whose centre-cropped resize would be far too large: 1×5000 → 248×1,240,000 and 2×60000 → 248×7,440,000 (1.2 and 7.4 GB as RGB)
LONG = [(1, 5000), (5000, 1), (2, 60_000)]


def long_photo(size: tuple[int, int]) -> Image.Image:
    """Random, with the middle pixels as unlike each other as can be, so that a crop in the wrong place shows."""
    values = np.array(noise(*size))
    line = values.reshape(-1, min(size), 3) if size[1] > size[0] else values.transpose(1, 0, 2).reshape(-1, min(size), 3)
    middle = len(line) // 2
    line[middle - 1], line[middle] = (255, 0, 40), (0, 200, 255)
    return Image.fromarray(values)


@pytest.mark.parametrize("size", LONG)
def test_long_photo_center(size):
    """Reference: Pillow's own resize of the 20 middle pixels, by the same whole factor, of which the middle 224 are taken."""
    photo, factor = long_photo(size), 248 // min(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert math.prod(asked("center").geometry(size, (16, 16)).resized) > 300_000_000
    seen = np.asarray(asked("center").crop(photo)).astype(int)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    middle = max(size) // 2
    box = (0, middle - 10, size[0], middle + 10) if size[1] > size[0] else (middle - 10, 0, middle + 10, size[1])
    part = photo.crop(box)
    part = part.resize((part.width * factor, part.height * factor), Image.Resampling.BICUBIC)
    left, top = (part.width - 224) // 2, (part.height - 224) // 2
    assert np.abs(seen - np.asarray(part)[top : top + 224, left : left + 224]).max() <= 2
    assert np.ptp(seen[..., 0]) > 200  # the edge between the two middle pixels is in view


@pytest.mark.parametrize("size", LONG)
def test_long_photo_squash(size):
    assert torch.equal(asked("squash")(long_photo(size)), timms(asked("squash"))(long_photo(size)))


@pytest.mark.parametrize("size", LONG)
def test_long_photo_border(size):
    """Reference: a smooth ramp along the photo, which the resize to 248 pixels leaves a ramp; across it there is one pixel of photo."""
    upright = size[1] > size[0]
    ramp = np.linspace(20, 230, max(size))[:, None, None] * np.ones((1, min(size), 3))  # (length, width, 3)
    photo = Image.fromarray((ramp if upright else ramp.transpose(1, 0, 2)).round().astype(np.uint8))
    seen = np.asarray(asked("border").crop(photo)).astype(int)
    seen = seen if upright else seen.transpose(1, 0, 2)
    line = 20 + 210 * (np.arange(12, 236) + 0.5) / 248  # rows 12 … 235 of 248 are inside the crop
    mean = [round(255 * value) for value in MEAN]
    columns = [column for column in range(224) if (seen[:, column] != mean).any()]
    assert len(columns) == 1
    assert columns[0] in (111, 112)
    assert np.abs(seen[:, columns[0]] - line[:, None]).max() <= 1.5  # two roundings to 8 bits, and the ramp's own steps


def test_long_photo_of_one_colour_keeps_it(subtests):
    for crop_mode in CROP_MODES:
        for size in [*LONG, (60_000, 2), (1, 1_000_000)]:
            with subtests.test(crop_mode=crop_mode, size=size):
                seen = np.asarray(asked(crop_mode).crop(Image.new("RGB", size, (12, 200, 77)))).reshape(-1, 3)
                colours = {tuple(int(value) for value in each) for each in np.unique(seen, axis=0)}
                assert colours == {(12, 200, 77)} | ({tuple(round(255 * value) for value in MEAN)} if crop_mode == "border" else set())


def test_resizing_only_the_crop_agrees_with_timm(subtests):
    """Within one step of 255: Pillow takes the part's box as float32. Each of its two passes rounds, so a few values come out two apart."""
    for interpolation in ["bicubic", "bilinear", "lanczos"]:
        for crop_mode in CROP_MODES:
            for photo in [(640, 427), (427, 640), (224, 224), (1000, 80), (31, 997), (60, 45), (3000, 1999)]:
                with subtests.test(interpolation=interpolation, crop_mode=crop_mode, photo=photo):
                    wanted, image = asked(crop_mode, interpolation), noise(*photo)
                    part = np.asarray(_resize_inside_crop(image, wanted.geometry(photo, (1, 1)), wanted)).astype(float)
                    apart = np.abs(part - pixels(timms(wanted)(image))).round()
                    assert apart.max() <= 2
                    assert (apart > 1).mean() < 1e-4


def test_differences_names_the_fields():
    own = asked("center")
    assert own.differences(own) == []
    other = Preprocessing((224, 224), 0.9, "border", "bilinear", *STATISTICS["inception"])
    assert other.differences(own) == ["crop_mode", "interpolation", "mean", "std"]


def test_statistics_are_the_published_ones():
    assert STATISTICS["imagenet"] == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert STATISTICS["inception"] == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert STATISTICS["clip"] == ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@pytest.mark.parametrize(("size", "patch"), [(224, 16), (32, 16), (512, 16), (518, 14), (28, 14), (384, 32)])
def test_good_size(size, patch):
    assert check_size(size, patch, 518) == (size, size)


@pytest.mark.parametrize(
    ("size", "patch", "sentence"),
    [
        (16, 16, "The image size must lie between 32 and 518 pixels; 16 was asked for."),
        (-224, 16, "The image size must lie between 32 and 518 pixels; -224 was asked for."),
        (520, 14, "The image size must lie between 28 and 518 pixels; 520 was asked for."),
        (230, 16, "This model cuts its input into 16-pixel patches, so 230 won't do: choose 224 or 240."),
        (225, 14, "This model cuts its input into 14-pixel patches, so 225 won't do: choose 224 or 238."),
    ],
)
def test_bad_size(size, patch, sentence):
    with pytest.raises(UserError) as refusal:
        check_size(size, patch, 518)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize("patch", [14, 16, 32])
def test_sizes_that_are_suggested_would_do(patch):
    for size in (each for each in range(patch * 2, 519) if each % patch):
        with pytest.raises(UserError) as refusal:
            check_size(size, patch, 518)
        suggested = [int(each) for each in re.findall(r"\d+", str(refusal.value).split("choose")[1])]
        assert suggested
        for each in suggested:
            assert check_size(each, patch, 518) == (each, each), f"{each} is suggested for {size}"


def test_a_batch_equals_timms_transform_to_the_last_bit(subtests):
    """Normalised together, from their pixels; with mean and std of every model, and on all levels of every channel."""
    levels = Image.fromarray(np.arange(256, dtype=np.uint8)[:, None, None].repeat(256, 1).repeat(3, 2))
    for name, (mean, std) in STATISTICS.items():
        for crop_mode in CROP_MODES:
            with subtests.test(statistics=name, crop_mode=crop_mode):
                wanted = replace(asked(crop_mode, crop_pct=1.0, size=(256, 256)), mean=mean, std=std)
                photos = [noise(640, 427), levels, noise(100, 300)]
                batch = wanted.batch([pixels_of(wanted.crop(photo)) for photo in photos])
                assert (batch.shape, batch.dtype, batch.is_contiguous()) == ((3, 3, 256, 256), torch.float32, True)
                assert all(torch.equal(given, timms(wanted)(photo)) for given, photo in zip(batch, photos, strict=True))
                assert all(torch.equal(given, wanted(photo)) for given, photo in zip(batch, photos, strict=True))
