"""Files made from pictures are what Pillow reads back."""

import io

from PIL import Image

from tests.support.pictures import noise
from vitdemo.core.photos.encode import encode, thumbnail


def test_a_lossless_file_is_the_picture():
    picture = noise(20, 10)
    with Image.open(io.BytesIO(encode(picture, "PNG"))) as read:
        assert (read.format, read.tobytes()) == ("PNG", picture.tobytes())


def test_the_quality_is_the_callers():
    coarse, fine = (encode(noise(64, 64), "JPEG", quality=quality) for quality in (30, 90))
    assert len(coarse) < len(fine)


def test_a_thumbnail_keeps_the_shape():
    with Image.open(io.BytesIO(thumbnail(noise(200, 100), 64))) as small:
        assert (small.format, small.size) == ("JPEG", (64, 32))
