"""Curves and agreement against brute force and known answers."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.pictures import noise
from tests.support.small_vits import images, small_vit
from vitdemo.attention.methods.faithfulness import (
    FILLS,
    Curve,
    agreement,
    centre_prior,
    conclusion,
    cover,
    erase_curve,
    erase_curves,
    filling,
    mask_shares,
    random_heat,
)
from vitdemo.core.errors import UserError
from vitdemo.core.photos.preprocessing import Preprocessing

SQUASH = Preprocessing((64, 96), 1.0, "squash", "bicubic", (0.4, 0.5, 0.6), (0.2, 0.25, 0.5))


@pytest.fixture(scope="module")
def vit():
    return dataclasses.replace(small_vit(), preprocessing=SQUASH)


def by_hand(vit, tensor, heat, target, filled, steps):
    """Petsiuk et al.: one patch after the other, hottest first."""
    rows, columns = heat.shape
    order = sorted(range(rows * columns), key=lambda patch: -float(heat[patch // columns, patch % columns]))
    erased, deletion, insertion = [], [], []
    for step in range(steps + 1):
        count = round(step * len(order) / steps)
        without, only = tensor.clone(), filled.clone()
        for patch in order[:count]:
            here = slice(patch // columns * 16, patch // columns * 16 + 16), slice(patch % columns * 16, patch % columns * 16 + 16)
            without[:, *here], only[:, *here] = filled[:, *here], tensor[:, *here]
        with torch.inference_mode():
            deletion.append(float(vit.module(without[None])[0].softmax(-1)[target]))
            insertion.append(float(vit.module(only[None])[0].softmax(-1)[target]))
        erased.append(count)
    return erased, deletion, insertion


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("steps", [1, 5, 24])
def test_a_curve_by_hand(vit, engine, fill, steps):
    tensor, heat = images(1, 64, 96)[0], random_heat((4, 6), 3)
    ours = erase_curve(vit, engine, tensor, heat, 2, fill=fill, steps=steps)
    erased, deletion, insertion = by_hand(vit, tensor, heat, 2, filling(tensor, vit.preprocessing, fill).clone(), steps)
    assert list(ours.erased) == erased
    assert ours.deletion == pytest.approx(deletion, abs=1e-6)
    assert ours.insertion == pytest.approx(insertion, abs=1e-6)
    assert ours.deletion[0] == pytest.approx(ours.insertion[-1], abs=1e-6)  # the whole photo
    assert ours.deletion[-1] == pytest.approx(ours.insertion[0], abs=1e-6)  # nothing of it


def test_areas_known_answers():
    curve = Curve((0, 1, 4), (1.0, 0.5, 0.0), (0.0, 0.0, 1.0))
    assert curve.deletion_area == pytest.approx((0.75 * 1 + 0.25 * 3) / 4)
    assert curve.insertion_area == pytest.approx(0.5 * 3 / 4)


@pytest.mark.parametrize("steps", [3, 20])  # in one batch a map, and in two
def test_curves_of_several_maps(vit, engine, steps):
    tensor = images(1, 64, 96)[0]
    heats = {"random": random_heat((4, 6), 0), "centre": centre_prior((4, 6))}
    found = dict(erase_curves(vit, engine, tensor, heats, 1, steps=steps))
    for name, heat in heats.items():
        expected = erase_curve(vit, engine, tensor, heat, 1, steps=steps)
        assert (found[name].erased, found[name].insertion) == (expected.erased, ())
        assert found[name].deletion == pytest.approx(expected.deletion, abs=1e-6)


@pytest.mark.parametrize(
    ("area", "centre", "said"),
    [
        (0.1, 0.5, "sooner than by chance (area 0.100; 3 random orders: 0.300 to 0.400); sooner than centre first (0.500)."),
        (0.1, 0.19, "sooner than by chance (area 0.100; 3 random orders: 0.300 to 0.400); the difference to centre first (0.190) lies"),
        (0.1, 0.01, "sooner than by chance (area 0.100; 3 random orders: 0.300 to 0.400); the difference to centre first (0.010) lies"),
        (0.3, 0.05, "no sooner than by chance (area 0.300, within the spread of 3 random orders: 0.300 to 0.400); later than centre"),
        (0.4, 0.8, "no sooner than by chance (area 0.400, within the spread of 3 random orders: 0.300 to 0.400); sooner than centre"),
        (0.5, 0.3, "later than by chance (area 0.500; 3 random orders: 0.300 to 0.400); later than centre first (0.300)."),
    ],
)
def test_the_conclusion_says_no_more_than_the_spread_allows(area, centre, said):
    assert conclusion(area, [0.35, 0.4, 0.3], centre).startswith(f"The probability falls {said}")


def test_what_erased_patches_show(vit):
    photo = noise(96, 64)
    tensor = vit.preprocessing(photo)
    std, mean = (torch.tensor(each)[:, None, None] for each in (SQUASH.std, SQUASH.mean))
    assert torch.allclose(filling(tensor, SQUASH, "grey") * std + mean, torch.tensor(0.5))
    average = torch.from_numpy(np.asarray(photo).astype(np.float32) / 255).mean((0, 1))
    assert torch.allclose((filling(tensor, SQUASH, "mean") * std + mean)[:, 5, 7], average, atol=1e-6)
    blurred = filling(tensor, SQUASH, "blur")
    assert blurred.shape == tensor.shape
    assert (blurred.std((1, 2)) < 0.15 * tensor.std((1, 2))).all()
    assert torch.allclose(blurred.mean((1, 2)), tensor.mean((1, 2)), atol=0.05)
    constant = torch.full((3, 32, 32), 0.7)
    assert torch.allclose(filling(constant, SQUASH, "blur"), constant)


def test_cover_shows_the_filling_where_patches_are_hidden():
    tensor, filled = torch.zeros(3, 6, 8), torch.ones(3, 6, 8)
    hidden = torch.tensor([[[True, False], [False, False], [False, True]]])
    assert torch.equal(cover(tensor, filled, hidden)[0, 0], hidden[0].float().repeat_interleave(2, 0).repeat_interleave(4, 1))


@pytest.mark.parametrize("grid", [(3, 3), (4, 6), (1, 5), (14, 14)])
def test_centre_prior(grid):
    prior = centre_prior(grid)
    assert (prior >= 0).all()
    assert torch.equal(prior, prior.flip(0))
    assert torch.equal(prior, prior.flip(1))
    assert prior.max() == prior[grid[0] // 2, grid[1] // 2]
    assert prior.min() == prior[0, 0]
    if min(grid) > 1:
        assert prior[0, 0] == pytest.approx(0, abs=1e-6)
    if all(side % 2 for side in grid):
        assert prior.max() == pytest.approx(2**0.5)


def test_random_heats_repeat():
    assert torch.equal(random_heat((3, 4), 7), random_heat((3, 4), 7))
    assert not torch.equal(random_heat((3, 4), 7), random_heat((3, 4), 8))


@pytest.mark.parametrize(("fill", "steps", "said"), [("black", 3, "Patches can't be filled with “black”: choose grey, blur, mean.")])
def test_a_fill_that_is_none(vit, engine, fill, steps, said):
    with pytest.raises(UserError) as refused:
        erase_curve(vit, engine, images(1, 64, 96)[0], centre_prior((4, 6)), 0, fill=fill, steps=steps)
    assert str(refused.value) == said


@pytest.mark.parametrize("steps", [0, 25])
def test_steps_that_the_patches_do_not_allow(vit, engine, steps):
    with pytest.raises(UserError, match=f"The curve can have from 1 to 24 steps; {steps} were asked for"):
        erase_curve(vit, engine, images(1, 64, 96)[0], centre_prior((4, 6)), 0, steps=steps)


# Masks


def test_agreement_known_answers():
    shares = torch.tensor([[1.0, 0.6], [0.5, 0.0]])
    found = agreement(torch.tensor([[4.0, 0.0], [3.0, 1.0]]), shares)  # mean 2: the left patches are hot, the upper ones covered
    assert found.hit
    assert found.overlap == pytest.approx(1 / 3)
    assert found.mass == pytest.approx((4 * 1 + 3 * 0.5) / 8)
    missed = agreement(torch.tensor([[1.0, -1.0], [3.0, 0.0]]), shares)
    assert not missed.hit  # half is not more than half
    assert missed.mass == pytest.approx((1 + 1.5) / 4)
    nothing = agreement(torch.zeros(2, 2), torch.zeros(2, 2))
    assert (nothing.hit, nothing.overlap, nothing.mass) == (False, 0, 0)


def test_a_mask_goes_the_way_of_its_photo():
    """A mask of the size of the crop before the resize: each patch's share is what Pillow's own resize leaves there."""
    crop = dataclasses.replace(SQUASH, size=(64, 64), crop_mode="center", crop_pct=0.8)
    pixels = np.zeros((120, 200), np.uint8)
    pixels[30:100, 90:140] = 255
    mask = Image.fromarray(pixels)
    resized = mask.resize((133, 80), Image.Resampling.BILINEAR)  # short side 80 = 64 / 0.8, long side int(80·200/120)
    cropped = resized.crop((34, 8, 98, 72))  # round((133 − 64) / 2) = 34
    expected = np.asarray(cropped).astype(float).reshape(4, 16, 4, 16).mean((1, 3)) / 255
    assert np.allclose(mask_shares(mask, crop, (4, 4)).numpy(), expected, atol=1e-6)


def test_padding_is_no_part_of_the_thing():
    border = dataclasses.replace(SQUASH, size=(64, 64), crop_mode="border", crop_pct=1.0, mean=(0.9, 0.9, 0.9))
    shares = mask_shares(Image.new("L", (200, 100), 255), border, (4, 4))  # the photo fills the two middle rows
    assert torch.allclose(shares, torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None].expand(4, 4), atol=0.02)


def test_how_well_a_map_ranks_the_object():
    heat = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    shares = torch.tensor([[1.0, 0.0], [0.9, 0.5]])  # half is not more than half
    found = agreement(heat, shares)
    assert found.auc == pytest.approx(3 / 4)  # of the pairs (4, 3), (4, 1), (2, 3) and (2, 1), one is in the wrong order
    assert found.iou == pytest.approx(2 / 3)  # the three hottest
    assert agreement(torch.ones(2, 2), shares).auc == 0.5
    everything = agreement(heat, torch.ones(2, 2))
    assert everything.auc != everything.auc, "there is nothing outside"
    assert everything.iou == 1
