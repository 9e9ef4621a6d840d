"""Numbers for the page's scripts: arrays in one file, and where each begins."""

import numpy as np


def pack(arrays: dict[str, np.ndarray]) -> tuple[bytes, dict[str, list]]:
    """Arrays one after the other, each beginning at a multiple of four bytes, and name → [type, start, count]."""
    parts, sections, start = [], {}, 0
    for name, each in arrays.items():
        data = np.ascontiguousarray(each, each.dtype.newbyteorder("<")).tobytes()
        sections[name] = [each.dtype.name, start, each.size]
        data += b"\0" * (-len(data) % 4)
        parts.append(data)
        start += len(data)
    return b"".join(parts), sections
