"""Hostile input, the same for the same seed: files that grow, lie or loop, and values that no page would send."""

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

MARKUP = "<img src=x onerror=alert(1)>"
TEXTS = (
    *(MARKUP, "'; drop table", "\0", "\ud800", "a" * 20_000, "{{7*7}}", "${7*7}", "%s%n", "../" * 20, "١٢", "\u202e", "NaN"),
    *("final", "cls", "mean", "rollout", "relevance", "cosine", "demo", "quick", "png", "csv", "npz", "parquet", "html", "json", "layers"),
)
NAMES = (
    *(
        "gallery",
        "session",
        "names",
        "id",
        "ids",
        "files",
        "layer",
        "pool",
        "path",
        "index",
        "kind",
        "start",
        "heads",
        "head",
        "target",
        "other",
    ),
    *("names", "label", "taken", "dimensions", "neighbours", "min_dist", "metric", "seed", "row", "column", "method", "words", "opacity"),
    *("discard", "start_layer", "recipe", "preset", "data", "stop", "even", "smooth", "colours", "request"),
)


def files() -> Iterator[tuple[str, bytes]]:
    """Files that have been a trouble to others, by name: bombs, polyglots, loops, lies."""
    yield "bomb.png", png(50_000, 50_000, b"")
    yield "bomb-of-zeros.png", png(7_900, 7_900, zlib.compress(bytes(7_901 * 7_900), 9), mode=0)
    yield "bomb-of-text.png", png(1, 1, zlib.compress(b"\0\0\0\0"), chunks=[(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000), 9))])
    yield "bomb-of-colours.png", png(1, 1, zlib.compress(b"\0\0\0\0"), chunks=[(b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000), 9))])
    yield "negative.bmp", bmp(-9, -(1 << 31))
    yield "huge.bmp", bmp(1 << 30, 1 << 30)
    yield "huge.ppm", b"P6 999999999 999999999 255\n"
    yield "words.ppm", b"P3 2 2 " + b"9" * 5000
    yield "frames.gif", gif(5_000)
    yield "frame-outside.gif", gif(1, frame=(60_000, 60_000))
    yield "loop.tiff", tiff(loops=True)
    yield "pages.tiff", tiff(pages=20_000)
    yield "strips.tiff", tiff(width=60_000, height=60_000)
    yield "huge.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + b"\xff\x4f\xff\x51" + b"\xff" * 60
    yield "huge.webp", b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff"
    yield "bomb.zip", zipped([("a.png", bytes(100_000_000))])
    yield "nested.zip", zipped([("inner.zip", zipped([("a.png", bytes(10_000_000))]))])
    yield "slip.zip", zipped([(name, photo()) for name in ("../../slipped.png", "/slipped.png", "C:\\slipped.png", "..\\..\\slipped.png")])
    yield "link.zip", link_zip()
    yield "lying.zip", lying_zip()
    yield "overlapping.zip", overlapping_zip()
    yield "crowd.zip", zipped([(f"{number}.png", b"") for number in range(20_000)])
    names = (f"{MARKUP}/{MARKUP}.png", "=1+1.png", "a" * 5000 + ".png", "\u202egnp.png")
    yield "names.zip", zipped([(name, photo()) for name in names])
    yield "page.jpg", f"<html><script>alert(1)</script>{MARKUP}".encode()
    yield "drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><image href='file:///etc/passwd'/></svg>"
    yield "both.png", photo() + zipped([("a.png", photo())])
    yield "both.zip", photo() + zipped([("a.png", photo())])
    yield "script.gif", b"GIF89a/*" + bytes(10) + b"*/=1;alert(1)"
    yield "document.pdf", b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>"
    yield "shell.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file"
    yield "weights.pt", b"\x80\x02cposix\nsystem\nX\x05\0\0\0touchq\0\x85R."
    yield "empty.jpg", b""
    yield "zeros.jpg", bytes(4096)


def photo(size: tuple[int, int] = (24, 16), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, moved, left out, doubled, or cut off."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        at = rng.randrange(len(found) or 1)
        match rng.randrange(6):
            case 0:
                found[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                found[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1"))
            case 2:
                del found[at : at + rng.randrange(1, 64)]
            case 3:
                found[at:at] = found[at : at + rng.randrange(1, 256)]
            case 4:
                del found[at:]
            case 5:
                other = rng.randrange(len(found) or 1)
                found[at : at + 16], found[other : other + 16] = found[other : other + 16], found[at : at + 16]
    return bytes(found)


def value(rng: random.Random, strange: list[str], depth: int = 0):
    """Anything that JSON can hold.

    Args:
        strange: texts that must lead nowhere, such as paths and addresses.
    """
    match rng.randrange(9 if depth < 3 else 6):
        case 0:
            return rng.choice((None, True, False, [], {}, ""))
        case 1:
            return rng.choice((0, -1, 1, 5, 10**18, -(10**40), 2**31, 2**63, 2**64))
        case 2:
            return rng.choice((0.1, -0.0, 1e308, -1e308, 1e-320, 4.5))
        case 3:
            return rng.choice(strange)
        case 4:
            return rng.choice(TEXTS)
        case 5:
            return {"path": rng.choice(strange), "url": rng.choice(strange), "orig_name": MARKUP, "meta": {"_type": "gradio.FileData"}}
        case 6:
            return [value(rng, strange, depth + 1) for _ in range(rng.choice((0, 1, 2, 5, 300)))]
        case 7:
            return {rng.choice(NAMES): value(rng, strange, depth + 1) for _ in range(rng.choice((1, 3, 8)))}
        case 8:
            nested = rng.choice(strange)
            for _ in range(rng.choice((50, 400))):
                nested = [nested]
            return nested


def checkpoints(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """SafeTensors files with headers that lie."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    name = next(key for key in header if key != "__metadata__")
    for change in (
        {"data_offsets": [0, 1 << 60]},
        {"data_offsets": [-4, 4]},
        {"data_offsets": [100, 0]},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": [-1]},
        {"dtype": "PICKLE"},
        {"dtype": None},
        {"shape": "many"},
    ):
        text = json.dumps(header | {name: header[name] | change}).encode()
        yield struct.pack("<Q", len(text)) + text + data[8 + length :]
    for claimed in (0, 1, 1 << 32, (1 << 64) - 1, length - 1, length + 1):
        yield struct.pack("<Q", claimed) + data[8:]
    for text in (b"[" * 100_000, b"null", b"[]", b'{"a":' * 500 + b"1" + b"}" * 500, b"\xff\xfe", b"{}", b'{"../../x": {}}'):
        yield struct.pack("<Q", len(text)) + text
    for _ in range(20):
        yield mutated(data[: 8 + length], rng) + data[8 + length :]


def png(width: int, height: int, data: bytes, mode: int = 2, chunks: list[tuple[bytes, bytes]] = ()) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(each)) + kind + each + struct.pack(">I", zlib.crc32(kind + each)) for kind, each in parts
    )


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def gif(frames: int, frame: tuple[int, int] = (1, 1)) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    return head + (b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\0") * frames + b";"


def tiff(pages: int = 1, loops: bool = False, width: int = 1, height: int = 1) -> bytes:
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 1),
    ]
    size = 2 + 12 * len(tags) + 4
    found = b"II*\0" + struct.pack("<I", 12) + bytes(4)
    for page in range(pages):
        at = 12 + page * size
        following = 12 if loops else (at + size if page + 1 < pages else 0)
        found += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, each) for tag, kind, each in tags)
        found += struct.pack("<I", following)
    return found


def zipped(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def link_zip() -> bytes:
    """An entry that claims to be a symbolic link."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("passwd.png")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def lying_zip() -> bytes:
    """An entry that claims a byte and holds a hundred million."""
    data = bytearray(zipped([("a.png", bytes(100_000_000))]))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 1)
    data[22:26] = struct.pack("<I", 1)
    return bytes(data)


def overlapping_zip() -> bytes:
    """A thousand names for one and the same entry."""
    data = zipped([("0000.png", photo())])
    start = data.rindex(b"PK\x01\x02")
    entry = data[start : data.rindex(b"PK\x05\x06")]
    entries = b"".join(entry.replace(b"0000.png", f"{number:04}.png".encode()) for number in range(1000))
    return data[:start] + entries + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1000, 1000, len(entries), start, 0)


def write_all(folder: Path) -> list[Path]:
    paths = []
    for name, data in files():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    return paths
