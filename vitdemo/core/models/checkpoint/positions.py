"""Grids of positions: how large a file's are, and the sentence where they were resampled for another."""

import math
from typing import Any

import torch

Grid = tuple[int, int]  # rows, columns


def grid_of(tokens: int) -> Grid | None:
    """The square grid with so many patches; None where they make no square."""
    side = math.isqrt(max(tokens, 0))
    return (side, side) if side and side * side == tokens else None


def resampled(old: Grid, new: Grid) -> str:
    """The sentence that says so."""
    return f"Positions resampled from {old[1]}×{old[0]} to {new[1]}×{new[0]}."


def resampled_by_timm(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], module: Any) -> list[str]:
    """The sentence where timm's converter has resampled positions between two states of a module."""
    for name, value in after.items():
        if name not in before or before[name].shape == value.shape:
            continue
        if name.endswith("relative_position_bias_table"):
            return ["Relative positions resampled for the model's own grid."]
        if name == "pos_embed":
            prefix = 0 if getattr(module, "no_embed_class", False) else getattr(module, "num_prefix_tokens", 0)
            old, new = [grid_of(each.shape[1] - prefix) if each.ndim == 3 else None for each in (before[name], value)]
            return [resampled(old, new) if old and new else "Positions resampled for the model's own grid."]
    return []
