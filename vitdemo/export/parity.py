"""Does the exported model give the same answers as the original, and how fast? Both are measured in turn, in one run."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.labels import ClassNames
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.prefetch import photos_ahead
from vitdemo.core.photos.preprocessing import Preprocessing
from vitdemo.export.runtimes import Runner

AGREES = 0.95  # share of photos with the same top-1 class from which an exported model agrees with its original
LOSS = 0.015  # accuracy that an exported model may lose, where there are labels
NEAR = 0.99  # cosine similarity from which two feature vectors agree
NAMED = 3  # photos that a sentence lists by name
BATCHES = (1, 8)
ROUNDS, PATIENCE = 7, 30.0  # timed rounds; seconds after which no new round begins


@dataclass(frozen=True, eq=False)
class ParitySample:
    """Cropped photos to compare on, with the original's answers.

    Attributes:
        crops: (photos, height, width, 3) uint8.
        preprocessing: the model's own.
        answers: the original's logits (photos, classes), or features (photos, width).
        targets: for each photo the classes that its folder's name stands for; empty where it stands for none.
        items: the photos' files.
        source: a description of the photos, for people.
        given: whether somebody gave them for this export.
        notes: which photos are not compared on, one sentence for each reason.
    """

    crops: np.ndarray
    preprocessing: Preprocessing
    answers: np.ndarray
    targets: list[frozenset[int]]
    items: list[Item]
    source: str
    given: bool = True
    notes: tuple[str, ...] = ()

    def inputs(self, indices: Iterable[int], *, baked: bool) -> np.ndarray:
        """Return the photos at these indices as the exported graph takes them."""
        return inputs(self.crops[list(indices)], self.preprocessing, baked=baked)


def inputs(crops: np.ndarray, preprocessing: Preprocessing, *, baked: bool) -> np.ndarray:
    """Return crops as the exported graph takes them: unchanged where preprocessing is baked in, else normalised."""
    return crops if baked else normalised(crops, preprocessing)


def normalised(crops: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Normalise crops (photos, height, width, 3) uint8 → (photos, 3, height, width) float32."""
    return torch.stack([preprocessing.normalised(Image.fromarray(crop)) for crop in crops]).numpy()


@dataclass(frozen=True)
class Agreement:
    """How close the exported model is to its original.

    Attributes:
        photos: number of photos compared.
        largest, mean: largest and mean difference between logits, or features.
        agreement: share of photos with the same top-1 class; for features, with a cosine similarity of 0.99 or more.
        top5: share of photos with the same top five classes in the same order; None for features.
        accuracy, accuracy_before: top-1 accuracy on the labelled photos, exported and original; None without labels.
        labelled: number of photos with a label.
    """

    photos: int
    largest: float
    mean: float
    agreement: float
    top5: float | None
    accuracy: float | None
    accuracy_before: float | None
    labelled: int

    @property
    def agrees(self) -> bool:
        """Whether enough photos have the same top-1 class, and the accuracy is kept."""
        kept = self.accuracy is None or self.accuracy_before is None or self.accuracy >= self.accuracy_before - LOSS - 1e-9
        return self.agreement >= AGREES and kept


def read_sample(
    items: list[Item], source: str, vit: Vit, engine: Engine, settings: Settings, *, given: bool = True
) -> Iterator[int | ParitySample]:
    """Read the photos and run the original on them. Yields the number of photos done after each batch, and finally the ParitySample.

    Raises: UserError where none of the photos can be read.
    """
    preprocessing, names = vit.preprocessing, ClassNames(vit.labels)
    crops, targets, read, unreadable, copies = [], [], list[Item](), [], 0
    for ready in photos_ahead(items, lambda photo: np.asarray(preprocessing.crop(photo.image)), settings, ahead=16):
        if ready.made is not None:
            crops.append(ready.made)
            targets.append(names.meant(ready.item.folder))
            read.append(ready.item)
        elif ready.error:
            unreadable.append(ready.item.shown)
        else:
            copies += 1
    if not crops:
        raise UserError("None of the photos to compare on can be read: give others.")
    if sum(map(bool, targets)) < len(targets) / 2:  # only a few folder names happen to be classes
        targets = [frozenset()] * len(targets)
    stacked, answers = np.stack(crops), []
    for part in _parts(len(crops)):
        answers.append(engine.logits(vit, torch.from_numpy(normalised(stacked[part], preprocessing)))[0].numpy())
        yield sum(map(len, answers))
    yield ParitySample(stacked, preprocessing, np.concatenate(answers), targets, read, source, given, _left_out(unreadable, copies))


def _left_out(unreadable: list[str], copies: int) -> tuple[str, ...]:
    """A sentence for each reason why photos are not compared on."""
    sentences = []
    if unreadable:
        more = f" and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
        named = ", ".join(f"“{name}”" for name in unreadable[:NAMED]) + more
        sentences.append(f"{len(unreadable)} of the photos can't be read and {'is' if len(unreadable) == 1 else 'are'} left out: {named}.")
    if copies:
        sentences.append(f"{copies} of the photos {'is a copy of another' if copies == 1 else 'are copies of others'}, and left out.")
    return tuple(sentences)


def compare(sample: ParitySample, run: Runner, output: str, *, baked: bool, labelled: bool) -> Iterator[int | Agreement]:
    """Run the exported model on the sample. Yields the number of photos done after each batch, and finally the Agreement.

    Args:
        output: name of the output to compare.
        labelled: whether the answers are logits, not features.
    """
    answers = []
    for part in _parts(len(sample.crops)):
        answers.append(run(sample.inputs(part, baked=baked))[output])
        yield sum(map(len, answers))
    yield agreement(sample, np.concatenate(answers), labelled)


def _parts(count: int) -> Iterator[range]:
    size = max(BATCHES)
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def agreement(sample: ParitySample, found: np.ndarray, labelled: bool) -> Agreement:
    """Compare the exported model's answers `found` (photos, classes) with the original's."""
    before = sample.answers
    difference = np.abs(found - before)
    if not labelled:
        cosine = (found * before).sum(1) / np.maximum(np.linalg.norm(found, axis=1) * np.linalg.norm(before, axis=1), 1e-12)
        return Agreement(len(found), float(difference.max()), float(difference.mean()), float((cosine >= NEAR).mean()), None, None, None, 0)
    top = min(5, found.shape[1])
    order, order_before = np.argsort(-found, 1, "stable")[:, :top], np.argsort(-before, 1, "stable")[:, :top]
    judged = [(now[0] in meant, then[0] in meant) for now, then, meant in zip(order, order_before, sample.targets, strict=True) if meant]
    return Agreement(
        photos=len(found),
        largest=float(difference.max()),
        mean=float(difference.mean()),
        agreement=float((order[:, 0] == order_before[:, 0]).mean()),
        top5=float((order == order_before).all(1).mean()),
        accuracy=sum(now for now, _ in judged) / len(judged) if judged else None,
        accuracy_before=sum(then for _, then in judged) / len(judged) if judged else None,
        labelled=len(judged),
    )


def time_in_turn(sides: dict[str, Callable[[int], object]]) -> dict[str, dict[int, float]]:
    """Return the median seconds of each side at each batch size. The sides take turns; the first round is a warm-up.

    Args:
        sides: name → function that runs that side on a batch of the given size.
    """
    medians: dict[str, dict[int, float]] = {name: {} for name in sides}
    for batch in BATCHES:
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        begin = time.perf_counter()
        for number in range(ROUNDS + 1):
            for name, side in sides.items():
                start = time.perf_counter()
                side(batch)
                if number:
                    seconds[name].append(time.perf_counter() - start)
            if number and time.perf_counter() - begin > PATIENCE:
                break
        for name, times in seconds.items():
            medians[name][batch] = statistics.median(times)
    return medians
