"""Names of files and classes. They are data, and kept as given: here is how they are compared, and how they are shown."""

import re
import unicodedata

from vitdemo.core.errors import UserError
from vitdemo.core.outputs import as_utf8

UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # Unicode's control, format, surrogate, private, unassigned, line-end characters
MAX_FILE_BYTES = 200  # of a name that the app makes for a file: file systems take 255
MAX_LETTERS = 200  # of a class name that a user gives
JOINERS = "\u200c\u200d"  # zero-width non-joiner and joiner


def one_spelling(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which equal names compare equal. macOS writes the letters of “café” apart."""
    return unicodedata.normalize("NFC", name)


def plain_name(name: str, longest: int = 40) -> str:
    """Return a name as a part of a file's name that every operating system accepts: letters, digits, dots and underscores, else hyphens."""
    return re.sub(r"[^\w.]+", "-", one_spelling(as_utf8(name))).strip("-.")[:longest].rstrip("-.")


def file_name(*words: str) -> str:
    """Return words as the name of a file without its suffix, each as `plain_name` gives it, joined by hyphens; empty ones are left out."""
    name = "-".join(word for word in map(plain_name, words) if word)
    return name.encode()[:MAX_FILE_BYTES].decode(errors="ignore")


def check_name(text: str, what: str = "class") -> str:
    """Return the name that a user gave a class, or `what` else. Raises: UserError where it is empty, too long or no single line."""
    name = text.strip()
    if not name:
        raise UserError(f"Give the {what} a name first.")
    if len(name) > MAX_LETTERS or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):  # Cs: half a character
        raise UserError(f"A {what} name must be one line of at most {MAX_LETTERS} letters: give a shorter one.")
    return name


def shown_path(path: str) -> str:
    """Return a path with each of its names as `shown_name` gives it."""
    return "/".join(map(shown_name, path.split("/")))


def shown_name(name: str, longest: int = 60) -> str:
    """Return a name as one printable line, to be shown: control and direction-changing characters are replaced, and of a long name the
    middle is omitted. Joiners stay, which Persian words and emoji are written with. A shown name identifies nothing."""
    name = name.encode("utf-8", "replace").decode("utf-8")
    unprintable = (character not in JOINERS and unicodedata.category(character) in UNPRINTABLE for character in name)
    name = "".join("�" if wrong else character for wrong, character in zip(unprintable, name, strict=True)).strip() or "unnamed"
    return name if len(name) <= longest else f"{name[: longest - 21]}…{name[-20:]}"
