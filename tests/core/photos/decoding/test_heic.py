"""HEIC as phones write it: the right pixels, turned once; and files that crash the decoder, which crash nothing else."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.heic import DRAWN, TURNED, drawn
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.decoding import heic
from vitdemo.core.photos.decoding.decode import decode
from vitdemo.core.photos.photo import open_photo

DAMAGED = r"^“a.heic” is a HEIC photo that is damaged, or of a kind that can't be read here: save it as JPEG\.$"


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


def test_pillows_own_limit_counts_too(monkeypatch):
    """It is the limit of an exported bundle's server."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 64 // 2)
    decode(DRAWN.read_bytes())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 64 // 2 - 1)
    with pytest.raises(Image.DecompressionBombError):
        decode(DRAWN.read_bytes())


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


def test_a_file_that_crashes_the_decoder(tmp_path):
    """pi-heif 1.4.0 reads an item's type as UTF-8, and fails on a null pointer where it is none."""
    data = TURNED.read_bytes()
    place = data.index(b"Exif")
    (tmp_path / "a.heic").write_bytes(data[:place] + b"\xff" + data[place + 1 :])
    with pytest.raises(UserError, match=DAMAGED):
        open_photo(tmp_path / "a.heic", Settings())


def test_a_file_that_takes_for_ever(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(heic, "_PROGRAM", program)
    monkeypatch.setattr(heic, "SECONDS", 0.3)
    (tmp_path / "a.heic").write_bytes(DRAWN.read_bytes())
    with pytest.raises(UserError, match=DAMAGED):
        open_photo(tmp_path / "a.heic", Settings())


def test_libheif_stays_out_of_this_process():
    open_photo(DRAWN, Settings())
    assert "_pi_heif" not in sys.modules


def test_what_says_that_it_is_heic():
    assert heic.is_heic(DRAWN.read_bytes())
    assert heic.is_heic(b"\0\0\0\x14ftypmif1\0\0\0\0heic")
    assert not heic.is_heic(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif")  # Pillow's own
    assert not heic.is_heic(b"\0\0\0\x18ftypisom\0\0\0\0isommp42")
    assert not heic.is_heic(b"")
