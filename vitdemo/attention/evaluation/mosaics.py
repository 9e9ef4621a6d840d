"""Mosaics of four photos: does the map of a class lie on the photo of that class? (Grid pointing, Rao et al., 2022, arXiv:2205.10435.)

No map that ignores the class can do better than a quarter.
"""

import random
from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate

from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import Heat


def mosaic(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Four model inputs, (3, height, width) each, at half their size, as one: top left, top right, bottom left, bottom right."""
    batch = torch.stack(list(tensors))
    size = batch.shape[2] // 2, batch.shape[3] // 2
    small = interpolate(batch, size=size, mode="bicubic", antialias=True)
    return torch.cat((torch.cat((small[0], small[1]), 2), torch.cat((small[2], small[3]), 2)), 1)


def has_quarters(grid: tuple[int, int]) -> bool:
    """Whether a patch grid can be cut into quarters."""
    return not (grid[0] % 2 or grid[1] % 2)


def check_grid(grid: tuple[int, int]) -> None:
    """Raises: UserError for a patch grid that can't be cut into quarters."""
    if not has_quarters(grid):
        raise UserError(f"A grid of {grid[0]}×{grid[1]} patches can't be cut into quarters: leave the mosaics out.")


def quarter(heat: Heat, place: int) -> tuple[float, float]:
    """How much of a map lies in one quarter, 0 … 3 in reading order.

    Returns: the share of the heat above 0, NaN where there is none; and 1 or 0: whether the hottest patch is there.
    """
    inside = torch.zeros(2, heat.shape[0] // 2, 2, heat.shape[1] // 2, dtype=torch.bool)
    inside[place // 2, :, place % 2] = True
    inside, positive = inside.view(heat.shape), heat.clamp(min=0)
    share = float(positive[inside].sum() / total) if (total := float(positive.sum())) else float("nan")
    return share, float(inside.flatten()[heat.argmax()])


def quadruples(classes: Sequence[int | None], count: int, seed: int = 0) -> list[tuple[int, ...]]:
    """Choose photos for mosaics: the indices of four photos of different classes each.

    Args:
        classes: each photo's class; None for a photo that no mosaic should have.
    """
    by_class: dict[int, list[int]] = {}
    for index, each in enumerate(classes):
        if each is not None:
            by_class.setdefault(each, []).append(index)
    dice = random.Random(seed)
    names = sorted(by_class)
    return [tuple(dice.choice(by_class[each]) for each in dice.sample(names, 4)) for _ in range(count)] if len(names) >= 4 else []
