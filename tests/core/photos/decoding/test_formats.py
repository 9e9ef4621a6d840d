"""The formats: every suffix, and nothing beyond the list."""

import pytest
from PIL import Image

from tests.support.heic import DRAWN, drawn
from vitdemo.core.config import Settings
from vitdemo.core.photos.decoding.formats import FORMATS, SUFFIXES
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.search import find_items

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
    assert set(FORMATS) <= set(Image.OPEN)
    assert not {"EPS", "WMF", "FITS", "HDF5", "PSD"} & set(FORMATS)
