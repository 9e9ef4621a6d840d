"""Ablation of attention heads: the model's answer with some heads switched off."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from timm.layers import Attention

from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.module_hooks import Hook, hooked
from vitdemo.core.models.labels import Label
from vitdemo.core.models.vit import Vit


@dataclass(frozen=True)
class Move:
    """A class's probability with all heads (`before`) and without some heads (`after`)."""

    label: Label
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class Ablation:
    """The model's answer with and without some heads.

    Attributes:
        before, after: logits (classes,) with all heads, and without some.
        moves: the probabilities of the classes at the top of either answer, most probable `before` first.
    """

    before: torch.Tensor
    after: torch.Tensor
    moves: tuple[Move, ...]


@contextmanager
def without_heads(vit: Vit, heads: Iterable[tuple[int, int]]) -> Iterator[None]:
    """Switch heads off in this thread's forward passes while the context is open: their output before the projection is 0.

    Args:
        heads: pairs (layer from 1, head from 0).

    Raises: UserError for a head that does not exist, or that can't be separated from the other heads of its layer.
    """
    by_layer: dict[int, list[int]] = {}
    for layer, head in heads:
        by_layer.setdefault(_check_head(vit, layer, head), []).append(head)
    with hooked([(_attention(vit, layer).qkv, _silence(_attention(vit, layer), indices)) for layer, indices in by_layer.items()]):
        yield


def ablate(vit: Vit, engine: Engine, tensor: torch.Tensor, heads: Iterable[tuple[int, int]], *, top: int = 5) -> Ablation:
    """Classify one model input, (3, height, width), with all heads and without some.

    Args:
        heads: the heads to switch off, as pairs (layer from 1, head from 0).
        top: how many of the top classes of each answer to compare.

    Raises: UserError for a head that does not exist, or a model without classes.
    """
    if not vit.labels:
        raise UserError(f"{vit.name} gives features, not classes, so no head moves its answer: choose a model with classes.")
    heads, batch = tuple(heads), tensor[None].to(vit.device)

    def work() -> tuple[torch.Tensor, torch.Tensor]:
        with engine.inference():
            before = vit.logits(batch)[0].float().cpu()
            with without_heads(vit, heads):
                return before, vit.logits(batch)[0].float().cpu()

    before, after = engine.run(work)
    probabilities = before.softmax(-1), after.softmax(-1)
    leading = {index for answer in probabilities for index in answer.topk(min(top, len(vit.labels))).indices.tolist()}
    ranked = sorted(leading, key=lambda index: -probabilities[0][index])
    return Ablation(before, after, tuple(Move(vit.labels[index], *(float(answer[index]) for answer in probabilities)) for index in ranked))


def _check_head(vit: Vit, layer: int, head: int) -> int:
    blocks = vit.module.blocks
    if not 1 <= layer <= len(blocks):
        raise UserError(f"There is no layer {layer}: choose one from 1 to {len(blocks)}.")
    attention = getattr(blocks[layer - 1], "attn", None)
    if type(attention) is not Attention:
        raise UserError(f"The heads of {vit.name} can't be switched off one by one: choose another model.")
    if not 0 <= head < attention.num_heads:
        raise UserError(f"There is no head {head}: choose one from 0 to {attention.num_heads - 1}.")
    return layer


def _attention(vit: Vit, layer: int) -> Attention:
    """The attention of a layer that `_check_head` has accepted."""
    return cast(Attention, vit.module.blocks[layer - 1].attn)


def _silence(attention: Attention, heads: list[int]) -> Hook:
    def silence(output: torch.Tensor) -> torch.Tensor:  # (B, N, 3 · heads · head_dim): queries, keys, values
        silenced = output.clone()
        silenced.unflatten(-1, (3, attention.num_heads, attention.head_dim))[..., 2, heads, :] = 0  # zero values make zero output
        return silenced

    return silence
