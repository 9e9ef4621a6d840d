"""Ablation of attention heads: the model with some heads switched off."""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import MethodType

import torch

from vitdemo.attention.methods.gradients import check_target
from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCall, AttentionCalls
from vitdemo.core.inference.engine import Engine
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
    """Switch heads off: the same model, whose passes give these heads values of 0. It shares all modules and weights.

    Raises: UserError for a model without classes, or a head that does not exist.
    """
    if not vit.labels:
        raise UserError(f"{vit.name} gives features, not classes, so no head moves its answer: choose a model with classes.")
    vit = replace(vit)  # the passes below keep this one, and not the caller's, which is the weak key of caches
    off = torch.ones(vit.adapter.layers, vit.adapter.heads, 1, 1, device=vit.device)  # 0 where a head is off
    for layer, head in heads:
        _check_head(vit, layer, head)
        off[layer - 1, head] = 0

    def silence(call: AttentionCall) -> torch.Tensor:
        return call.run(call.value * off[call.number].to(call.value.dtype) if call.number < len(off) else call.value)  # the last: pooling

    def silenced(method: Callable) -> Callable:
        def run(*args, **options):
            with AttentionCalls(vit, silence):
                return method(*args, **options)

        return run

    module = copy.copy(vit.module)
    for name in ("forward_features", "forward_intermediates"):  # bound to the module, so that a copy of it runs its own weights
        setattr(module, name, MethodType(silenced(getattr(type(module), name)), module))
    return replace(vit, module=module)


def moves(vit: Vit, before: torch.Tensor, after: torch.Tensor, *, top: int = 5) -> tuple[Move, ...]:
    """The classes at the top of either answer, most probable `before` first.

    Args:
        before, after: logits (classes,) with all heads, and without some.
        top: how many classes of each answer.
    """
    leading = {index for answer in (before, after) for index in answer.topk(min(top, len(vit.labels))).indices.tolist()}
    return tuple(sorted((move_of(vit, before, after, index) for index in leading), key=lambda move: -move.before))


def move_of(vit: Vit, before: torch.Tensor, after: torch.Tensor, target: int) -> Move:
    """How far one class moves. Arguments as `moves`."""
    return Move(vit.labels[target], *(float(logits.softmax(-1)[target]) for logits in (before, after)))


def falls(vit: Vit, engine: Engine, tensor: torch.Tensor, target: int, heads: Iterable[Head]) -> Iterator[tuple[Head, float]]:
    """How far a class's logit falls when one head at a time is switched off: its measured effect, one pass each.

    It is not the head's vote (`votes`): the norm rescales what is left, later layers make up for it, and a head works through others.

    Args:
        tensor: one model input, (3, height, width).

    Raises: UserError for a model without classes, or a class or head that does not exist.
    """
    check_target(vit, target)

    def logit(model: Vit) -> float:
        return float(engine.forward(lambda images: (model.logits(images),), tensor[None])[0][0][0, target])

    heads = list(heads)
    models = [vit, *(without_heads(vit, [head]) for head in heads)]
    logits = engine.map(logit, models)
    whole = next(logits)
    for head, without in zip(heads, logits, strict=True):
        yield head, whole - without


def _check_head(vit: Vit, layer: int, head: int) -> None:
    if not 1 <= layer <= vit.adapter.layers:
        raise UserError(f"There is no layer {layer}: choose one from 1 to {vit.adapter.layers}.")
    if not 0 <= head < vit.adapter.heads:
        raise UserError(f"There is no head {head}: choose one from 0 to {vit.adapter.heads - 1}.")
