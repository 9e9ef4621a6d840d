"""JPEGs without their end mark: read where the picture is complete, refused where a part of it is missing."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.decoding.decode import NO_END
from vitdemo.core.photos.photo import decode

KINDS = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 90, "progressive": True},
    "optimized": {"quality": 60, "optimize": True, "subsampling": 0},
    "restarts": {"quality": 90, "restart_marker_blocks": 2},
    "restarts, progressive": {"quality": 90, "restart_marker_blocks": 2, "progressive": True},
}
SMOOTH = noise(8, 6).resize((72, 56), Image.Resampling.BICUBIC)
PICTURES = {"noise": noise(72, 56), "smooth": SMOOTH, "grey": SMOOTH.convert("L"), "plain": Image.new("RGB", (72, 56), (9, 120, 200))}


def jpeg(picture: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("missing", [1, 2])
def test_only_the_end_mark_is_missing(kind, picture, missing):
    data = jpeg(PICTURES[picture], **KINDS[kind])
    photo = decode(data[:-missing], "a.jpg", Settings())
    assert np.array_equal(np.asarray(photo.image), np.asarray(decode(data, "a.jpg", Settings()).image))
    assert photo.notes == (NO_END,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("picture", ["noise", "smooth", "grey"])
def test_whatever_lacks_pixels_is_cut_off(kind, picture):
    """Cut at every place of the last fifth, and at every marker: no file is taken whose picture differs from the whole one's."""
    data = jpeg(PICTURES[picture], **KINDS[kind])
    whole = np.asarray(decode(data, "a.jpg", Settings()).image)
    marks = [place for place in range(2, len(data) - 2) if data[place] == 0xFF and data[place + 1] not in (0, 0xFF)]
    places = range(len(data) * 4 // 5, len(data) - 2, 1 + len(data) // 500)
    for place in sorted({*marks, *places, len(data) - 3, len(data) - 4}):
        with contextlib.suppress(UserError):
            assert np.array_equal(np.asarray(decode(data[:place], "a.jpg", Settings()).image), whole), place


def test_scans_that_are_missing_as_a_whole():
    """Cut before a later scan, a progressive JPEG decodes without complaint, and is only a blurred copy of the photo."""
    data = jpeg(PICTURES["noise"], progressive=True, quality=90)
    scans = [place for place in range(len(data) - 1) if data[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 4
    for place in scans[1:]:
        with pytest.raises(UserError, match="is cut off and can't be decoded"):
            decode(data[:place], "a.jpg", Settings())


@pytest.mark.parametrize(("draft", "divisor"), [(0, 1), (450, 1), (400, 2), (225, 2), (200, 4), (50, 8), (1, 8)])
def test_a_draft_keeps_the_sides_that_are_asked_for(draft, divisor):
    data = jpeg(noise(64, 48).resize((1600, 800), Image.Resampling.BICUBIC))
    photo = decode(data, "a.jpg", Settings(), draft=draft)
    assert photo.image.size == (1600 // divisor, 800 // divisor)
    assert photo.notes == ((f"Decoded at 1/{divisor} of its size, as --jpeg-draft asks.",) if divisor > 1 else ())
    with Image.open(io.BytesIO(data)) as own:
        own.draft(None, photo.image.size)
        assert np.array_equal(np.asarray(photo.image), np.asarray(own))


def test_a_draft_is_turned_upright():
    exif = Image.Exif()
    exif[0x112] = 6
    photo = decode(jpeg(noise(64, 48).resize((800, 400)), exif=exif), "a.jpg", Settings(), draft=100)
    assert photo.image.size == (100, 200)


def test_a_draft_is_for_jpegs_alone():
    file = io.BytesIO()
    noise(80, 60).resize((800, 600)).save(file, "PNG")
    photo = decode(file.getvalue(), "a.png", Settings(), draft=50)
    assert (photo.image.size, photo.notes) == ((800, 600), ())
