"""PNG files, chunk by chunk (PNG specification, third edition, https://www.w3.org/TR/png-3/): what to keep of a file with bad metadata."""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEPT = (b"tRNS", b"eXIf", b"acTL")  # of the chunks that a decoder may skip: transparency, orientation, number of frames


def pixels_only(data: bytes) -> bytes:
    """Return a PNG without its metadata: all that a decoder may skip, save for sound chunks of KEPT.

    A critical chunk is kept whatever its checksum is, and also where it is cut off.
    """
    parts, end = [SIGNATURE], len(SIGNATURE)
    for kind, start, end in _chunks(data):
        if _is_critical(kind) or (kind in KEPT and _is_sound(data, start, end)):
            parts.append(data[start:end])
    rest = data[end:]
    return b"".join([*parts, rest if _is_critical(rest[4:8]) else b""])


def significant_bits(data: bytes) -> int | None:
    """Return how many bits of a grey sample are significant by the file's sBIT chunk; None where the file does not say so."""
    body = _body(data, b"sBIT")
    return body[0] if body else None


def colour_profile(data: bytes, largest: int) -> bytes | None:
    """Return the unpacked profile of the iCCP chunk; None where there is none, or it is damaged or larger than `largest` bytes."""
    _, _, packed = _body(data, b"iCCP").partition(b"\0")
    unpack = zlib.decompressobj()
    try:
        profile = unpack.decompress(packed[1:], largest)  # the byte before it is the compression method, which is always 0
    except zlib.error:
        return None
    return profile if profile and unpack.eof else None


def _body(data: bytes, wanted: bytes) -> bytes:
    """Return the content of the first sound chunk of this kind before the pixels; empty where there is none."""
    for kind, start, end in _chunks(data):
        if kind == b"IDAT":
            break
        if kind == wanted and _is_sound(data, start, end):
            return data[start + 8 : end - 4]
    return b""


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """List a PNG's complete chunks: kind, where the chunk starts (at its length) and where it ends (after its checksum)."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        end = start + 12 + struct.unpack_from(">I", data, start)[0]
        if end > len(data):
            return
        yield data[start + 4 : start + 8], start, end
        start = end


def _is_critical(kind: bytes) -> bool:
    return kind[:1].isupper()


def _is_sound(data: bytes, start: int, end: int) -> bool:
    return zlib.crc32(data[start + 4 : end - 4]) == struct.unpack_from(">I", data, end - 4)[0]
