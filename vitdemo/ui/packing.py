"""Pack arrays for the page's scripts into one file, with the offset of each array."""

import numpy as np


def pack(arrays: dict[str, np.ndarray]) -> tuple[bytes, dict[str, list]]:
    """Concatenate arrays, little-endian, each from a multiple of four bytes on. Returns: the bytes, and name → [dtype, offset, count]."""
    parts, sections, start = [], {}, 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        sections[name] = [array.dtype.name, start, array.size]
        data += b"\0" * (-len(data) % 4)
        parts.append(data)
        start += len(data)
    return b"".join(parts), sections
