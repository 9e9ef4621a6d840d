"""Small colour profiles (ICC.1:2022), made from their numbers."""

import struct

D50 = (0.9642, 1.0, 0.8249)  # X, Y, Z of white in every profile
# X, Y, Z of red, green and blue, adapted to D50
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def of_screen(name: str, primaries: tuple, gamma: float) -> bytes:
    """A profile of three primaries and one gamma."""
    curve = _curve(gamma)
    tags = {key: _xyz(value) for key, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return _profile(name, b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def of_grey(name: str, gamma: float) -> bytes:
    """A profile of grey values."""
    return _profile(name, b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def of_press(name: str, cyan: tuple[int, int, int]) -> bytes:
    """A profile of CMYK in which full cyan has this L*a*b* colour (as bytes), no ink is white, and every other full ink is black."""
    table = [(255, 128, 128) if not any(inks) else cyan if inks == (1, 0, 0, 0) else (0, 128, 128) for inks in _corners()]
    straight = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    lut += 4 * straight + bytes(value for colour in table for value in colour) + 3 * straight
    return _profile(name, b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _corners() -> list[tuple[int, ...]]:
    return [tuple(number >> shift & 1 for shift in (3, 2, 1, 0)) for number in range(16)]  # the last ink varies fastest


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * each) for each in value))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * gamma))


def _profile(name: str, kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = name.encode("utf-16-be")
    described = b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(text), 28) + text
    tags = {b"desc": described, b"cprt": described, b"wtpt": _xyz(D50)} | tags
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for key, tag in tags.items():
        table += struct.pack(">4sII", key, at + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(">I4sI4s4s4s12s4s", at + len(body), b"", 0x04000000, kind, space, connection, b"\x07\xea\0\1\0\1", b"acsp")
    head += bytes(28) + struct.pack(">3i", *(round(65536 * each) for each in D50))
    return head.ljust(128, b"\0") + table + body
