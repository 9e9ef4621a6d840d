"""The formats: HEIC as phones write it, every suffix, and nothing beyond the list."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.heic import DRAWN, TURNED, drawn
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.decoding.formats import FORMATS, SUFFIXES
from vitdemo.core.photos.gallery import find_items
from vitdemo.core.photos.photo import open_photo


def colours(path: Path) -> np.ndarray:
    photo = open_photo(path, Settings())
    assert photo.notes == ()
    return np.asarray(photo.image).astype(int)


def test_heic_has_the_pixels_that_were_drawn():
    assert np.abs(colours(DRAWN) - np.asarray(drawn()).astype(int)).mean() < 3


def test_heic_is_turned_once():
    """The container turns the picture by 90 degrees, and its EXIF data asks for the same."""
    assert np.abs(colours(TURNED) - np.asarray(drawn()).astype(int)).mean() < 3
    assert colours(TURNED).shape == (64, 96, 3)


def test_size_of_a_heic_is_checked_before_it_is_decoded(tmp_path):
    data = DRAWN.read_bytes()
    place = data.index(b"ispe") + 8
    (tmp_path / "a.heic").write_bytes(data[:place] + (9000).to_bytes(4) + (8000).to_bytes(4) + data[place + 8 :])
    with pytest.raises(UserError, match=r"^“a.heic” has 72 megapixels, and the limit is 64"):
        open_photo(tmp_path / "a.heic", Settings())


def test_damaged_heic_in_a_sentence(tmp_path):
    data, draw = np.frombuffer(DRAWN.read_bytes(), np.uint8), np.random.default_rng(0)
    for _ in range(60):
        bad = data.copy()
        bad[draw.integers(0, len(data), 4)] = draw.integers(0, 256, 4)
        (tmp_path / "a.heic").write_bytes(bad[: draw.integers(8, len(bad) + 1)].tobytes())
        with contextlib.suppress(UserError):  # any other exception is a fault
            open_photo(tmp_path / "a.heic", Settings())
    (tmp_path / "a.heic").write_bytes(DRAWN.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"^“a.heic” is (cut off|damaged) and can't be decoded"):
        open_photo(tmp_path / "a.heic", Settings())


# suffix → how Pillow writes what such a file holds
WRITTEN = {
    **{suffix: {"format": "JPEG"} for suffix in (".jpg", ".jpeg", ".jpe", ".jfif")},
    **{suffix: {"format": "JPEG2000"} for suffix in (".jp2", ".jpx")},
    **{suffix: {"format": "JPEG2000", "no_jp2": True} for suffix in (".j2k", ".j2c")},
    **{suffix: {"format": "PPM"} for suffix in (".ppm", ".pgm", ".pbm", ".pnm")},
    **{suffix: {"format": "TIFF"} for suffix in (".tif", ".tiff")},
    **{f".{name.lower()}": {"format": name} for name in ("MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "AVIF")},
}
MODES = {".pgm": "L", ".pbm": "1"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_found_and_opens(tmp_path, suffix):
    if suffix in (".heic", ".heif"):
        (tmp_path / f"a{suffix}").write_bytes(DRAWN.read_bytes())
    else:
        drawn().convert(MODES.get(suffix, "RGB")).save(tmp_path / f"a{suffix}", **WRITTEN[suffix])
    (item,) = find_items([tmp_path])
    assert open_photo(item.path, Settings()).image.size == (96, 64)


def test_formats_are_an_allow_list():
    Image.init()
    assert {"HEIF", "DIB"} <= set(FORMATS) <= set(Image.OPEN)
    assert not {"EPS", "WMF", "FITS", "HDF5", "PSD"} & set(FORMATS)
