"""HEIC photos (ISO/IEC 23008-12), decoded by pi-heif in a process of its own.

A hostile file can crash pi-heif: one byte of an item's type is enough. It must crash nothing else.
"""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from PIL import Image, UnidentifiedImageError

BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}  # of HEVC; a file may name several
ANY_CODEC, AVIF = {b"mif1", b"msf1"}, {b"avif", b"avis"}
MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}  # mode of an image → bytes of a pixel
HEAD = 256  # bytes of a file that tell what it is
SECONDS = 60  # that one photo may take
_PROGRAM = Path(__file__).with_name("heic_program.py")


def is_heic(data: bytes) -> bool:
    """Whether a file says that it is HEIC."""
    length = int.from_bytes(data[:4])
    brands = {data[place : place + 4] for place in range(8, min(length, HEAD), 4)}
    return data[4:8] == b"ftyp" and bool(brands & BRANDS or (brands & ANY_CODEC and not brands & AVIF))


def decode(data: bytes, admit: Callable[[int], AbstractContextManager[None]]) -> tuple[Image.Image, bool]:
    """Decode a file's main picture. The container's turns are applied; by the standard they count, and EXIF data does not.

    Args:
        admit: as in `decode.decode`.

    Returns: the image, with its `icc_profile` in `info` if it has one; and whether the file has several pictures.
    Raises: UnidentifiedImageError for a file that can't be opened; OSError for pixels that can't be decoded; DecompressionBombError for too
        many pixels.
    """
    command = [sys.executable, "-P", str(_PROGRAM)]  # -P: the modules of this folder must hide no others
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        timer = threading.Timer(SECONDS, program.kill)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):  # it has crashed: there is no answer
                program.stdin.write(len(data).to_bytes(8) + data)
                program.stdin.flush()
            header = _answer(program.stdout)
            if header is None:
                raise UnidentifiedImageError("libheif can't open this file")
            pixels = header["width"] * header["height"]
            if Image.MAX_IMAGE_PIXELS and pixels > 2 * Image.MAX_IMAGE_PIXELS:  # as Pillow does with every other format
                raise Image.DecompressionBombError(f"{pixels} pixels are too many")
            with admit(pixels):
                program.stdin.write(b"\n")
                program.stdin.flush()
                return _image(program.stdout, pixels), header["several"]
        finally:
            timer.cancel()
            program.kill()


def _image(stdout: IO[bytes], most: int) -> Image.Image:
    picture = _answer(stdout)
    if picture is None:
        raise OSError("libheif can't decode this file")
    size, bytes_each = (picture["width"], picture["height"]), MODES[picture["mode"]]
    if size[0] * size[1] > most:
        raise OSError("the picture is larger than its header says")
    profile = stdout.read(picture["profile"])
    image = Image.frombytes(picture["mode"], size, stdout.read(size[0] * size[1] * bytes_each))
    if profile:
        image.info["icc_profile"] = profile
    return image


def _answer(stdout: IO[bytes]) -> dict[str, Any] | None:
    """Read the program's next line; None where it ended without one."""
    line = stdout.readline()
    return json.loads(line) if line else None
