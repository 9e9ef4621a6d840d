"""Sides in turns: every one once a round, in an order that rotates, and compared within rounds."""

import pytest

from vitdemo.bench import rounds


def test_sides_take_turns_after_the_warm_up(clock_of):
    clock, order = clock_of(rounds), []
    takes = {"a": iter([9, 9, 1.0, 2.0, 3.0]), "b": iter([9, 9, 4.0, 5.0, 6.0])}

    def side(name: str):
        return lambda: order.append(name) or clock.pass_(next(takes[name]))

    assert rounds.in_turns({name: side(name) for name in takes}, 3) == {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]}
    assert order == ["a", "b", "b", "a"] * 2 + ["a", "b"]


def test_the_ratio_is_the_rounds_median():
    assert rounds.ratio([2.0, 30.0, 3.0], [1.0, 10.0, 6.0]) == 2.0


@pytest.mark.parametrize(
    ("error", "line"), [(ValueError("one\ntwo"), "one"), (ValueError(), "ValueError"), (OSError("x" * 300), "x" * 120)]
)
def test_an_error_in_one_line(error, line):
    assert rounds.left_out(error) == line


def test_a_package_that_is_not_there_is_said(capsys):
    assert rounds.is_installed("Torch")
    assert not rounds.is_installed("NoSuchEngine")
    assert capsys.readouterr().out == "NoSuchEngine is left out: it is not installed (requirements-bench.txt)\n"
