"""The names in a zip. Many programs write them in an encoding of their own, and don't say which.

A name is read, in this order, by the zip's UTF-8 flag, by its Unicode path field (Info-ZIP's 0x7075), as UTF-8 if all others are that,
else by a guess over all of them together.
"""

import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vitdemo.core.outputs import as_utf8
from vitdemo.core.photos.kinds import is_hidden

UTF8_FLAG = 1 << 11  # of a member's flag_bits
UNICODE_PATH = 0x7075  # id of the extra field
MAX_GUESS_BYTES = 20_000  # of names, which a guess is made from

# What a guess may be, the likeliest first, with the codec and the first bytes of that codec's most common characters
CANDIDATES = {
    "gb18030": ("gb2312", ((0xB0, 0xD7),)),
    "cp932": ("cp932", ((0x81, 0x83), (0x88, 0x97))),
    "cp949": ("euc_kr", ((0xB0, 0xC8),)),
    "big5": ("big5", ((0xA4, 0xC6),)),
    **dict.fromkeys(("cp1251", "cp866", "cp437", "cp1252"), None),
}


@dataclass(frozen=True)
class ZipNames:
    """The names of a zip's members.

    Attributes:
        names: one for each member, with `/` between folders; a folder's name ends with `/`.
        guessed: the encoding that was guessed for some of them; empty where there was nothing to guess.
    """

    names: list[str]
    guessed: str = ""


def names_of(members: Sequence[zipfile.ZipInfo], encoding: str = "") -> ZipNames:
    """Return the names of a zip's members.

    Args:
        encoding: of the names that don't say theirs, in place of a guess; bytes that it lacks become `\\xNN`.
    """
    names = [member.filename if member.flag_bits & UTF8_FLAG else _unicode_path(member) for member in members]
    unsaid = {_raw(member) for member, name in zip(members, names, strict=True) if name is None}
    guessed = ""
    if not encoding:
        encoding = "utf-8"
        if not _is(unsaid, encoding) or _is_doubtful(unsaid):
            encoding = guessed = _guess(sorted(unsaid))
    decoded = [
        _raw(member).decode(encoding, "surrogateescape") if name is None else name for member, name in zip(members, names, strict=True)
    ]
    return ZipNames([as_utf8(name) for name in with_slashes(decoded)], guessed)


def with_slashes(names: list[str]) -> list[str]:
    """Return the names with `/` between folders. A backslash separates folders only where no name uses `/`."""
    return names if any("/" in name for name in names if not is_hidden(name)) else [name.replace("\\", "/") for name in names]


def _raw(member: zipfile.ZipInfo) -> bytes:
    """The name's bytes: without the flag, zipfile has decoded them as cp437, which loses none."""
    return member.filename.encode("cp437")


def _unicode_path(member: zipfile.ZipInfo) -> str | None:
    """The name of the extra field 0x7075; None where there is none, or it belongs to an earlier name."""
    extra = member.extra
    while len(extra) >= 4:
        id, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if id == UNICODE_PATH and len(field) > 5 and field[0] == 1 and struct.unpack_from("<L", field, 1)[0] == zlib.crc32(_raw(member)):
            try:
                return field[5:].decode("utf-8").partition("\0")[0]
            except UnicodeDecodeError:
                return None
    return None


def _is(names: Iterable[bytes], encoding: str) -> bool:
    try:
        return all(name.decode(encoding) is not None for name in names)
    except UnicodeDecodeError:
        return False


def _is_doubtful(names: Iterable[bytes]) -> bool:
    """Whether names that can be read as UTF-8 are more likely GBK: “图片” in GBK has the bytes of “ͼƬ” in UTF-8.

    They are where two scripts, or letters that hardly any language uses, stand together, none beside an ASCII letter, and all of the
    characters that GBK makes of them are common.
    """
    read = "\n".join(name.decode("utf-8") for name in names)
    letters = [letter for letter in read if not letter.isascii()]
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in letters}
    if not (len(scripts) > 1 or any(0x180 <= ord(letter) < 0x370 for letter in letters)):
        return False
    if any(ord(letter) > 0x7FF for letter in letters) or re.search(r"[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]", read):
        return False
    return _is(names, "gb18030") and not _rare("".join(name.decode("gb18030") for name in names), "gb18030")


def _guess(names: list[bytes]) -> str:
    """Return the likeliest encoding of these names, which are not all ASCII.

    charset-normalizer scores how odd each reading looks; names are too short for it alone, so characters that a language hardly uses
    count as well.
    """
    import charset_normalizer

    parts = {part for name in names for part in re.split(rb"[/.]", name) if not part.isascii()}
    text = b"\n".join(sorted(parts))[:MAX_GUESS_BYTES]
    order = [candidate for candidate in CANDIDATES if _is(parts, candidate)]
    readings = charset_normalizer.from_bytes(text, threshold=1.0, cp_isolation=order) if order else ()
    scored = [(reading.chaos + _rare(str(reading), reading.encoding), order.index(reading.encoding)) for reading in readings]
    return order[min(scored)[1]] if scored else "cp437"


def _rare(text: str, encoding: str) -> float:
    """The share of a reading's characters beyond ASCII that are unusual in names, 0 … 1.

    For an encoding with several bytes a character, those not among its common ones; for the others, signs, and letters beside an ASCII
    letter that are not Latin.
    """
    common, unusual, count = CANDIDATES[encoding], 0, 0
    for before, letter, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if letter.isascii():
            continue
        count += 1
        if common:
            first = letter.encode(common[0], "ignore")[:1]
            unusual += not (first and any(low <= first[0] <= high for low, high in common[1]))
        else:
            beside_latin = any(other.isascii() and other.isalpha() for other in (before, after))
            unusual += not letter.isalpha() or (beside_latin and not unicodedata.name(letter, "").startswith("LATIN"))
    return unusual / max(1, count)
