"""Colour profiles: named in a note, ignored as timm ignores them, and converted to sRGB where that is asked for."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import profiles
from tests.support.pictures import noise
from vitdemo.core.photos.decoding.colour import LARGEST, NOT_SRGB, UNUSABLE, to_srgb
from vitdemo.core.photos.photo import Photo, open_photo
from vitdemo.core.photos.preprocessing import Preprocessing

PICTURE = noise(32, 24)
ADOBE = profiles.of_screen("Adobe RGB (by hand)", profiles.ADOBE_RGB, 563 / 256)
OWN = Preprocessing((24, 32), 1.0, "squash", "bicubic", (0.5,) * 3, (0.5,) * 3)
CONVERTING = replace(OWN, icc="convert")


def opened(image: Image.Image, path: Path, settings, profile: bytes, **options) -> Photo:
    image.save(path, icc_profile=profile, **options)
    return open_photo(path, settings)


def encoded(linear: np.ndarray) -> np.ndarray:
    """Linear light, 0 … 1, as sRGB (IEC 61966-2-1), 0 … 255."""
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def by_formula(values: np.ndarray, primaries: tuple, gamma: float) -> np.ndarray:
    xyz = (values / 255) ** gamma @ np.array(primaries)
    return encoded(xyz @ np.linalg.inv(np.array(profiles.SRGB)))


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
@pytest.mark.parametrize(("name", "primaries", "gamma"), [("Adobe", profiles.ADOBE_RGB, 2.2), ("P3", profiles.DISPLAY_P3, 2.2)])
def test_conversion_by_the_formula(tmp_path, settings, suffix, name, primaries, gamma):
    options = {"lossless": True} if suffix == "webp" else {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    photo = opened(PICTURE, tmp_path / f"a.{suffix}", settings, profiles.of_screen(name, primaries, gamma), **options)
    assert photo.notes == (NOT_SRGB.format(name=name),)
    values = np.asarray(photo.image)
    assert np.abs(np.asarray(CONVERTING.crop(photo.image)) - by_formula(values, primaries, gamma)).max() <= 2
    assert np.array_equal(np.asarray(OWN.crop(photo.image)), values)
    assert np.abs(values - by_formula(values, primaries, gamma)).max() > 20


def test_ignored_as_timm_ignores_it(tmp_path, settings):
    photo = opened(PICTURE, tmp_path / "a.png", settings, ADOBE)
    with Image.open(tmp_path / "a.png") as plain:
        assert np.array_equal(np.asarray(photo.image), np.asarray(plain.convert("RGB")))


def test_srgb_is_no_news_and_stays_as_it_is(tmp_path, settings):
    from PIL import ImageCms

    photo = opened(PICTURE, tmp_path / "a.png", settings, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert photo.notes == ()
    assert CONVERTING.coloured(photo.image) is photo.image


class TestPress:
    PROFILE = profiles.of_press("Newspaper", cyan=(127, 128, 128))  # the ink is grey of L* 49.8

    @pytest.mark.parametrize("suffix", ["tif", "jpg"])
    def test_ignored_and_converted(self, tmp_path, settings, suffix):
        image = Image.new("CMYK", (32, 24))
        image.paste((255, 0, 0, 0), (0, 0, 16, 24))
        photo = opened(image, tmp_path / f"a.{suffix}", settings, self.PROFILE, **({"quality": 100} if suffix == "jpg" else {}))
        assert photo.notes == (NOT_SRGB.format(name="Newspaper"),)
        with Image.open(tmp_path / f"a.{suffix}") as plain:
            assert np.array_equal(np.asarray(photo.image), np.asarray(plain.convert("RGB")))  # as timm opens it
        assert np.abs(np.asarray(OWN.crop(photo.image))[:, 2:14] - (0, 255, 255)).max() <= 3
        converted = np.asarray(CONVERTING.crop(photo.image)).astype(int)
        grey = 255 * (1.055 * (((0.498 * 100 + 16) / 116) ** 3) ** (1 / 2.4) - 0.055)  # CIE L*, then sRGB
        assert np.abs(converted[:, 2:14] - grey).max() <= 3
        assert converted[:, 18:30].min() >= 252

    def test_turned_together(self, tmp_path, settings):
        exif = Image.Exif()
        exif[0x0112] = 6
        image = Image.new("CMYK", (32, 24))
        image.paste((255, 0, 0, 0), (0, 0, 32, 8))  # the upper third: at the right when upright
        photo = opened(image, tmp_path / "a.tif", settings, self.PROFILE, exif=exif)
        converted = np.asarray(to_srgb(photo.image)).astype(int)
        assert converted.shape == (32, 24, 3)
        assert converted[:, :16].min() > 250
        assert converted[:, 16:].max() < 125

    def test_what_is_written_from_it_has_no_profile_of_other_pixels(self, tmp_path, settings):
        photo = opened(Image.new("CMYK", (32, 24)), tmp_path / "a.tif", settings, self.PROFILE)
        photo.image.save(file := io.BytesIO(), "PNG")
        assert "icc_profile" not in Image.open(file).info


def test_grey_by_its_own_curve(tmp_path, settings):
    values = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (24, 1))
    photo = opened(Image.fromarray(values), tmp_path / "a.png", settings, profiles.of_grey("Linear", 1))
    assert photo.notes == (NOT_SRGB.format(name="Linear"),)
    assert np.abs(np.asarray(CONVERTING.crop(photo.image))[..., 0] - encoded(values / 255)).max() <= 2


def test_grey_with_a_profile_of_colours(tmp_path, settings):
    values = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (24, 1))
    photo = opened(Image.fromarray(values), tmp_path / "a.png", settings, profiles.of_screen("Screen", profiles.SRGB, 1))
    assert np.abs(np.asarray(CONVERTING.crop(photo.image))[..., 0] - encoded(values / 255)).max() <= 2


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b"no profile at all"),
        ("RGB", ADOBE[:200]),
        ("RGB", ADOBE.replace(b"RGB XYZ ", b"Lab XYZ ")),
        ("RGB", ADOBE.replace(b"RGB XYZ ", b"\xff\xfe\0 XYZ ")),
        ("RGB", TestPress.PROFILE),
        ("CMYK", ADOBE),
        ("RGB", profiles.of_grey("Linear", 1)),
        ("RGB", ADOBE + bytes(LARGEST)),
    ],
)
def test_unusable_profiles_are_ignored_with_a_note(tmp_path, settings, mode, profile):
    photo = opened(PICTURE.convert(mode), tmp_path / "a.tif", settings, profile)
    assert photo.notes == (UNUSABLE,)
    assert CONVERTING.coloured(photo.image) is photo.image


def test_a_name_can_steer_no_terminal(tmp_path, settings):
    photo = opened(PICTURE, tmp_path / "a.png", settings, profiles.of_screen("\x1b[31mred\n" + "x" * 500, profiles.ADOBE_RGB, 2.2))
    assert photo.notes[0].isprintable()
    assert len(photo.notes[0]) < 200
