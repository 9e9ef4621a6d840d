"""The report of a run: scores, mistakes, and the baselines to compare with."""

from collections.abc import Iterable, Mapping, Sequence

import torch

from vitdemo.finetune.data.dataset import Dataset, Sample
from vitdemo.finetune.heads.head import LabelledFeatures
from vitdemo.finetune.scores import NEIGHBOURS, ClassifierScores, as_rows, compare, confusion, interval, nearest, score

WORST = 12  # most confident mistakes listed
HEAD, NEAREST, MAJORITY = "head only", f"{NEIGHBOURS} nearest neighbours", "majority class"  # the baselines' names


def of(
    data: Dataset,
    samples: Sequence[Sample],
    targets: torch.Tensor,
    logits: torch.Tensor,
    others: Mapping[str, torch.Tensor],
    worth: float = 1,
) -> dict:
    """Report on the predictions `logits` (photos, classes) for `samples`, whose class indices are `targets`.

    Args:
        others: name of a baseline → the classes that it predicts for the same photos, (photos,).
        worth: how many independent photos each counts as, for the intervals.
    """
    classes = len(data.classes)
    scores = score(logits, targets)
    per_class = zip(as_rows(scores, data.classes), scores.confusion.diagonal().tolist(), strict=True)
    rows = guesses(data, samples, logits, range(len(samples)))
    wrong = [index for index, row in enumerate(rows) if row["label"] != row["taken"]]
    baselines = {}
    for name, taken in others.items():
        test = compare(logits.argmax(-1), taken, targets)
        figures = _figures(ClassifierScores(confusion(taken, targets, classes)), worth)
        baselines[name] = figures | {"won": test.won, "lost": test.lost, "p": test.p, "verdict": test.verdict}
    return _figures(scores, worth) | {
        "loss": scores.loss,
        "per_class": [row | {"recall_interval": interval(worth * hits, worth * row["photos"])} for row, hits in per_class],
        "confusion": scores.confusion.tolist(),
        "baselines": baselines,
        "photos": rows,
        "worst": sorted(wrong, key=lambda index: -rows[index]["probability"])[:WORST],
    }


def baselines_of(
    known: LabelledFeatures, asked: LabelledFeatures, head_only: torch.Tensor, folds: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return the classes that the baselines predict, by name: the head alone, the nearest neighbours, the commonest class.

    Args:
        known: the features learned from.
        asked: the features of the photos to classify.
        head_only: (photos,) what the head alone predicts.
        folds: (photos,) the fold of each photo where `asked` are `known`: its neighbours are sought in the other folds.
    """
    classes = int(max(known.targets.max(), asked.targets.max())) + 1
    if folds is None:
        neighbours = nearest(known.inputs, known.targets, asked.inputs, classes)
    else:
        neighbours = torch.empty_like(asked.targets)
        for fold in range(int(folds.max()) + 1):
            held, others = folds == fold, folds != fold
            neighbours[held] = nearest(known.inputs[others], known.targets[others], asked.inputs[held], classes)
    commonest = torch.full_like(asked.targets, int(torch.bincount(known.targets).argmax()))
    return {HEAD: head_only, NEAREST: neighbours, MAJORITY: commonest}


def learning_curve(curve: Sequence[tuple[float, torch.Tensor]], targets: torch.Tensor, classes: Sequence[str]) -> list[dict]:
    """Return the cross-validated accuracy by the share of the photos that was learned from, of all photos and of each class.

    Args:
        curve: of a `CrossValidation`.
        targets: (photos,) class indices.
    """
    rows = []
    for share, logits in curve:
        scores = ClassifierScores(confusion(logits.argmax(-1), targets, len(classes)))
        recalls = {label: row["recall"] for label, row in zip(classes, scores.per_class(), strict=True)}
        figures = {"accuracy": scores.accuracy, "interval": interval(scores.right, scores.photos), "per_class": recalls}
        rows.append({"share": share, "photos": round(share * len(targets))} | figures)
    return rows


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


def _figures(scores: ClassifierScores, worth: float) -> dict:
    return {
        "accuracy": scores.accuracy,
        "right": scores.right,
        "of": scores.photos,
        "interval": interval(worth * scores.right, worth * scores.photos),
        "macro_f1": scores.macro_f1,
    }
