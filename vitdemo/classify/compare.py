"""Compare two models on the same photo: their predictions, their times, and the difference between their outputs."""

import statistics
from dataclasses import dataclass

import torch

from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.classifier import Classifier
from vitdemo.core.models.predictions import Prediction, top_classes

ROUNDS = 5  # timed passes per model, alternating, after one warm-up pass each


@dataclass(frozen=True)
class Answer:
    """One model's answer: its top classes, empty for a feature backbone, and the median time of a pass in seconds."""

    predictions: list[Prediction]
    seconds: float


@dataclass(frozen=True)
class Pair:
    """The answers of both models.

    Attributes:
        first, second: each model's answer.
        difference: largest absolute difference between their logits, or features.
        cosine: cosine similarity of their logits, or features, −1 … 1.
    """

    first: Answer
    second: Answer
    difference: float
    cosine: float


def compare_models(first: Classifier, second: Classifier, tensor: torch.Tensor, engine: Engine, *, top: int = 5) -> Pair:
    """Run both models on one model input, (3, height, width)."""
    batch = tensor[None]  # (1, 3, height, width)
    outputs: dict[int, torch.Tensor] = {}
    seconds: dict[int, list[float]] = {0: [], 1: []}
    for number in range(ROUNDS + 1):
        for side, model in enumerate((first, second)):
            logits, elapsed = engine.logits(model, batch)
            outputs[side] = logits[0]
            if number:
                seconds[side].append(elapsed)
    first_answer, second_answer = (
        Answer(top_classes(outputs[side], model.labels, top) if model.labels else [], statistics.median(seconds[side]))
        for side, model in enumerate((first, second))
    )
    difference = float((outputs[0] - outputs[1]).abs().max())
    return Pair(first_answer, second_answer, difference, float(torch.cosine_similarity(outputs[0], outputs[1], dim=0)))
