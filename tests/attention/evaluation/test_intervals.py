"""Bootstrap intervals against the textbook, and what a pair of methods is worth."""

import numpy as np
import pytest

from vitdemo.attention.evaluation.intervals import Interval, interval, paired


def test_the_interval_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = interval(values)
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert [found.low, found.high] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.03)
    assert interval(values) == found, "the same every time"


def test_values_that_are_none_are_left_out():
    assert interval([1, float("nan"), 1]) == Interval(1, 1, 1)
    assert interval([float("nan")]) is None
    assert interval([]) is None


def test_pairs_tell_what_means_alone_do_not():
    hard = np.random.default_rng(2).uniform(0, 1, 50)  # how hard each photo is
    better = paired(hard + 0.02, hard)
    assert (better.mean, better.sign) == (pytest.approx(0.02), 1)
    assert paired(hard, hard + 0.02).sign == -1
    assert paired(hard, hard[::-1]).sign == 0
    assert str(Interval(0.1234, -0.5, 1)) == "0.123 [-0.500, 1.000]"
