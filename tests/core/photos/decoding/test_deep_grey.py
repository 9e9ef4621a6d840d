"""Deep grey: the file's own words say what is white; where it has none, the values' range, and a note says so."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.tiffs import write_grey
from vitdemo.core.photos.decoding.deep_grey import FEWER_BITS, NOTE, RANGE
from vitdemo.core.photos.photo import open_photo


def opened(path: Path, settings, note: str = NOTE) -> np.ndarray:
    """The photo's grey values, (height, width)."""
    photo = open_photo(path, settings)
    assert photo.notes == (note,)
    values = np.asarray(photo.image).astype(int)
    assert (values == values[..., :1]).all()
    return values[..., 0]


def ramp(low: float, high: float, dtype=np.float32) -> np.ndarray:
    return np.linspace(low, high, 64 * 50).reshape(50, 64).astype(dtype)


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((values.astype(float) - low) / (high - low) * 255).clip(0, 255)


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize(("dtype", "top"), [(np.uint16, 65535), (np.float32, 1)])  # Pillow opens no 32-bit integers of which zero is white
def test_white_is_zero_at_every_depth(tmp_path, settings, white_is_zero, dtype, top):
    values = ramp(0, top, dtype)
    expected = values.astype(float) / top * 255
    shown = opened(write_grey(tmp_path / "a.tif", values, white_is_zero=white_is_zero), settings)
    assert np.abs(shown - (255 - expected if white_is_zero else expected)).max() <= 0.51


def test_eight_bits_of_which_zero_is_white(tmp_path, settings):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    photo = open_photo(write_grey(tmp_path / "a.tif", values, white_is_zero=True), settings)
    assert np.array_equal(np.asarray(photo.image)[..., 0], 255 - values)
    assert photo.notes == ()


class TestFloats:
    def test_a_range_slightly_above_one_is_not_black(self, tmp_path, settings):
        values = ramp(0, 1.02)
        low, high = np.sort(values.ravel())[[4, -5]]  # the 0.1th and 99.9th percentile of 3200 values
        shown = opened(write_grey(tmp_path / "a.tif", values), settings, RANGE.format(low=low, high=high))
        assert np.abs(shown - stretched(values, low, high)).max() <= 0.51

    def test_one_hot_pixel_leaves_the_rest_as_it_is(self, tmp_path, settings):
        values = ramp(0, 1)
        values[20, 30] = 5000
        shown = opened(write_grey(tmp_path / "a.tif", values), settings)
        assert np.abs(shown - stretched(values, 0, 1)).max() <= 0.51
        assert shown[20, 30] == 255

    def test_hot_and_cold_pixels_of_0_to_255(self, tmp_path, settings):
        values = ramp(0, 200)
        values[20, 30], values[3, 3] = 1e6, -1e6
        assert np.abs(opened(write_grey(tmp_path / "a.tif", values), settings) - stretched(values, 0, 255)).max() <= 0.51

    @pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 40), (-1000, 3000), (300, 310), (0, 1e6)])
    def test_any_other_range_is_named(self, tmp_path, settings, low, high):
        values = ramp(low, high)
        low, high = np.sort(values.ravel())[[4, -5]]
        shown = opened(write_grey(tmp_path / "a.tif", values), settings, RANGE.format(low=low, high=high))
        assert np.abs(shown - stretched(values, low, high)).max() <= 0.51

    def test_a_dark_picture_of_0_to_1_stays_dark(self, tmp_path, settings):
        assert opened(write_grey(tmp_path / "a.tif", ramp(0, 0.1)), settings).max() == 26

    def test_one_value_and_few_other_ones(self, tmp_path, settings):
        values = np.full((40, 50), 2000, np.float32)
        assert opened(write_grey(tmp_path / "a.tif", values), settings, RANGE.format(low=2000, high=2000)).max() == 0
        values[0, 0] = 3000
        assert opened(write_grey(tmp_path / "b.tif", values), settings, RANGE.format(low=2000, high=3000))[0, 0] == 255

    def test_large_pictures_are_judged_by_a_part_of_their_values(self, tmp_path, settings):
        values = np.linspace(0, 1, 3_000_000, dtype=np.float32).reshape(1500, 2000)
        values[700, 700] = 1e9
        assert np.abs(opened(write_grey(tmp_path / "a.tif", values), settings) - stretched(values, 0, 1)).max() <= 0.51


class TestTwelveBits:
    VALUES = ramp(0, 4095, np.uint16)

    def test_packed_into_twelve_bits(self, tmp_path, settings):
        shown = opened(write_grey(tmp_path / "a.tif", self.VALUES, bits=12), settings, FEWER_BITS.format(bits=12))
        assert np.abs(shown - stretched(self.VALUES, 0, 4095)).max() <= 0.51

    def test_named_by_the_largest_sample(self, tmp_path, settings):
        tiff = write_grey(tmp_path / "a.tif", self.VALUES, tags={281: 4095})
        assert np.abs(opened(tiff, settings, FEWER_BITS.format(bits=12)) - stretched(self.VALUES, 0, 4095)).max() <= 0.51

    def test_zero_is_white_too(self, tmp_path, settings):
        tiff = write_grey(tmp_path / "a.tif", self.VALUES, tags={281: 4095}, white_is_zero=True)
        assert np.abs(opened(tiff, settings, FEWER_BITS.format(bits=12)) - 255 + stretched(self.VALUES, 0, 4095)).max() <= 0.51

    @pytest.mark.parametrize("tags", [{}, {281: 4000}, {281: 65535}, {281: 255}, {281: 2047}])
    def test_a_dark_picture_without_a_depth_of_its_own_stays_dark(self, tmp_path, settings, tags):
        """4000 is only the brightest value; 255 is no deep grey; 2047 is exceeded."""
        tiff = write_grey(tmp_path / "a.tif", self.VALUES, tags=tags)
        assert np.abs(opened(tiff, settings) - self.VALUES / 257).max() <= 0.51


class TestPngWithSignificantBits:
    def png(self, path: Path, values: np.ndarray, bits: int) -> Path:
        Image.fromarray(values).save(path)
        data, body = path.read_bytes(), b"sBIT" + bytes([bits])
        chunk = struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body))
        path.write_bytes(data[:33] + chunk + data[33:])  # after IHDR
        return path

    def test_samples_that_were_not_scaled_up(self, tmp_path, settings):
        values = ramp(0, 4095, np.uint16)
        shown = opened(self.png(tmp_path / "a.png", values, 12), settings, FEWER_BITS.format(bits=12))
        assert np.abs(shown - stretched(values, 0, 4095)).max() <= 0.51

    @pytest.mark.parametrize("scaled", [lambda v: v << 4, lambda v: v << 4 | v >> 8, lambda v: np.round(v * 65535 / 4095)])
    @pytest.mark.parametrize("top", [4095, 255])
    def test_samples_scaled_up_in_any_way(self, tmp_path, settings, scaled, top):
        """A dark picture too: its samples lie below 4096 as well."""
        values = scaled(ramp(0, top, np.uint16).astype(int)).astype(np.uint16)
        assert np.abs(opened(self.png(tmp_path / "a.png", values, 12), settings) - values / 257).max() <= 0.51

    @pytest.mark.parametrize("bits", [0, 8, 16, 200, 10])
    def test_what_can_not_be_meant(self, tmp_path, settings, bits):
        values = ramp(0, 4095, np.uint16)
        assert np.abs(opened(self.png(tmp_path / "a.png", values, bits), settings) - values / 257).max() <= 0.51


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf, -9999])
def test_pixels_without_a_value_do_not_count(tmp_path, settings, hole):
    values = ramp(1000, 1100)
    values[10:12] = hole
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={42113: "-9999"} if hole == -9999 else {})
    there = np.sort(values[values > 0][np.isfinite(values[values > 0])])
    low, high = there[[4, -5]]
    shown = opened(tmp_path / "a.tif", settings, RANGE.format(low=low, high=high))
    assert (shown[10:12] == 0).all()
    assert np.abs(shown - stretched(values, low, high))[12:].max() <= 0.51


def test_a_picture_without_any_value_is_black(tmp_path, settings):
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "a.tif")
    assert (opened(tmp_path / "a.tif", settings) == 0).all()


def test_signed_numbers_with_negative_ones(tmp_path, settings):
    values = ramp(-1024, 3071, np.int16)
    low, high = np.sort(values.ravel())[[4, -5]]
    shown = opened(write_grey(tmp_path / "a.tif", values), settings, RANGE.format(low=low, high=high))
    assert np.abs(shown - stretched(values, low, high)).max() <= 0.51


def test_unsigned_32_bit_numbers_above_the_signed_ones(tmp_path, settings):
    values = np.linspace(0, 2**32 - 1, 3200).reshape(50, 64).astype(np.uint32)
    low, high = np.sort(values.ravel().astype(np.float32))[[4, -5]]
    shown = opened(write_grey(tmp_path / "a.tif", values), settings, RANGE.format(low=low, high=high))
    assert np.abs(shown - stretched(values, low, high)).max() <= 0.51


def test_a_turned_photo_keeps_its_tags(tmp_path, settings):
    values = ramp(0, 65535, np.uint16)
    shown = opened(write_grey(tmp_path / "a.tif", values, white_is_zero=True, tags={274: 6}), settings)
    assert np.abs(shown - np.rot90(255 - values / 257, -1)).max() <= 0.51
