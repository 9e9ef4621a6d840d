"""What a run has come to: figures, mistakes, and the baselines that a gain has to be measured against."""

from collections.abc import Iterable, Sequence

import torch

from vitdemo.finetune.data.dataset import Dataset, Sample
from vitdemo.finetune.learning import head
from vitdemo.finetune.learning.head import LabelledFeatures
from vitdemo.finetune.scores import NEIGHBOURS, ClassifierScores, as_rows, confusion, interval, nearest, score

WORST = 12  # mistakes listed


def of(
    data: Dataset,
    samples: Sequence[Sample],
    logits: torch.Tensor,
    targets: torch.Tensor,
    known: LabelledFeatures,
    features: torch.Tensor,
    first: dict[str, torch.Tensor],
) -> dict:
    """The figures of answers `logits` (photos, classes) to `samples`, whose class indices are `targets`.

    Args:
        known: the training photos' features of the model as it was, for the baselines.
        features: the samples' own.
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
            "the commonest class": _figures(
                ClassifierScores(confusion(torch.full_like(targets, _commonest(known.targets)), targets, classes))
            ),
        },
        "photos": rows,
        "worst": sorted(wrong, key=lambda index: -rows[index]["probability"])[:WORST],
    }


def guesses(data: Dataset, samples: Sequence[Sample], logits: torch.Tensor, places: Iterable[int]) -> list[dict]:
    """Name, true class, answer and its probability of the samples at these places."""
    probabilities, taken = logits.softmax(-1).max(-1)
    return [
        {
            "photo": samples[place].item.name,
            "label": samples[place].label,
            "taken": data.classes[int(taken[place])],
            "probability": float(probabilities[place]),
        }
        for place in places
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
