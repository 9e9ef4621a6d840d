"""Accuracy of the model on a gallery whose folder names are names of the model's classes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from vitdemo.classify.gallery import PredictionRow
from vitdemo.core.models.labels import ClassNames, Label

BINS = 15  # equal bins of probability


@dataclass(frozen=True)
class GalleryScores:
    """Scores of the photos whose folder name is the name of one of the model's classes.

    Attributes:
        photos: number of these photos.
        top1, top5: number of these photos whose class comes first, or among the first five.
        calibration_error: expected calibration error of the first class's probability over 15 equal bins (Naeini et al. 2015), 0 … 1.
        confusion: (folder, predicted class) → number of photos. A predicted class that a folder names has the folder's name.
    """

    photos: int
    top1: int
    top5: int
    calibration_error: float
    confusion: Counter[tuple[str, str]]

    @property
    def folders(self) -> list[str]:
        """The folders whose name is a class name, sorted."""
        return sorted({folder for folder, _ in self.confusion})

    def mistakes(self, most: int = 10) -> list[tuple[str, str, int]]:
        """The most frequent mistakes: (folder, predicted class, photos), at most `most` of them."""
        wrong = Counter({pair: count for pair, count in self.confusion.items() if pair[0] != pair[1]})
        return [(*pair, count) for pair, count in wrong.most_common(most)]

    def elsewhere(self, folder: str) -> int:
        """Number of a folder's photos whose predicted class is no folder's name."""
        return sum(count for (actual, taken), count in self.confusion.items() if actual == folder and taken not in self.folders)


def score(rows: Iterable[PredictionRow], labels: Iterable[Label]) -> GalleryScores | None:
    """Score the rows against their folder names. Returns: None where no folder name is a class name."""
    names = ClassNames(labels)
    labelled = [(row, meant) for row in rows if row.predictions and (meant := names.meant(row.folder))]
    if not labelled:
        return None
    folder_of = {index: row.folder for row, true_classes in labelled for index in true_classes}  # class index → folder
    hits = [[prediction.label.index in true_classes for prediction in (row.predictions or [])[:5]] for row, true_classes in labelled]
    firsts = [row.predictions[0] for row, _ in labelled if row.predictions]
    predicted = [
        row.folder if hit[0] else folder_of.get(first.label.index, first.label.short)
        for (row, _), hit, first in zip(labelled, hits, firsts, strict=True)
    ]
    return GalleryScores(
        photos=len(labelled),
        top1=sum(hit[0] for hit in hits),
        top5=sum(any(hit) for hit in hits),
        calibration_error=calibration_error([(first.probability, hit[0]) for first, hit in zip(firsts, hits, strict=True)]),
        confusion=Counter((row.folder, name) for (row, _), name in zip(labelled, predicted, strict=True)),
    )


def calibration_error(judged: list[tuple[float, bool]]) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over equal bins of probability, weighted by their photos.

    Args:
        judged: for each photo, the probability of the predicted class and whether that class is right.
    """
    bins: dict[int, list[tuple[float, bool]]] = {}
    for probability, right in judged:
        bins.setdefault(min(int(probability * BINS), BINS - 1), []).append((probability, right))
    return sum(abs(sum(right - probability for probability, right in members)) for members in bins.values()) / len(judged)
