"""Decode one photo: from a file's bytes to an upright RGB image.

Nothing in this folder needs more than numpy, Pillow and pi-heif: an exported bundle holds a copy of it.
"""

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from PIL import Image, ImageOps

from vitdemo.core.photos.decoding import colour, deep_grey, heic, jpeg, png
from vitdemo.core.photos.decoding.formats import FORMATS

SEVERAL = "This file has several frames or pages: the first one is used."
ON_WHITE = "Transparent parts are shown on white."
NO_METADATA = "The file's metadata is damaged or too large, and is ignored: the photo itself is complete."
DRAFT = "Decoded at 1/{divisor} of its size, as --jpeg-draft asks."
NO_END = "The file lacks its end mark: the photo itself is complete."

Admit = Callable[[int], AbstractContextManager[None]]
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)  # by Pillow's decoders


def decode(data: bytes, admit: Admit = lambda pixels: nullcontext(), draft: int = 0) -> tuple[Image.Image, list[str]]:
    """Decode a file's bytes. Where only something beside the pixels is broken, it is left out.

    Args:
        admit: is called with the number of pixels that the header names, and returns the context to decode in; it may refuse by an error of
            its own.
        draft: a JPEG is decoded at a half, a quarter or an eighth of its size, as long as its sides keep this many pixels; 0: at its own.

    Returns: the upright RGB image, and a sentence for each thing that decoding changed.
    Raises: whatever Pillow raises for a file that is broken or of another kind.
    """
    if heic.is_heic(data):
        image, several = heic.decode(data, admit)
        rgb, notes = upright_rgb(image)
        return rgb, [SEVERAL, *notes] if several else notes
    try:
        return _decode(data, admit, draft)
    except _BROKEN as error:
        mended, note = _mended(data, error, admit)
        if not mended:
            raise
        image, notes = _decode(mended, admit, draft, data)
        return image, [note, *notes]


def upright_rgb(image: Image.Image, data: bytes = b"") -> tuple[Image.Image, list[str]]:
    """Turn an opened image as its EXIF data says, on white where it is transparent, and make it RGB.

    Args:
        data: the file, for what Pillow does not tell of it.

    Returns: the image, and a sentence for each thing that changed.
    """
    notes = []
    with contextlib.suppress(Exception):  # a photo with broken EXIF data is still accepted
        ImageOps.exif_transpose(image, in_place=True)
    profile = image.info.get("icc_profile") or (png.colour_profile(data, colour.LARGEST) if data.startswith(png.SIGNATURE) else None)
    if deep_grey.is_deep(image):
        image, range_note = deep_grey.to_8_bits(image, data)
        notes.append(range_note)
    rgb = _to_rgb(image, notes)
    if profile_note := colour.keep_profile(rgb, image, profile):
        notes.append(profile_note)
    return rgb, notes


def _decode(data: bytes, admit: Admit, draft: int, file: bytes = b"") -> tuple[Image.Image, list[str]]:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        several = getattr(image, "is_animated", False) and image.format != "MPO"
        with admit(image.width * image.height):
            width = image.width
            if draft:
                image.draft(None, (draft, draft))  # does nothing for other formats than JPEG
            divisor = round(width / image.width)
            image.load()
            rgb, notes = upright_rgb(image, file or data)
        return rgb, [SEVERAL] * several + [DRAFT.format(divisor=divisor)] * (divisor > 1) + notes


def _mended(data: bytes, error: Exception, admit: Admit) -> tuple[bytes | None, str]:
    """Return the file without what is broken beside its pixels, and a note; None where nothing is known to help."""
    if data.startswith(png.SIGNATURE):
        mended = png.pixels_only(data)
        return (mended if mended != data else None), NO_METADATA
    if data.startswith(jpeg.START) and "truncated" in str(error):
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image, admit(image.width * image.height):
            return jpeg.with_end(data), NO_END
    return None, ""


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        notes.append(ON_WHITE)
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy even an RGB image
