"""The report of a run: scores, mistakes, and the baselines to compare with."""

from collections.abc import Iterable, Sequence

import torch

from vitdemo.finetune.data.dataset import Dataset, Sample
from vitdemo.finetune.learning import head
from vitdemo.finetune.learning.head import LabelledFeatures
from vitdemo.finetune.scores import NEIGHBOURS, ClassifierScores, as_rows, confusion, interval, nearest, score

WORST = 12  # most confident mistakes listed


def of(
    data: Dataset,
    samples: Sequence[Sample],
    logits: torch.Tensor,
    targets: torch.Tensor,
    known: LabelledFeatures,
    features: torch.Tensor,
    first: dict[str, torch.Tensor],
) -> dict:
    """Report on the predictions `logits` (photos, classes) for `samples`, whose class indices are `targets`.

    Args:
        known: features of the training photos from the original model, for the baselines.
        features: features of `samples` from the original model.
        first: stage 1's head.
    """
    classes = len(data.classes)
    scores = score(logits, targets)
    neighbours = ClassifierScores(confusion(nearest(known.inputs, known.targets, features, classes), targets, classes))
    rows = guesses(data, samples, logits, range(len(samples)))
    wrong = [index for index, row in enumerate(rows) if row["label"] != row["taken"]]
    return _figures(scores) | {
        "loss": scores.loss,
        "per_class": as_rows(scores, data.classes),
        "confusion": scores.confusion.tolist(),
        "baselines": {
            "head only": _figures(score(head.answer(first, features), targets)),
            f"{NEIGHBOURS} nearest neighbours": _figures(neighbours),
            "majority class": _figures(ClassifierScores(confusion(torch.full_like(targets, _commonest(known.targets)), targets, classes))),
        },
        "photos": rows,
        "worst": sorted(wrong, key=lambda index: -rows[index]["probability"])[:WORST],
    }


def guesses(data: Dataset, samples: Sequence[Sample], logits: torch.Tensor, places: Iterable[int]) -> list[dict]:
    """List photo name, true class, predicted class and its probability for the samples at these indices."""
    probabilities, predicted = logits.softmax(-1).max(-1)
    return [
        {
            "photo": samples[index].item.name,
            "label": samples[index].label,
            "taken": data.classes[int(predicted[index])],
            "probability": float(probabilities[index]),
        }
        for index in places
    ]


def _figures(scores: ClassifierScores) -> dict:
    return {
        "accuracy": scores.accuracy,
        "right": scores.right,
        "of": scores.photos,
        "interval": interval(scores.right, scores.photos),
        "macro_f1": scores.macro_f1,
    }


def _commonest(targets: torch.Tensor) -> int:
    return int(torch.bincount(targets).argmax())
