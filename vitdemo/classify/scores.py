"""Accuracy of the model on a gallery whose folder names are names of the model's classes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vitdemo.classify.gallery import PredictionRow

BINS = 15  # equal bins of probability
MAX_OTHERS = 8  # wrong classes that no folder names, and that the confusion matrix has a column for


@dataclass(frozen=True)
class GalleryScores:
    """Scores of the photos whose folder name is the name of one of the model's classes. Label conflicts and photos
    that the model refused are left out.

    Attributes:
        photos: number of these photos.
        top1, top5: number of these photos whose class comes first, or among the first five.
        calibration_error: expected calibration error of the first class's probability over 15 equal bins (Naeini et al. 2015), 0 … 1.
        confusion: (folder, predicted class) → number of photos. A predicted class that a folder names has the folder's name.
        classes: folder or predicted class → the indices of its classes.
    """

    photos: int
    top1: int
    top5: int
    calibration_error: float
    confusion: Counter[tuple[str, str]]
    classes: dict[str, list[int]]

    @property
    def folders(self) -> list[str]:
        """The folders whose name is a class name, sorted."""
        return sorted({folder for folder, _ in self.confusion})

    @property
    def others(self) -> list[str]:
        """The most frequent predicted classes that are no folder's, at most MAX_OTHERS of them."""
        counts = Counter[str]()
        for (_, taken), count in self.confusion.items():
            counts[taken] += count * (taken not in self.folders)
        return sorted(+counts, key=lambda taken: (-counts[taken], taken))[:MAX_OTHERS]

    @property
    def columns(self) -> list[int]:
        """The indices of all classes of the `folders` and the `others`, which have columns of their own in the confusion matrix."""
        return [index for name in (*self.folders, *self.others) for index in self.classes[name]]

    @property
    def has_rest(self) -> bool:
        """Whether any prediction is in none of these columns."""
        return any(map(self.rest, self.folders))

    def total(self, folder: str) -> int:
        """Number of a folder's photos."""
        return sum(count for (actual, _), count in self.confusion.items() if actual == folder)

    def mistakes(self, most: int = 10) -> list[tuple[str, str, int]]:
        """The most frequent mistakes: (folder, predicted class, photos), at most `most` of them."""
        wrong = Counter({pair: count for pair, count in self.confusion.items() if pair[0] != pair[1]})
        return [(*pair, count) for pair, count in wrong.most_common(most)]

    def rest(self, folder: str) -> int:
        """Number of a folder's photos whose predicted class is neither a folder's name nor one of the `others`."""
        return sum(
            count for (actual, taken), count in self.confusion.items() if actual == folder and taken not in (*self.folders, *self.others)
        )


def score(rows: Iterable[PredictionRow]) -> GalleryScores | None:
    """Score the rows against their folder names. Returns: None where no folder name is a class name."""
    labelled = [(row, row.predictions) for row in rows if row.predictions and row.meant and not row.conflict]
    if not labelled:
        return None
    classes = {row.folder: [label.index for label in row.meant] for row, _ in labelled}
    folder_of = {index: folder for folder, indices in classes.items() for index in indices}
    confusion = Counter[tuple[str, str]]()
    for row, (first, *_) in labelled:
        taken = row.folder if row.correct else folder_of.get(first.label.index, first.label.short)
        confusion[row.folder, taken] += 1
        if first.label.index not in folder_of:
            classes[taken] = sorted({*classes.get(taken, ()), first.label.index})
    return GalleryScores(
        photos=len(labelled),
        top1=sum(bool(row.correct) for row, _ in labelled),
        top5=sum(any(prediction.label in row.meant for prediction in predictions[:5]) for row, predictions in labelled),
        calibration_error=calibration_error([(predictions[0].probability, bool(row.correct)) for row, predictions in labelled]),
        confusion=confusion,
        classes=classes,
    )


def left_out(rows: Sequence[PredictionRow]) -> str:
    """A sentence about the photos whose copies lie in folders of different classes, and one about those refused; empty without any."""
    conflicts = sum(bool(row.conflict) for row in rows)
    refused = sum(row.predictions == [] and bool(row.meant) and not row.conflict for row in rows)
    said = [f"{conflicts:,} photos are copies in folders of different classes: they count neither as correct nor as wrong."] * bool(
        conflicts
    )
    if refused:
        who, verb = ("photos", "were") if refused > 1 else ("photo", "was")
        said.append(f"{refused:,} {who} with a known class {verb} refused as unfamiliar, and left out of the accuracy.")
    return " ".join(said)


def calibration_error(judged: list[tuple[float, bool]]) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over equal bins of probability, weighted by their photos.

    Args:
        judged: for each photo, the probability of the predicted class and whether that class is right.
    """
    bins: dict[int, list[tuple[float, bool]]] = {}
    for probability, right in judged:
        bins.setdefault(min(int(probability * BINS), BINS - 1), []).append((probability, right))
    return sum(abs(sum(right - probability for probability, right in members)) for members in bins.values()) / len(judged)
