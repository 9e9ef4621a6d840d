"""A Question: all options of one requested map in one value, which the page, the downloads and the endpoint share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch

from vitdemo.attention.methods import maps
from vitdemo.attention.methods.fullgrad import fullgrad
from vitdemo.attention.methods.gradients import attention_gradient, check_target
from vitdemo.attention.methods.libra import Gradient, check_gradient
from vitdemo.attention.methods.maps import Fusion
from vitdemo.attention.methods.votes import Ledger, ledger
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat, Trace
from vitdemo.core.models.vit import Vit

METHODS = ("relevance", "votes", "fullgrad", "rollout", "gradient-rollout", "cls", "looks-at", "looked-at-by")
OF_A_CLASS = ("relevance", "votes", "fullgrad", "gradient-rollout")
OF_A_GRADIENT = ("relevance", "gradient-rollout")
OF_A_PATCH = ("looks-at", "looked-at-by")
SIGNED = ("votes", "fullgrad")
SAME_CLASS = "The class and its rival are the same, and would cancel out: choose two classes."
ONLY_FUSED = "Rollout takes all heads as one: choose mean, max or min."
TITLES = {"relevance": "Relevance", "votes": "Patch votes", "fullgrad": "FullGrad+", "gradient-rollout": "Gradient rollout"}


@dataclass(frozen=True)
class Question:
    """The options of one map.

    Attributes:
        method: one of METHODS.
        layer: the map's layer, or the last layer included; by default the model's last.
        head: one head, or how to fuse all heads; rollout takes only a fusion.
        patch: (row, column), for the methods in OF_A_PATCH.
        target: the class, for the methods in OF_A_CLASS; by default the model's top class.
        other: the class whose map is subtracted from the target's map: why the target, not this class.
        gradient: by Libra's rules or plain, for the methods in OF_A_GRADIENT.
        discard, start_layer: as in `maps.rollouts`.

    Raises: UserError for an unknown method or gradient, or a method that needs a patch without one.
    """

    method: str = "relevance"
    layer: int | None = None
    head: int | Fusion = "mean"
    patch: tuple[int, int] | None = None
    target: int | None = None
    other: int | None = None
    gradient: Gradient = "libra"
    discard: float = 0.0
    start_layer: int = 1

    def __post_init__(self):
        if self.method not in METHODS:
            raise UserError(f"There is no method “{self.method}”: choose {', '.join(METHODS)}.")
        check_gradient(self.gradient)
        if self.method in OF_A_PATCH and self.patch is None:
            raise UserError(f"The method {self.method} needs a patch: give its row and column.")

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Question":
        """Read a question from JSON. Raises: UserError for values of the wrong type."""
        head, patch = fields.get("head", "mean"), fields.get("patch")
        if not isinstance(head, str):
            head = _integer(head, "head")
        elif head not in get_args(Fusion):
            head = _integer(int(head) if re.fullmatch("[0-9]{1,9}", head) else None, "head")
        if patch is not None:
            if not isinstance(patch, list | tuple) or len(patch) != 2:
                raise UserError("The patch must be a row and a column.")
            patch = _integer(patch[0], "row"), _integer(patch[1], "column")
        discard = fields.get("discard") or 0
        if isinstance(discard, bool) or not isinstance(discard, int | float) or not abs(discard) <= 1:
            raise UserError("discard must be a number, at least 0 and less than 1.")
        return cls(
            method=str(fields.get("method", "relevance")),
            layer=_optional_integer(fields.get("layer"), "layer"),
            head=head,
            patch=patch,
            target=_optional_integer(fields.get("target"), "target"),
            other=_optional_integer(fields.get("other"), "other"),
            gradient=fields.get("gradient") or "libra",
            discard=float(discard),
            start_layer=_optional_integer(fields.get("start_layer"), "start_layer") or 1,
        )

    def place(self, trace: Trace) -> int:
        """The index of the requested layer in the result of `heats`. Raises: UserError for a layer that does not exist."""
        last = maps.check_layers(trace, self.first_layer, self.layer)
        return last - self.first_layer

    @property
    def first_layer(self) -> int:
        """The layer of the first map in the result of `heats`."""
        return self.start_layer if self.method in ("rollout", *OF_A_CLASS) else 1

    @property
    def signed(self) -> bool:
        """Whether the map has values below 0, which speak against the class."""
        return self.method in SIGNED or self.other is not None


def heats(question: Question, trace: Trace, vit: Vit, engine: Engine, tensor: torch.Tensor) -> torch.Tensor:
    """The maps of all layers from the first layer on, (layers − first layer + 1, rows, columns) float32.

    Args:
        tensor: the model input of the trace, (3, height, width).

    Raises: UserError for a layer, head, patch or class that the trace does not have.
    """
    question.place(trace)
    layers = range(1, trace.layers + 1)
    if question.method == "cls":
        return torch.stack([maps.cls_map(trace, layer=layer, head=question.head) for layer in layers])
    if question.method == "rollout":
        if not isinstance(question.head, str):
            raise UserError(ONLY_FUSED)
        return maps.rollouts(trace, fusion=question.head, discard=question.discard, start_layer=question.start_layer)
    if question.method in OF_A_PATCH:
        map_of_patch = maps.looks_at if question.method == "looks-at" else maps.looked_at_by
        patch = question.patch
        assert patch is not None  # __post_init__ has checked it
        return torch.stack([map_of_patch(trace, layer, patch, question.head) for layer in layers])
    target = int(trace.logits.argmax()) if question.target is None else question.target
    if question.other == target:
        raise UserError(SAME_CLASS)
    result = _of_class(question, trace, vit, engine, tensor, target)
    return result if question.other is None else result - _of_class(question, trace, vit, engine, tensor, question.other)


def heat(question: Question, trace: Trace, vit: Vit, engine: Engine, tensor: torch.Tensor) -> Heat:
    """The one map that the question asks for. Arguments and errors as `heats`."""
    return heats(question, trace, vit, engine, tensor)[question.place(trace)]


def _of_class(question: Question, trace: Trace, vit: Vit, engine: Engine, tensor: torch.Tensor, target: int) -> torch.Tensor:
    """One class's maps. Raises: UserError for a class that the model does not have."""
    if question.method == "votes":
        return ledger(vit, engine, trace, target).heats(trace, start_layer=question.start_layer)
    if question.method == "fullgrad":
        return fullgrad(vit, engine, tensor, target).heats(trace, start_layer=question.start_layer)
    gradient = attention_gradient(vit, engine, tensor, target, question.gradient)
    method = maps.relevances if question.method == "relevance" else maps.gradient_rollouts
    return method(trace, gradient, start_layer=question.start_layer)


def votes_of(question: Question, trace: Trace, vit: Vit, engine: Engine) -> Ledger | None:
    """The ledger behind a map of votes; None for another method. Raises: UserError for a class that the model does not have."""
    if question.method != "votes":
        return None
    target = int(trace.logits.argmax()) if question.target is None else question.target
    return ledger(vit, engine, trace, target, question.other)


def logit_words(question: Question, trace: Trace) -> str:
    """Names the number that the ledger's entries add up to."""
    target = int(trace.logits.argmax()) if question.target is None else question.target
    if question.other is None:
        return f"and the logit is {float(trace.logits[target]):.4f}"
    return f"and the logits differ by {float(trace.logits[target] - trace.logits[question.other]):.4f}"


def title(question: Question, trace: Trace, vit: Vit) -> str:
    """A one-line title of the map, for people. Raises: UserError for a class that the model does not have."""
    layer = question.layer or trace.layers
    heads = f"{question.head} of {trace.heads} heads" if isinstance(question.head, str) else f"head {question.head}"
    if question.method == "cls":
        return f"{'CLS' if trace.has_cls else 'Pooled'} attention, layer {layer}, {heads}"
    if question.method == "rollout":
        return f"Rollout, layers {question.start_layer} to {layer}, {heads}"
    if question.method in OF_A_PATCH:
        assert question.patch is not None  # __post_init__ has checked it
        row, column = question.patch
        verb = "looks at" if question.method == "looks-at" else "is looked at by"
        return f"What the patch in row {row + 1}, column {column + 1} {verb}, layer {layer}, {heads}"
    target = int(trace.logits.argmax()) if question.target is None else question.target
    words = TITLES[question.method] + (
        " by the plain gradient" if question.method in OF_A_GRADIENT and question.gradient == "plain" else ""
    )
    classes = _name(vit, target) + (f" minus {_name(vit, question.other)}" if question.other is not None else "")
    return f"{words} for {classes}, layers {question.start_layer} to {layer}"


def _name(vit: Vit, target: int) -> str:
    return vit.labels[check_target(vit, target)].short


def _optional_integer(value: Any, called: str) -> int | None:
    return None if value is None else _integer(value, called)


def _integer(value: Any, called: str) -> int:
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
        raise UserError(f"{called} must be a whole number.")
    return int(value)
