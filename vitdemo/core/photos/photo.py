"""Open one photo safely. Every file may be malicious until this module has decoded it.

A decoded photo is upright and RGB: EXIF rotation is applied, transparency becomes white, CMYK and deeper greys become 8-bit RGB, and of an
animation the first frame is used. Notes record what was changed, so that the page can show it.
"""

import hashlib
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.memory import Budget
from vitdemo.core.names import shown_name
from vitdemo.core.photos.decoding import decode as decoding
from vitdemo.core.photos.decoding import heic
from vitdemo.core.photos.decoding.formats import ACCEPTED

_decoding = Budget(128_000_000)  # pixels decoded at the same time: decoding a large photo takes a few hundred megabytes

# Pillow warns above its own pixel limit and refuses twice that. Here the header is checked against the setting before decoding.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        id: sha256 of the file's bytes, hexadecimal.
        name: the file's name, fit to be shown: one line, printable.
        image: upright, RGB, at full size.
        notes: what decoding changed, one sentence each.
    """

    id: str
    name: str
    image: Image.Image
    notes: tuple[str, ...] = ()


def open_photo(path: str | Path, settings: Settings, *, name: str | None = None) -> Photo:
    """Read and decode one file.

    Args:
        name: the photo's name, where it differs from the name on disk, such as the name on the visitor's machine.

    Raises: UserError with one sentence, whatever is wrong with the file.
    """
    shown = shown_name(name or Path(path).name)
    return decode(read(Path(path), shown, settings), shown, settings)


def read(path: Path, shown: str, settings: Settings) -> bytes:
    """Return a file's bytes. Raises: UserError for a path that is missing, not a file, empty or too large."""
    try:
        if path.is_dir():
            raise UserError(f"“{shown}” is a folder: give a photo.")
        if path.exists() and not path.is_file():
            raise UserError(f"“{shown}” is not a file: give a photo.")
        with path.open("rb") as file:
            return read_from(file, shown, settings)
    except FileNotFoundError:
        raise UserError(f"“{shown}” is not there: check its name, or add it again.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"“{shown}” can't be read ({getattr(error, 'strerror', None) or error}): check its name and permissions.") from None


def read_from(file: IO[bytes], shown: str, settings: Settings) -> bytes:
    """Return an open file's bytes, reading at most one byte beyond the limit. Raises: UserError where it is empty or too large."""
    data = file.read(settings.max_upload_bytes + 1)
    if len(data) > settings.max_upload_bytes:
        raise UserError(f"“{shown}” is larger than {settings.max_upload_mb} MB: save a smaller copy of it.")
    if not data:
        raise UserError(f"“{shown}” is empty (0 bytes): copy or download it again.")
    return data


def decode(data: bytes, shown: str, settings: Settings, *, id: str | None = None, draft: int = 0) -> Photo:
    """Decode a file's bytes into a Photo named `shown`.

    Args:
        id: the photo's id if it is known already, which saves hashing.
        draft: pixels a side that a JPEG may be brought down to while it is decoded; 0 for its full size.

    Raises: UserError with one sentence, whatever is wrong with the file.
    """
    image, notes = _decode(data, shown, settings, draft)
    return Photo(id or id_of(data), shown, image, tuple(notes))


def id_of(data: bytes) -> str:
    """Return a photo's id: the sha256 of its file's bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _decode(data: bytes, shown: str, settings: Settings, draft: int) -> tuple[Image.Image, list[str]]:
    @contextmanager
    def admit(pixels: int) -> Iterator[None]:
        _check_pixels(pixels, shown, settings)
        with _decoding.room_for(pixels):
            yield

    try:
        return decoding.decode(data, admit, draft)
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(_too_many_pixels(shown, settings)) from None
    except UnidentifiedImageError:
        raise UserError(f"“{shown}” {_unsupported_kind(data)}") from None
    except MemoryError:
        raise UserError(f"There isn't enough memory for “{shown}”: save a smaller copy of it.") from None
    except Exception as error:  # on broken files Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error, IndexError …
        reason = "is cut off" if "truncated" in str(error).lower() else "is damaged"
        raise UserError(f"“{shown}” {reason} and can't be decoded: copy or download it again.") from None


def _check_pixels(pixels: int, shown: str, settings: Settings) -> None:
    if pixels > settings.max_pixels:
        raise UserError(_too_many_pixels(shown, settings, pixels))


def _too_many_pixels(shown: str, settings: Settings, pixels: int | None = None) -> str:
    limit = settings.max_megapixels
    if pixels is None:
        return f"“{shown}” has too many pixels, and the limit is {limit} megapixels: save a smaller copy of it."
    return f"“{shown}” has {math.ceil(pixels / 1e4) / 100:g} megapixels, and the limit is {limit}: save a smaller copy of it."


def _unsupported_kind(data: bytes) -> str:
    """Return the rest of the error message about a file that Pillow can't identify."""
    start = data[:512].lstrip().lower()
    if heic.is_heic(data):
        return "is a HEIC photo that is damaged, or of a kind that can't be read here: save it as JPEG."
    if b"<svg" in start or (start.startswith(b"<?xml") and b"<svg" in data[:4096].lower()):
        return "is an SVG drawing, not a photo: save it as PNG."
    if start.startswith(b"%pdf"):
        return "is a PDF, not a photo: save the page as PNG."
    if data[:4] == b"PK\x03\x04":
        return "is a zip archive, not a photo: unpack it and give one of its photos."
    return f"is not a photo that can be read here: give a {ACCEPTED} file."
