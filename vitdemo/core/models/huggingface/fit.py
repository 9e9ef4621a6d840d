"""Lay a Hugging Face model's weights into timm's module: names that differ between timm's families, and positions for the input's size."""

from typing import Any

import torch
from torch.nn.functional import interpolate

from vitdemo.core.models.adapter import Adapter
from vitdemo.core.models.checkpoint.positions import Grid, grid_of, resampled

SAME = (("dist_token", "reg_token"), ("ls1.gamma", "gamma_1"), ("ls2.gamma", "gamma_2"))
TABLE = "relative_position_bias_table"
Tensors = dict[str, torch.Tensor]


def fitted(
    state: Tensors, module: Any, *, projected: bool, made_for: Grid | None = None, antialias: bool = False
) -> tuple[Tensors, list[str]]:
    """Return a state under the module's names, with positions for the module's grid, resampled by transformers' own rule.

    Args:
        state: the weights under timm's names.
        projected: whether the head is CLIP's projection, which has no bias.
        made_for: the grid of the file's positions, where it is known; else they make a square.
        antialias: whether this kind smooths positions where it makes a grid smaller.

    Returns: the new state, and a sentence where positions were resampled.
    """
    wanted, state = module.state_dict().keys(), dict(state)
    for name in list(state):
        for theirs, ours in SAME:
            if name.endswith(theirs) and name not in wanted and (own := name.removesuffix(theirs) + ours) in wanted:
                state[own] = state.pop(name)
    if projected and "head.bias" in wanted:
        state.setdefault("head.bias", torch.zeros(len(state["head.weight"])))
    old, grid = made_for, getattr(Adapter(module).embed, "grid_size", None)
    if grid is None:
        return state, []  # its positions fit every size
    if "pos_embed" in state and state["pos_embed"].ndim == 3:
        positions = state["pos_embed"].float()
        placed = () if getattr(module, "no_embed_class", False) else ("reg_token",)  # DINOv2's registers have no places
        prefix = sum(name in state for name in ("cls_token", "dist_token", *placed))
        if old is None or positions.shape[1] != prefix + old[0] * old[1]:
            old = grid_of(positions.shape[1] - prefix)
        if old not in (None, grid):
            places = positions[:, prefix:].reshape(1, *old, -1).permute(0, 3, 1, 2)
            places = interpolate(places, grid, mode="bicubic", align_corners=False, antialias=antialias).permute(0, 2, 3, 1).flatten(1, 2)
            state["pos_embed"] = torch.cat((positions[:, :prefix], places), 1)
        if getattr(module, "no_embed_class", False) and prefix:
            state["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]  # timm gives a place to the patches alone
            state["pos_embed"] = state["pos_embed"][:, 1:]
    if old not in (None, grid):
        for name in [name for name in state if name.endswith(TABLE)]:
            state[name] = _resampled_table(state[name], old, grid)
    return state, [] if old in (None, grid) or not _has_positions(state) else [resampled(old, grid)]


def _has_positions(state: Tensors) -> bool:
    return "pos_embed" in state or any(name.endswith(TABLE) for name in state)


def _resampled_table(table: torch.Tensor, old: Grid, new: Grid) -> torch.Tensor:
    """BEiT's biases by distance, (distances + 3, heads), for another grid."""
    before, after = [(2 * rows - 1, 2 * columns - 1) for rows, columns in (old, new)]
    if table.ndim != 2 or len(table) != before[0] * before[1] + 3:
        return table  # the check of shapes names it
    distances = table[:-3].float().reshape(1, *before, -1).permute(0, 3, 1, 2)
    distances = interpolate(distances, after, mode="bilinear").permute(0, 2, 3, 1).flatten(0, 2)
    return torch.cat((distances, table[-3:].float()))
