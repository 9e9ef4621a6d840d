"""Parsers of a setting's text, and the field of a dataclass that holds a setting: for Settings and for fine-tuning's Recipe."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_SITE = re.compile(r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?(?=/|$)", re.ASCII | re.IGNORECASE)
_PATH = re.compile(r"(/[\w~-][\w.~-]*)*", re.ASCII)


@dataclass(frozen=True)
class Parser:
    """Parses a setting's text.

    Attributes:
        parse: the function that it calls; it raises ValueError for an invalid text.
        wanted: the valid values, for an error message.
        words: all valid values, where they are a few words.
    """

    parse: Callable[[str], Any]
    wanted: str
    words: tuple[str, ...] | None = None

    def __call__(self, text: str) -> Any:
        """The text's value. Raises: ValueError for a text that is not what is `wanted`."""
        return self.parse(text)


def _checked(kind: Callable[[str], Any], valid: Callable[[Any], object]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if not valid(value := kind(text)):
            raise ValueError
        return value

    return parse


def whole(low: int, high: int) -> Parser:
    """A whole number from `low` to `high`."""
    return Parser(_checked(int, lambda value: low <= value <= high), f"a whole number from {low} to {high}")


def number(low: float, high: float, unit: str = "") -> Parser:
    """A number from `low` to `high`; the error message names the unit."""
    wanted = f"a number{unit and f' of {unit}'} from {low:g} to {high:g}"
    return Parser(_checked(float, lambda value: low <= value <= high), wanted)


def one_of(*words: str) -> Parser:
    """One of a few words."""
    return Parser(_checked(str, words.__contains__), f"one of {', '.join(words)}", words)


def matching(pattern: str, wanted: str) -> Parser:
    """A text that a regular expression matches as a whole."""
    return Parser(_checked(str, re.compile(pattern).fullmatch), wanted)


def _decodes_ascii(codec: str) -> bool:
    try:
        return b"a/1".decode(codec) == "a/1"  # a UnicodeError is a ValueError
    except LookupError:
        return False


encoding = Parser(_checked(str, _decodes_ascii), "the name of an encoding, such as gbk, shift_jis, cp1251 or cp437")


def served_at(taken: Collection[str]) -> Parser:
    """Where a proxy serves the app: a path, perhaps with its site. The value is “/path” or “https://site/path”, without a slash at its end.

    Args:
        taken: names with which the path can't begin.
    """

    def parse(text: str) -> str:
        found = _SITE.match(text)
        site = found[0].lower() if found else ""
        path = text[len(site) :].rstrip("/")
        first = path.lstrip("/").split("/")[0]
        if path and path[0] != "/":
            if "." in first:  # a site without its https://
                raise ValueError
            path = f"/{path}"
        if first in taken or not _PATH.fullmatch(path):
            raise ValueError
        return site + path

    return Parser(parse, "a path such as /vitdemo, or an address such as https://example.org/vitdemo, and not one of the app's own paths")


_switch_word = one_of(*TRUE, *FALSE)
switch = Parser(lambda text: _switch_word(text.lower()) in TRUE, "1 or 0")


def setting(default: Any, parse: Callable[[str], Any], meaning: str, title: str = "", unit: str = "") -> Any:
    """The field of a setting; the others become the field's metadata: `title` is its name for people, `unit` what its number counts."""
    return field(default=default, metadata={"parse": parse, "meaning": meaning, "title": title, "unit": unit})
