"""PNGs whose metadata is broken or too large: the photo is read all the same, and what is wrong with the pixels stays an error."""

import contextlib
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.support import profiles
from tests.support.hostile import files
from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.decoding.colour import NOT_SRGB
from vitdemo.core.photos.decoding.decode import NO_METADATA, ON_WHITE
from vitdemo.core.photos.photo import Photo, decode

PICTURE = noise(40, 30)


def chunk(kind: bytes, body: bytes, checksum: int = 0) -> bytes:
    """A chunk; `checksum` is added to the right one."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", (zlib.crc32(kind + body) + checksum) % 2**32)


def png(tmp_path, *, before: bytes = b"", after: bytes = b"", image: Image.Image = PICTURE, **options) -> bytes:
    """A PNG with further chunks before and after its pixels."""
    image.save(tmp_path / "a.png", **options)
    data = (tmp_path / "a.png").read_bytes()
    end = data.rindex(b"IEND") - 4
    return data[:33] + before + data[33:end] + after + data[end:]


def opened(data: bytes, *notes: str) -> Photo:
    photo = decode(data, "a.png", Settings())
    assert photo.notes == notes
    return photo


BROKEN = {
    "a large text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
    "a large text in UTF-8": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(3_000_000))),
    "a wrong checksum": chunk(b"tEXt", b"Comment\0by hand", 1),
    "a large profile": chunk(b"iCCP", b"large\0\0" + zlib.compress(bytes(6_000_000))),
    "a broken date and size": chunk(b"pHYs", b"", 0) + chunk(b"tIME", b"x", 5),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("place", ["before", "after"])
def test_broken_metadata_loses_no_photo(tmp_path, kind, place):
    if "profile" in kind and place == "after":
        pytest.skip("Pillow passes it over there")
    photo = decode(png(tmp_path, **{place: BROKEN[kind]}), "a.png", Settings())
    assert np.array_equal(np.asarray(photo.image), np.asarray(PICTURE))
    assert photo.notes in ((NO_METADATA,), ())


def test_what_belongs_to_the_picture_is_kept(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(tmp_path, before=BROKEN["a wrong checksum"], exif=exif, transparency=PICTURE.getpixel((0, 0)))
    photo = opened(data, NO_METADATA, ON_WHITE)
    upright = np.rot90(np.asarray(PICTURE), -1).copy()
    upright[0, -1] = 255
    assert np.array_equal(np.asarray(photo.image), upright)


def test_a_profile_beside_broken_metadata_still_counts(tmp_path):
    profile = profiles.of_screen("Adobe", profiles.ADOBE_RGB, 2.2) + bytes(2_000_000)  # more than Pillow unpacks
    data = png(tmp_path, before=chunk(b"iCCP", b"large\0\0" + zlib.compress(profile)))
    opened(data, NO_METADATA, NOT_SRGB.format(name="Adobe"))


def test_first_frame_of_an_animation_with_broken_metadata(tmp_path):
    other = noise(40, 30, 1)
    data = png(tmp_path, before=BROKEN["a wrong checksum"], save_all=True, append_images=[other])
    photo = decode(data, "a.png", Settings())
    assert np.array_equal(np.asarray(photo.image), np.asarray(PICTURE))
    assert photo.notes[0] == NO_METADATA


def test_sound_metadata_is_no_news(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "by hand", zip=True)
    opened(png(tmp_path, pnginfo=text))


def test_cut_off_after_the_pixels(tmp_path):
    data = png(tmp_path, after=chunk(b"tEXt", b"Comment\0" + b"long" * 100))
    photo = decode(data[: data.rindex(b"longlong")], "a.png", Settings())
    assert np.array_equal(np.asarray(photo.image), np.asarray(PICTURE))


def test_broken_pixels_stay_an_error(tmp_path):
    data = png(tmp_path)
    header = data[:29] + bytes(4) + data[33:]  # a wrong checksum of IHDR
    cut = data[: data.index(b"IDAT") + 400]
    for bad in (header, cut, cut + BROKEN["a wrong checksum"], data[:20], data[:8]):
        with pytest.raises(UserError, match=r"^“a.png” .+\.$"):
            decode(bad, "a.png", Settings())


@pytest.mark.parametrize("name", [name for name, _ in files() if name.startswith("bomb") and name.endswith(".png")])
def test_bombs_stay_harmless(name):
    data = dict(files())[name]
    tracemalloc.start()
    begin = time.monotonic()
    with contextlib.suppress(UserError):
        decode(data, name, Settings())
    seconds, peak = time.monotonic() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 10
    assert peak < 40_000_000  # what Python takes for metadata; the pixels are Pillow's own
