"""How right the model is, where the folders of a gallery name its classes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from vitdemo.classify.gallery import PredictionRow
from vitdemo.core.models.labels import Label, classes_named, normalise_name

BINS = 15


@dataclass(frozen=True)
class GalleryScores:
    """Of the photos whose folder names a class of the model.

    Attributes:
        photos: how many there are.
        top1, top5: how many of them have their class first, and among the first five.
        calibration_error: expected calibration error of the first class's probability over 15 equal bins (Naeini et al. 2015), 0 … 1.
        confusion: (folder, what the model took the photo for) → photos. A class that a folder names is called by the folder's name.
    """

    photos: int
    top1: int
    top5: int
    calibration_error: float
    confusion: Counter[tuple[str, str]]

    @property
    def folders(self) -> list[str]:
        """The folders that name a class, in order."""
        return sorted({folder for folder, _ in self.confusion})

    def mistakes(self, most: int = 10) -> list[tuple[str, str, int]]:
        """The commonest ones: folder, what the model took it for, photos."""
        wrong = Counter({pair: count for pair, count in self.confusion.items() if pair[0] != pair[1]})
        return [(*pair, count) for pair, count in wrong.most_common(most)]

    def elsewhere(self, folder: str) -> int:
        """How many of a folder's photos were taken for something that no folder names."""
        return sum(count for (true, taken), count in self.confusion.items() if true == folder and taken not in self.folders)


def score(rows: Iterable[PredictionRow], labels: Iterable[Label]) -> GalleryScores | None:
    """None where no folder names a class."""
    named = classes_named(labels)
    judged = [(row, named[normalise_name(row.folder)]) for row in rows if row.predictions and normalise_name(row.folder) in named]
    if not judged:
        return None
    folder_of = {index: row.folder for row, meant in judged for index in meant}  # of a class
    ranks = [[each.label.index in meant for each in row.predictions[:5]] for row, meant in judged]
    firsts = [row.predictions[0] for row, _ in judged]
    taken = [
        row.folder if right[0] else folder_of.get(first.label.index, first.label.name.split(",")[0])
        for (row, _), right, first in zip(judged, ranks, firsts, strict=True)
    ]
    return GalleryScores(
        photos=len(judged),
        top1=sum(right[0] for right in ranks),
        top5=sum(any(right) for right in ranks),
        calibration_error=calibration_error([(first.probability, right[0]) for first, right in zip(firsts, ranks, strict=True)]),
        confusion=Counter((row.folder, each) for (row, _), each in zip(judged, taken, strict=True)),
    )


def calibration_error(judged: list[tuple[float, bool]]) -> float:
    """The mean distance between how sure and how right, over equal bins of probability, weighted by their photos."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for probability, right in judged:
        bins.setdefault(min(int(probability * BINS), BINS - 1), []).append((probability, right))
    return sum(abs(sum(right - probability for probability, right in each)) for each in bins.values()) / len(judged)
