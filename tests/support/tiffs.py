"""TIFF files with tags that Pillow does not write."""

import struct
from pathlib import Path

import numpy as np

FORMATS = {"u": 1, "i": 2, "f": 3}  # numpy's kind of number → SampleFormat


def write_grey(path: Path, values: np.ndarray, *, white_is_zero: bool = False, bits: int = 0, tags: dict[int, int] | None = None) -> Path:
    """Write (height, width) grey values, uncompressed.

    Args:
        bits: of a sample, where they are 12: two samples are then packed into three bytes.
        tags: further tags by number, or other values for those that are written anyway.
    """
    height, width = values.shape
    data = _packed(values) if bits == 12 else values.astype(values.dtype.newbyteorder("<")).tobytes()
    entries = {256: width, 257: height, 258: bits or 8 * values.itemsize, 259: 1, 262: int(not white_is_zero), 273: 8, 277: 1, 278: height}
    entries |= {279: len(data), 339: FORMATS[values.dtype.kind]} | (tags or {})
    table = b"".join(struct.pack("<HHII", number, 4, 1, value) for number, value in sorted(entries.items()))
    padded = data + bytes(-len(data) % 2)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(padded)) + padded + struct.pack("<H", len(entries)) + table + bytes(4))
    return path


def _packed(values: np.ndarray) -> bytes:
    first, second = values.reshape(-1, 2).astype(int).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()
