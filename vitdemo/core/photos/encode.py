"""Encode pictures: from an image to the bytes of a file."""

import io
from typing import Any

from PIL import Image


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a file; `kind` and the options, such as JPEG's `quality`, are Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def thumbnail(image: Image.Image, width: int) -> bytes:
    """Return a small JPEG of the image, `width` pixels wide."""
    return encode(image.resize((width, round(width * image.height / image.width)), reducing_gap=2), "JPEG", quality=80)
