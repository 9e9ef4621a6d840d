"""JPEG files without their end mark (ITU-T T.81, annex B): is only the mark missing, or some of the picture?"""

import io
import re
import struct

from PIL import Image

START, END = b"\xff\xd8", b"\xff\xd9"
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # inside a scan's data, 0xFF is followed by 0x00 or is a restart mark
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # kinds of SOF that Pillow decodes
_SCAN = 0xDA
# Data that changes any picture whose scan goes on, with restart marks in between: a decoder that expects a mark skips to the next one. It
# takes a mark that comes one or two too early for damage, hence two starts, so that one of them is taken.
_MORE = tuple(
    b"".join(bytes([byte]) * 64 + bytes([0xFF, 0xD0 + (start + count) % 8]) for count in range(8))
    for start in (0, 4)
    for byte in (0x55, 0xAA, 0x7E)
)


def with_end(data: bytes) -> bytes | None:
    """Return the file with an end mark if it lacks nothing else; None if a part of the picture is missing.

    Where data after a scan's last block changes no pixel, the scan was complete.
    """
    body = data.rstrip(b"\xff")  # half of the mark may be there
    if not data.startswith(START) or not _has_all_scans(body):
        return None
    expected = _pixels(body + END)
    return body + END if all(_pixels(body + more + END) == expected for more in _MORE) else None


def _has_all_scans(data: bytes) -> bool:
    """Whether the scans' headers cover every coefficient of every component to its last bit."""
    missing: set[tuple[int, int]] | None = None  # (component, coefficient) pairs
    at = len(START)
    while (found := _MARKER.search(data, at)) and found.end() + 2 <= len(data):
        length = struct.unpack_from(">H", data, found.end())[0]
        segment, at = data[found.end() + 2 : found.end() + length], found.end() + length
        kind = found[1][0]
        if kind in _FRAMES:
            missing = {(component, coefficient) for component in segment[6::3] for coefficient in range(64)}
        elif kind == _SCAN and missing is not None and len(segment) == 4 + 2 * segment[0]:
            first, last, bits = segment[-3:]
            if bits & 15 == 0:  # the lowest bit comes with this scan
                missing -= {(component, coefficient) for component in segment[1:-3:2] for coefficient in range(first, last + 1)}
    return missing is not None and not missing


def _pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return image.tobytes()
