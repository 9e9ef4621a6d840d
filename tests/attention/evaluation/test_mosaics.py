"""Mosaics: four photos in their quarters, and how much of a map lies in each."""

import math

import pytest
import torch

from vitdemo.attention.evaluation.mosaics import check_grid, mosaic, quadruples, quarter
from vitdemo.core.errors import UserError


def test_four_photos_lie_in_reading_order():
    whole = mosaic([torch.full((3, 32, 48), float(number)) for number in range(4)])
    assert whole.shape == (3, 32, 48)
    assert whole[:, 4, 4].allclose(torch.tensor(0.0), atol=1e-5)
    assert [round(float(whole[0, row, column])) for row in (4, 28) for column in (4, 44)] == [0, 1, 2, 3]
    ramp = torch.linspace(0, 1, 48).expand(3, 32, 48)
    assert torch.allclose(mosaic([ramp] * 4)[:, :, 2:22], ramp[:, :, 4:44].unflatten(2, (20, 2)).mean(3), atol=1e-3)


def test_the_share_of_a_quarter():
    heat = torch.tensor([[1.0, 0, 0, 3], [0, -5, 0, 0], [0, 0, 2, 0], [0, 0, 2, 0]])
    assert [quarter(heat, place) for place in range(4)] == [(1 / 8, 0), (3 / 8, 1), (0, 0), (0.5, 0)]
    nothing = quarter(-torch.ones(4, 4), 2)
    assert math.isnan(nothing[0])
    assert [quarter(torch.ones(4, 4), place)[0] for place in range(4)] == [0.25] * 4


def test_a_grid_that_has_no_quarters():
    check_grid((14, 6))
    with pytest.raises(UserError, match="A grid of 37×14 patches can't be cut into quarters: leave the mosaics out"):
        check_grid((37, 14))


def test_photos_of_four_classes_each():
    classes = [3, None, 5, 5, 7, 9, 9, None]
    chosen = quadruples(classes, 30)
    assert len(chosen) == 30
    for members in chosen:
        assert len({classes[each] for each in members}) == 4
        assert None not in {classes[each] for each in members}
    assert {each for members in chosen for each in members} == {0, 2, 3, 4, 5, 6}
    assert quadruples(classes, 30) == chosen
    assert quadruples([1, 2, 3, None], 5) == []
