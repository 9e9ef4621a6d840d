"""The photos to train on and to evaluate on, in their splits, with a note on everything that the user should know before training.

Photos for test are used only for the final report.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.core.names import shown_name
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.prefetch import sum_up

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
UNEVEN = 3  # ratio of the largest class's photos to the smallest's from which a note warns
LISTED = 10  # classes with too few photos that an error lists
NAMED = 3  # files or classes that a sentence lists by name


@dataclass(frozen=True)
class Sample:
    """One photo to train on or to evaluate on.

    Attributes:
        item: the photo's file.
        label: the photo's class.
        split: train, validation or test; empty until it is decided.
        id: sha256 of the file's bytes; empty until the file is read.
        error: why the photo can't be used; empty otherwise.
        notes: what decoding changed, one sentence each.
    """

    item: Item
    label: str
    split: str = ""
    id: str = ""
    error: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """The photos to train on and to evaluate on.

    Attributes:
        classes: the labels, in the order of the model's outputs.
        samples: every photo that is used, with its split.
        notes: what was left out and what to beware of, one sentence each.
        drawn: whether the validation photos were drawn here, as no split was given.
    """

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    drawn: bool = False

    def of(self, split: str) -> list[Sample]:
        """Return the samples of a split."""
        return [sample for sample in self.samples if sample.split == split]

    def undivided(self) -> "Dataset":
        """Return the same photos, with those that were drawn for validation in train again: cross-validation needs no photos of its own."""
        if not self.drawn:
            return self
        samples = [replace(sample, split=TRAIN) if sample.split == VALIDATION else sample for sample in self.samples]
        return replace(self, samples=tuple(samples))

    def targets(self, samples: Iterable[Sample]) -> list[int]:
        """Return the class index of each sample."""
        indices = {label: index for index, label in enumerate(self.classes)}
        return [indices[sample.label] for sample in samples]

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the photos: class → split → number of photos."""
        photos = Counter((sample.label, sample.split) for sample in self.samples)
        return {label: {split: photos[label, split] for split in SPLITS} for label in self.classes}


def settle(samples: Sequence[Sample], *, share: float, seed: int, notes: Sequence[str] = ()) -> Dataset:
    """Leave out the unusable photos, and split the others where the user gave no split.

    Args:
        samples: each with its `id`, or its `error`.
        share: share of each class's photos for validation, 0 < share < 1.
        seed: the same seed splits the same photos in the same way.
        notes: further sentences for the dataset's notes.

    Raises: UserError where a class has too few photos left, or none in train.
    """
    notes = list(notes)
    if unreadable := [sample for sample in samples if sample.error]:
        notes.append(f"{list_files([_in_folder(sample.item) for sample in unreadable], 'that can’t be read')}: left out.")
    kept = _without_duplicates([sample for sample in samples if not sample.error], notes)
    notes += sum_up(sample.notes for sample in kept)
    labels = sorted({sample.label for sample in samples})
    counts = Counter(sample.label for sample in kept if sample.split != TEST)
    problems = []
    for label in labels:
        if counts[label] < 2:
            tested = any(sample.label == label and sample.split == TEST for sample in kept)
            has = f"has {counts[label] or 'no'} usable photo{'' if counts[label] else 's'}{' besides those for test' if tested else ''}"
            dropped = {sample.id for sample in samples if sample.label == label and not sample.error} - {sample.id for sample in kept}
            they = "1 is in another class too, and counts" if len(dropped) == 1 else f"{len(dropped)} are in another class too, and count"
            why = f" ({they} in neither)" if dropped else ""
            problems.append(f"“{shown_name(label)}” {has}{why}")
    if problems:
        them, out = ("it", "the class") if len(problems) == 1 else ("them", "these classes")
        listed = "; ".join(problems[:LISTED]) + (f"; {len(problems) - LISTED} more are like these" if len(problems) > LISTED else "")
        raise UserError(f"{listed}, and a class needs two at least: add photos to {them}, or leave {out} out.")
    drawn = not any(sample.split == VALIDATION for sample in kept)
    if not drawn:
        kept = [sample if sample.split else replace(sample, split=TRAIN) for sample in kept]
        trained = {sample.label for sample in kept if sample.split == TRAIN}
        if untrained := [label for label in labels if label not in trained]:
            are, them = ("is", "the class") if len(untrained) == 1 else ("are", "these classes")
            raise UserError(f"{list_names(untrained)} {are} in validation and not in train: add photos to train, or leave {them} out.")
        if unvalidated := [label for label in labels if not any(sample.label == label and sample.split == VALIDATION for sample in kept)]:
            have, own = ("has", "its own score is") if len(unvalidated) == 1 else ("have", "their own scores are")
            notes.append(f"{list_names(unvalidated)} {have} no photos in validation, so {own} not known.")
    else:
        kept = _split(kept, labels, share, seed)
    if max(counts.values()) >= UNEVEN * min(counts.values()):
        (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
        sizes = f"“{shown_name(most)}” has {many} photos and “{shown_name(least)}” {few}"
        notes.append(f"{sizes}: the rarer a class, the more each of its photos counts.")
    return Dataset(tuple(labels), tuple(kept), tuple(dict.fromkeys(notes)), drawn)


def _without_duplicates(samples: list[Sample], notes: list[str]) -> list[Sample]:
    """Keep each photo once: not at all if it has two classes, else in its last split, so that no evaluated photo is trained on."""
    by_id: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_id[sample.id].append(sample)
    order = ("", *SPLITS)
    kept = {
        id: max(copies, key=lambda copy: order.index(copy.split))
        for id, copies in by_id.items()
        if len({copy.label for copy in copies}) == 1
    }
    ambiguous: list[str] = []
    leaks: list[str] = []
    repeated: list[str] = []
    for sample in samples:
        twin = kept.get(sample.id)
        if twin is not sample:
            (ambiguous if twin is None else repeated if twin.split == sample.split else leaks).append(_in_folder(sample.item))
    if ambiguous:
        notes.append(f"{list_files(ambiguous, 'in two classes')}: left out of both.")
    if leaks:
        notes.append(f"A leak: {list_files(leaks, 'also in a later one of train, validation and test')}: left out of the earlier.")
    if repeated:
        notes.append(f"{list_files(repeated, 'equal to another in its class')}: left out.")
    return [sample for sample in samples if kept.get(sample.id) is sample]


def _in_folder(item: Item) -> str:
    """A photo's name with the folder that it lies in: many datasets number the photos of every class from 1."""
    return "/".join(PurePosixPath(item.name).parts[-2:])


def _split(samples: list[Sample], labels: list[str], share: float, seed: int) -> list[Sample]:
    """Split class by class (stratified): `share` of each class for validation, at least one photo for each split."""
    rng = np.random.default_rng(seed)
    validation: set[int] = set()
    for label in labels:
        indices = [index for index, sample in enumerate(samples) if sample.label == label and sample.split != TEST]
        count = min(len(indices) - 1, max(1, round(share * len(indices))))
        validation.update(np.array(indices)[rng.permutation(len(indices))[:count]].tolist())
    return [
        sample if sample.split == TEST else replace(sample, split=VALIDATION if index in validation else TRAIN)
        for index, sample in enumerate(samples)
    ]


def list_names(names: Sequence[str]) -> str:
    """Return the first few names, fit to be shown, and the number of the others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"“{shown_name(name)}”" for name in names[:NAMED]) + more


def list_files(names: Sequence[str], what: str = "lying") -> str:
    """Return the number of these photos, what is said of them, and the first few names."""
    return f"{len(names)} photo{'' if len(names) == 1 else 's'} {what} ({list_names(names)})"
