"""The same map of one photo after the other, with all heads or without some."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from vitdemo.attention.drawing.render import unseen_note
from vitdemo.attention.files import numbers_of
from vitdemo.attention.methods.ablation import Head, Move, move_of, moves, without_heads
from vitdemo.attention.methods.heads import lens_table
from vitdemo.attention.question import OF_A_CLASS, Question, heats
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat, Trace
from vitdemo.core.inference.trace_cache import run_trace
from vitdemo.core.models.vit import Vit
from vitdemo.core.names import shown_name
from vitdemo.core.photos.geometry import Geometry


@dataclass(frozen=True, eq=False)
class PhotoMap:
    """One map of one photo.

    Attributes:
        question: what was asked; for a map of a class, with its class.
        heats: (layers, rows, columns), the map at every layer from the first.
        trace: the pass without the heads that are off.
        answer: the map's class, or else the first with all heads, with its probability; None for a model without classes.
        moves: the answer, then the leading classes with all heads and without those that are off; empty where none is off.
        notes: a sentence where the photo lies mostly outside the crop, and where it is unlike all that the model was trained on.
    """

    question: Question
    geometry: Geometry
    heats: torch.Tensor
    trace: Trace
    answer: Move | None
    moves: tuple[Move, ...]
    notes: tuple[str, ...]

    @property
    def heat(self) -> Heat:
        """The map at the requested layer."""
        return self.heats[self.question.place(self.trace)]

    @property
    def hottest(self) -> str:
        """Where the map is highest, in words."""
        row, column = divmod(int(self.heat.argmax()), self.heat.shape[1])
        return f"row {row}, column {column} of {self.heat.shape[0]}×{self.heat.shape[1]}"


class MapMaker:
    """Makes the map that a question asks for of photo after photo.

    Args:
        off: heads that are switched off. Where the question names no class, it is about the first class with all heads.

    Attributes:
        vit: the model without these heads.

    Raises: UserError for a head that does not exist.
    """

    def __init__(self, vit: Vit, engine: Engine, question: Question, off: tuple[Head, ...] = ()):
        self.question, self.off, self.engine = question, off, engine
        self.vit, self._whole = without_heads(vit, off) if off else vit, vit

    def make(self, tensor: torch.Tensor, geometry: Geometry) -> PhotoMap:
        """The map of one model input, (3, height, width). Raises: UserError as `question.heats`, and for NaN or infinite logits."""
        trace = run_trace(self.vit, self.engine, tensor)
        before, features = trace.logits, trace.features
        if self.off:
            before, features = (values[0] for values in self.engine.logits_and_features(self._whole, tensor[None])[:2])
        question, answer = self.question, None
        if self.vit.labels:
            answer = move_of(self.vit, before, trace.logits, int(before.argmax()) if question.target is None else question.target)
            question = replace(question, target=answer.label.index) if question.method in OF_A_CLASS else question
        moved = (answer, *(move for move in moves(self.vit, before, trace.logits) if move != answer)) if answer and self.off else ()
        notes = filter(None, (unseen_note(geometry), self.vit.ood.note(features) if self.vit.ood else ""))
        maps = heats(question, trace, self.vit, self.engine, tensor)
        return PhotoMap(question, geometry, maps, trace, answer, moved, tuple(notes))

    def numbers(self, made: PhotoMap) -> dict[str, np.ndarray]:
        """The arrays of the map's NPZ."""
        return numbers_of(made.question, made.heats, made.trace, self.vit, self.engine, made.geometry, self.off)

    def lens_lines(self, made: PhotoMap) -> list[str]:
        """What CLS would answer after each layer, a line each."""
        lines = []
        for row in lens_table(made.trace, self.vit, self.engine):
            answers = (f"{shown_name(self.vit.labels[index].short)} {probability:.3f}" for index, probability in row.classes)
            lines.append(f"after layer {row.layer}: {', '.join(answers)}")
        return lines
