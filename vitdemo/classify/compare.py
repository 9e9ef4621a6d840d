"""Two models on the same photo: what each takes it for, how long each needs, and how far apart they are."""

import statistics
from dataclasses import dataclass

import torch

from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.classifier import Classifier
from vitdemo.core.models.predictions import Prediction, top_classes

ROUNDS = 5  # times each is asked, in turn, after one that doesn't count


@dataclass(frozen=True)
class Answer:
    """One model's: its likeliest classes, none where it gives features, and the median of the seconds it took."""

    predictions: list[Prediction]
    seconds: float


@dataclass(frozen=True)
class Pair:
    """Both answers.

    Attributes:
        difference: the largest, between their logits or features.
        cosine: the cosine similarity of these, −1 … 1.
    """

    first: Answer
    second: Answer
    difference: float
    cosine: float


def compare_models(first: Classifier, second: Classifier, tensor: torch.Tensor, engine: Engine, *, top: int = 5) -> Pair:
    """Both models' answers to one input, (3, height, width)."""
    batch, outputs, seconds = tensor[None], {}, {0: [], 1: []}  # (1, 3, height, width)
    for number in range(ROUNDS + 1):
        for side, model in enumerate((first, second)):
            found, took = engine.logits(model, batch)
            outputs[side] = found[0]
            if number:
                seconds[side].append(took)
    answers = [
        Answer(top_classes(outputs[side], model.labels, top) if model.labels else [], statistics.median(seconds[side]))
        for side, model in enumerate((first, second))
    ]
    difference = float((outputs[0] - outputs[1]).abs().max())
    return Pair(*answers, difference, float(torch.cosine_similarity(outputs[0], outputs[1], dim=0)))
