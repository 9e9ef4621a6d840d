"""SaCo's known values, and that many maps in few passes get what each gets alone."""

import math
from itertools import pairwise

import pytest
import torch

from tests.support.small_vits import images, small_vit
from vitdemo.attention.evaluation.erasing import erase_all, groups_of, saco
from vitdemo.attention.methods.faithfulness import centre_prior, erase_curve, probabilities_without, random_heat

TARGET = 5


def test_saco_by_hand():
    assert saco([3, 2, 1], [0.3, 0.2, 0.1]) == 1
    assert saco([3, 2, 1], [0.1, 0.2, 0.3]) == -1
    assert saco([5, 2, 1], [0.3, 0.1, 0.2]) == pytest.approx((3 + 4 - 1) / 8)  # weights 3, 4 and 1; the last pair is in the wrong order
    assert math.isnan(saco([1, 1, 1], [0.3, 0.2, 0.1]))


def test_groups_are_nearly_equal_and_hottest_first():
    heat = torch.randperm(196, generator=torch.Generator().manual_seed(0)).float().view(14, 14)
    groups = groups_of(heat)
    assert [int(group.sum()) for group in groups] == [20] * 6 + [19] * 4
    assert torch.equal(groups.sum(0), torch.ones(14, 14, dtype=torch.long))
    assert all(heat[hot].min() > heat[cold].max() for hot, cold in pairwise(groups))
    assert len(groups_of(torch.rand(2, 2))) == 4


def test_a_map_of_the_measured_falls_has_saco_1(engine):
    """Heat that is constant in fixed groups and equal to the fall of each gives 1, and its negative −1."""
    vit, tensor = small_vit(), 3 * images()[0]
    groups = torch.eye(16, dtype=torch.bool).view(16, 4, 4)
    groups = torch.stack([groups[start::8].any(0) for start in range(8)])  # of two patches each: groups_of gives the same eight
    answer = probabilities_without(vit, engine, tensor, TARGET, "grey")
    whole, *without = engine.run(lambda: answer(torch.cat((torch.zeros(1, 4, 4, dtype=torch.bool), groups))))
    falls = torch.tensor([whole - each for each in without])
    heat = (groups * falls[:, None, None]).sum(0)
    order = falls.argsort(descending=True)
    assert torch.equal(groups_of(heat, 8), groups[order])
    assert saco((2 * falls[order]).tolist(), falls[order].tolist()) == pytest.approx(1)
    back = falls.argsort()
    assert saco((-2 * falls[back]).tolist(), falls[back].tolist()) == pytest.approx(-1)


def test_many_maps_at_once(engine):
    vit, tensor = small_vit(), images()[0]
    heats = {"random": random_heat((4, 4), 1), "centre": centre_prior((4, 4)), "flat": torch.ones(4, 4)}
    found = dict(erase_all(vit, engine, tensor, heats, TARGET))
    assert list(found) == list(heats)
    answer = probabilities_without(vit, engine, tensor, TARGET, "grey")
    whole = float(vit.logits(tensor[None]).softmax(-1)[0, TARGET])
    for name, heat in heats.items():
        alone = erase_curve(vit, engine, tensor, heat, TARGET)
        assert found[name].curve.erased == alone.erased
        assert found[name].curve.deletion == pytest.approx(alone.deletion, abs=1e-6)
        assert found[name].curve.insertion == pytest.approx(alone.insertion, abs=1e-6)
        if name == "flat":
            assert math.isnan(found[name].saco)
            continue
        groups = groups_of(heat)
        falls = [whole - each for each in engine.run(lambda groups=groups: answer(groups))]
        assert found[name].saco == pytest.approx(saco([float(heat[group].sum()) for group in groups], falls), abs=1e-5)
