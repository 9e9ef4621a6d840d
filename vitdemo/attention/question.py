"""What somebody asks of a trace, in one value: the page, the downloads and the endpoint all answer the same Question."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch

from vitdemo.attention.methods import maps
from vitdemo.attention.methods.gradients import attention_gradient, check_target
from vitdemo.attention.methods.maps import Fusion
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat, Trace
from vitdemo.core.models.vit import Vit

METHODS = ("cls", "rollout", "relevance", "gradient-rollout", "looks-at", "looked-at-by")
OF_A_CLASS = ("relevance", "gradient-rollout")
OF_A_PATCH = ("looks-at", "looked-at-by")
Gradient = Callable[[int], torch.Tensor]
"""A class, by its place in the logits → (layers, heads, tokens, tokens)."""


@dataclass(frozen=True)
class Question:
    """One map.

    Attributes:
        method: one of METHODS.
        layer: of this layer, or up to it; the last by default.
        head: one head, or how all become one; for rollout the latter alone.
        patch: (row, column), for what a patch looks at or is looked at by.
        target: the class, for the methods of a class; the model's first by default.
        other: the class whose map is taken away from the target's.
        discard, start_layer: as `maps.rollouts` takes them.
    """

    method: str = "cls"
    layer: int | None = None
    head: int | Fusion = "mean"
    patch: tuple[int, int] | None = None
    target: int | None = None
    other: int | None = None
    discard: float = 0.0
    start_layer: int = 1

    def __post_init__(self):
        if self.method not in METHODS:
            raise UserError(f"There is no method “{self.method}”: choose {', '.join(METHODS)}.")
        if self.method in OF_A_PATCH and self.patch is None:
            raise UserError(f"The method {self.method} needs a patch: give its row and column.")

    @classmethod
    def read(cls, asked: Mapping[str, Any]) -> "Question":
        """A question from JSON. Raises: UserError for values of the wrong kind."""
        head, patch = asked.get("head", "mean"), asked.get("patch")
        if not isinstance(head, str):
            head = _whole(head, "head")
        elif head not in get_args(Fusion):
            head = _whole(int(head) if head.isdecimal() and head.isascii() else None, "head")
        if patch is not None:
            if not isinstance(patch, list | tuple) or len(patch) != 2:
                raise UserError("The patch must be a row and a column.")
            patch = _whole(patch[0], "row"), _whole(patch[1], "column")
        discard = asked.get("discard") or 0
        if isinstance(discard, bool) or not isinstance(discard, int | float):
            raise UserError("discard must be a number.")
        return cls(
            method=str(asked.get("method", "cls")),
            layer=_optional(asked.get("layer"), "layer"),
            head=head,
            patch=patch,
            target=_optional(asked.get("target"), "target"),
            other=_optional(asked.get("other"), "other"),
            discard=float(discard),
            start_layer=_optional(asked.get("start_layer"), "start_layer") or 1,
        )

    def place(self, trace: Trace) -> int:
        """The place of the asked-for layer among `heats`. Raises: UserError for a layer that is not there."""
        last = maps.check_layers(trace, self.first_layer, self.layer)
        return last - self.first_layer

    @property
    def first_layer(self) -> int:
        return self.start_layer if self.method in ("rollout", *OF_A_CLASS) else 1


def heats(question: Question, trace: Trace, gradient: Gradient) -> torch.Tensor:
    """(layers − first layer + 1, rows, columns) float32: the map of every layer, or up to every layer.

    Raises: UserError for what the trace does not have.
    """
    question.place(trace)
    layers = range(1, trace.layers + 1)
    if question.method == "cls":
        return torch.stack([maps.cls_map(trace, layer=layer, head=question.head) for layer in layers])
    if question.method == "rollout":
        if not isinstance(question.head, str):
            raise UserError("Rollout takes all heads as one: choose mean, max or min.")
        return maps.rollouts(trace, fusion=question.head, discard=question.discard, start_layer=question.start_layer)
    if question.method in OF_A_PATCH:
        look = maps.looks_at if question.method == "looks-at" else maps.looked_at_by
        return torch.stack([look(trace, layer, question.patch, question.head) for layer in layers])
    follow = maps.relevances if question.method == "relevance" else maps.gradient_rollouts
    target = int(trace.logits.argmax()) if question.target is None else question.target
    found = follow(trace, gradient(target), start_layer=question.start_layer)
    if question.other is not None:
        found = found - follow(trace, gradient(question.other), start_layer=question.start_layer)
    return found


def heat(question: Question, trace: Trace, gradient: Gradient) -> Heat:
    """The one map that is asked for. Raises: as `heats`."""
    return heats(question, trace, gradient)[question.place(trace)]


def gradient_of(vit: Vit, engine: Engine, tensor: torch.Tensor) -> Gradient:
    """The gradients of one model input, made as they are asked for."""
    return lambda target: attention_gradient(vit, engine, tensor, check_target(vit, target))


def title(question: Question, trace: Trace, vit: Vit) -> str:
    """What the map is, in a line for people."""
    layer = question.layer or trace.layers
    heads = f"{question.head} of {trace.heads} heads" if isinstance(question.head, str) else f"head {question.head}"
    if question.method == "cls":
        return f"{'CLS' if trace.has_cls else 'Pooled'} attention, layer {layer}, {heads}"
    if question.method == "rollout":
        return f"Rollout, layers {question.start_layer} to {layer}, {heads}"
    if question.method in OF_A_PATCH:
        row, column = question.patch
        looks = "looks at" if question.method == "looks-at" else "is looked at by"
        return f"What the patch in row {row + 1}, column {column + 1} {looks}, layer {layer}, {heads}"
    target = int(trace.logits.argmax()) if question.target is None else question.target
    words = {"relevance": "Relevance", "gradient-rollout": "Gradient rollout"}[question.method]
    named = _name(vit, target) + (f" minus {_name(vit, question.other)}" if question.other is not None else "")
    return f"{words} for {named}, layers {question.start_layer} to {layer}"


def _name(vit: Vit, target: int) -> str:
    return vit.labels[check_target(vit, target)].name.split(",")[0]


def _optional(value: Any, called: str) -> int | None:
    return None if value is None else _whole(value, called)


def _whole(value: Any, called: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise UserError(f"{called} must be a whole number.")
    return int(value)
