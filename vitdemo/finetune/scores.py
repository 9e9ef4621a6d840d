"""How good a classifier is: scores, confidence interval, and the k-NN baseline that it has to beat."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

NEIGHBOURS = 5  # k of the k-NN baseline
LEVEL = 0.05  # probability of a difference by chance below which it counts


@dataclass(frozen=True, eq=False)
class ClassifierScores:
    """Scores of one set of predictions.

    Attributes:
        confusion: (classes, classes) counts; a row is a true class, a column a predicted class.
        loss: mean cross-entropy; None where the predictions have no probabilities.
    """

    confusion: torch.Tensor
    loss: float | None = None

    @property
    def photos(self) -> int:
        """Number of photos scored."""
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        """Number of correct predictions."""
        return int(self.confusion.diagonal().sum())

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
        return self.right / max(1, self.photos)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur as true or as predicted class."""
        seen = (self.confusion.sum(0) + self.confusion.sum(1)) > 0
        return float(self._f1()[seen].mean()) if seen.any() else 0.0

    def per_class(self) -> list[dict]:
        """Return photos, precision, recall and F1 of each class; precision or recall is None where its denominator is 0."""
        hits, actual, predicted = self.confusion.diagonal(), self.confusion.sum(1), self.confusion.sum(0)
        return [
            {
                "photos": int(photos),
                "precision": float(hit / predictions) if predictions else None,
                "recall": float(hit / photos) if photos else None,
                "f1": float(f1),
            }
            for hit, photos, predictions, f1 in zip(hits, actual, predicted, self._f1(), strict=True)
        ]

    def _f1(self) -> torch.Tensor:
        hits = self.confusion.diagonal().double()
        return 2 * hits / (self.confusion.sum(0) + self.confusion.sum(1)).clamp(min=1)


def score(logits: torch.Tensor, targets: torch.Tensor) -> ClassifierScores:
    """Score logits (photos, classes) against class indices (photos,)."""
    loss = torch.nn.functional.cross_entropy(logits, targets).item() if len(targets) else None
    return ClassifierScores(confusion(logits.argmax(-1), targets, logits.shape[1]), loss)


def confusion(answers: torch.Tensor, targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Count predictions: (classes, classes); a row is a true class, a column a predicted class."""
    return torch.bincount(targets * classes + answers, minlength=classes**2).reshape(classes, classes)


def interval(right: float, photos: float) -> tuple[float, float]:
    """Return the 95 % confidence interval of an accuracy (Wilson 1927)."""
    if not photos:
        return 0.0, 1.0
    z, share = 1.959963984540054, right / photos
    middle = (share + z**2 / (2 * photos)) / (1 + z**2 / photos)
    half = z / (1 + z**2 / photos) * math.sqrt(share * (1 - share) / photos + z**2 / (4 * photos**2))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same photos.

    Attributes:
        won, lost: photos that only the first, or only the second, classifies correctly.
        p: how probable such a difference or a larger one is between equally good classifiers (McNemar's exact test, 1947).
    """

    won: int
    lost: int
    p: float

    @property
    def verdict(self) -> int:
        """1 where the first is better, -1 where the second is, 0 for a tie, at the level of 5 %."""
        return 0 if self.p >= LEVEL else 1 if self.won > self.lost else -1


def compare(first: torch.Tensor, second: torch.Tensor, targets: torch.Tensor) -> PairedTest:
    """Compare two classifiers' predicted classes with the true classes, all (N,)."""
    won, lost = int(((first == targets) & (second != targets)).sum()), int(((first != targets) & (second == targets)).sum())
    differing = won + lost
    tail = sum(math.comb(differing, count) for count in range(min(won, lost) + 1))
    return PairedTest(won, lost, min(1.0, tail / 2 ** max(0, differing - 1)))


def nearest(known: torch.Tensor, labels: torch.Tensor, asked: torch.Tensor, classes: int) -> torch.Tensor:
    """Classify photos by k-NN: the commonest class among the five nearest known photos by cosine; a tie goes to the nearer class.

    Args:
        known, asked: features of the labelled photos (N, width), and of the photos to classify (M, width).
        labels: class indices of `known`, (N,).

    Returns: class indices (M,).
    """
    known, asked = (torch.nn.functional.normalize(features, dim=-1) for features in (known, asked))
    near, places = (asked @ known.T).topk(min(NEIGHBOURS, len(known)))
    votes = torch.zeros(len(asked), classes).scatter_add_(1, labels[places], 1 + 1e-3 * near)
    return votes.argmax(-1)


def as_rows(scores: ClassifierScores, classes: Sequence[str]) -> list[dict]:
    """Return the rows of `per_class` with the class names."""
    return [{"label": label} | row for label, row in zip(classes, scores.per_class(), strict=True)]
