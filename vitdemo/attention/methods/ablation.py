"""Ablation of attention heads: the model with some heads switched off."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

import torch
from timm.layers import Attention

from vitdemo.core.errors import UserError
from vitdemo.core.inference.unfused import copy_modules
from vitdemo.core.models.labels import Label
from vitdemo.core.models.vit import Vit

Head = tuple[int, int]
"""Layer from 1, head from 0."""


@dataclass(frozen=True)
class Move:
    """A class's probability with all heads (`before`) and without some heads (`after`)."""

    label: Label
    before: float
    after: float


def without_heads(vit: Vit, heads: Iterable[Head]) -> Vit:
    """Switch heads off: a copy of the model in which nothing reads their output. It shares all weights but those output projections.

    Raises: UserError for a model without classes, a head that does not exist, or one that can't be separated from the others of its layer.
    """
    if not vit.labels:
        raise UserError(f"{vit.name} gives features, not classes, so no head moves its answer: choose a model with classes.")
    heads = [_check_head(vit, layer, head) for layer, head in heads]
    module = copy_modules(vit.module)
    for layer in {layer for layer, _ in heads}:
        attention = cast(Attention, module.blocks[layer - 1].attn)
        weight = attention.proj.weight.clone()  # (width, heads · head_dim)
        weight.unflatten(1, (attention.num_heads, -1))[:, [head for at, head in heads if at == layer]] = 0
        attention.proj.weight = torch.nn.Parameter(weight, requires_grad=False)
    return replace(vit, module=module)


def moves(vit: Vit, before: torch.Tensor, after: torch.Tensor, *, top: int = 5) -> tuple[Move, ...]:
    """The classes at the top of either answer, most probable `before` first.

    Args:
        before, after: logits (classes,) with all heads, and without some.
        top: how many classes of each answer.
    """
    probabilities = before.softmax(-1), after.softmax(-1)
    leading = {index for answer in probabilities for index in answer.topk(min(top, len(vit.labels))).indices.tolist()}
    ranked = sorted(leading, key=lambda index: -probabilities[0][index])
    return tuple(Move(vit.labels[index], *(float(answer[index]) for answer in probabilities)) for index in ranked)


def _check_head(vit: Vit, layer: int, head: int) -> Head:
    blocks = vit.module.blocks
    if not 1 <= layer <= len(blocks):
        raise UserError(f"There is no layer {layer}: choose one from 1 to {len(blocks)}.")
    attention = getattr(blocks[layer - 1], "attn", None)
    if type(attention) is not Attention:
        raise UserError(f"The heads of {vit.name} can't be switched off one by one: choose another model.")
    if not 0 <= head < attention.num_heads:
        raise UserError(f"There is no head {head}: choose one from 0 to {attention.num_heads - 1}.")
    return layer, head
