"""Parsers of settings: what each takes, and what it says it wants."""

import pytest

from vitdemo.core.values import Parser, matching, number, one_of, switch, whole


@pytest.mark.parametrize(
    ("parser", "wanted", "good", "bad"),
    [
        (whole(1, 2000), "a whole number from 1 to 2000", {"1": 1, "2000": 2000}, ["0", "2001", "1.0", "1e3", "", "nan"]),
        (number(0, 0.9), "a number from 0 to 0.9", {"0": 0.0, ".9": 0.9}, ["-0.1", "0.91", "nan", "inf", "x"]),
        (number(0.1, 600, "seconds"), "a number of seconds from 0.1 to 600", {"0.1": 0.1}, ["0", "5s"]),
        (one_of("fp32", "fp16"), "one of fp32, fp16", {"fp16": "fp16"}, ["FP16", "", "fp"]),
        (matching("a+", "a"), "a", {"aa": "aa"}, ["", "ab", "a\n"]),
        (switch, "1 or 0", {"1": True, "TRUE": True, "on": True, "0": False, "False": False, "off": False}, ["", "2", "maybe"]),
    ],
    ids=lambda value: value.wanted if isinstance(value, Parser) else "",
)
def test_values(parser, wanted, good, bad):
    assert parser.wanted == wanted
    assert {text: parser(text) for text in good} == good
    for text in bad:
        with pytest.raises(ValueError):  # noqa: PT011 (the text is the caller's)
            parser(text)
