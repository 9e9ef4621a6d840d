"""Turn a folder of photos into classes and splits, with a note on everything that the user should know before training.

One sub-folder per class, or `train/` and `val/` (`valid/`, `validation/`) with class folders inside; a `test/` next to them is used only
for the final report.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import shown_name

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
SPLIT_FOLDERS = {"train": TRAIN, "training": TRAIN, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION, "test": TEST}
UNEVEN = 3  # ratio of the largest class's photos to the smallest's from which a note warns
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
    """

    item: Item
    label: str
    split: str = ""
    id: str = ""
    error: str = ""


@dataclass(frozen=True)
class Dataset:
    """The photos to train on and to evaluate on.

    Attributes:
        classes: the labels, in the order of the model's outputs.
        samples: every photo that is used, with its split.
        notes: what was left out and what to beware of, one sentence each.
    """

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()

    def of(self, split: str) -> list[Sample]:
        """Return the samples of a split."""
        return [sample for sample in self.samples if sample.split == split]

    def targets(self, samples: Iterable[Sample]) -> list[int]:
        """Return the class index of each sample."""
        indices = {label: index for index, label in enumerate(self.classes)}
        return [indices[sample.label] for sample in samples]

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the photos: class → split → number of photos."""
        photos = Counter((sample.label, sample.split) for sample in self.samples)
        return {label: {split: photos[label, split] for split in SPLITS} for label in self.classes}


def place(items: Sequence[Item], root: Path | None = None, changes: Mapping[str, str] | None = None) -> tuple[list[Sample], list[str]]:
    """Find each photo's class and split from the folders in its name.

    Args:
        root: the folder that all names begin with; without it, the folders that all names begin with are skipped.
        changes: class name → new name; the same new name for two classes merges them, and an empty one leaves the class out.

    Returns: the samples, and sentences on what was left out.
    Raises: UserError where there are fewer than two classes.
    """
    folders = [PurePath(item.name).relative_to(root).parts[:-1] if root else PurePath(item.name).parts[:-1] for item in items]
    while folders and all(folders) and len({path[0] for path in folders}) == 1 and any(len(path) > 1 for path in folders):
        folders = [path[1:] for path in folders]
    has_splits = any(path and SPLIT_FOLDERS.get(path[0].casefold()) == TRAIN for path in folders)
    samples, loose, deep, unknown = [], [], set(), set()
    spelling: dict[str, str] = {}
    for item, parts in zip(items, folders, strict=True):
        split = SPLIT_FOLDERS.get(parts[0].casefold(), "") if has_splits and parts else ""
        if has_splits and parts and not split:
            unknown.add(parts[0])
            continue
        class_path = parts[1:] if split else parts
        if not class_path:
            loose.append(item.shown)
            continue
        if len(class_path) > 1:
            deep.add(shown_name(class_path[0]))
        label = _renamed(shown_name(class_path[0].strip()), changes or {})
        if label:
            samples.append(Sample(item, spelling.setdefault(label.casefold(), label), split))
    notes = []
    if loose:
        notes.append(f"{_files(loose)} beside the class folders: left out.")
    if unknown:
        notes.append(f"Beside train and validation, {_named(sorted(map(shown_name, unknown)))} can't be placed: left out.")
    if deep:
        notes.append(f"{_named(sorted(deep))} has folders inside: their photos count as the class's own.")
    if len(spelling) < 2:
        problem = f"There is one class only, “{next(iter(spelling.values()))}”" if spelling else "There are no class folders"
        raise UserError(f"{problem}: give a folder with one sub-folder of photos for each of at least two classes.")
    return samples, notes


def chosen(items: Sequence[Item], labels: Sequence[str], changes: Mapping[str, str] | None = None) -> list[Sample]:
    """Give each photo the class that the user chose for it; `changes` as in `place`.

    Raises: UserError where there are fewer than two classes.
    """
    spelling: dict[str, str] = {}
    named = [(item, _renamed(label, changes or {})) for item, label in zip(items, labels, strict=True)]
    samples = [Sample(item, spelling.setdefault(label.casefold(), label)) for item, label in named if label]
    if len(spelling) < 2:
        problem = f"“{next(iter(spelling.values()))}” is the only class so far" if spelling else "There is no class left"
        raise UserError(f"{problem}: select other photos in Embeddings and send them as another class.")
    return samples


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
        notes.append(f"{_files([sample.item.shown for sample in unreadable], 'that can’t be read')}: left out.")
    kept = _without_duplicates([sample for sample in samples if not sample.error], notes)
    labels = sorted({sample.label for sample in samples})
    counts = Counter(sample.label for sample in kept if sample.split != TEST)
    for label in labels:
        if counts[label] < 2:
            has = f"has {counts[label] or 'no'} usable photo{'' if counts[label] else 's'}"
            dropped = {sample.id for sample in samples if sample.label == label and not sample.error} - {sample.id for sample in kept}
            why = f" ({len(dropped)} are in another class too, and count in neither)" if dropped else ""
            raise UserError(f"“{label}” {has}{why}, and a class needs two at least: add photos to it, or leave the class out.")
    if any(sample.split == VALIDATION for sample in kept):
        kept = [sample if sample.split else replace(sample, split=TRAIN) for sample in kept]
        trained = {sample.label for sample in kept if sample.split == TRAIN}
        if untrained := [label for label in labels if label not in trained]:
            raise UserError(f"{_named(untrained)} is in validation and not in train: add photos to train, or leave the class out.")
        if unvalidated := [label for label in labels if not any(sample.label == label and sample.split == VALIDATION for sample in kept)]:
            notes.append(f"{_named(unvalidated)} has no photos in validation, so its own score is not known.")
    else:
        kept = _split(kept, labels, share, seed)
    if max(counts.values()) >= UNEVEN * min(counts.values()):
        (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
        notes.append(f"“{most}” has {many} photos and “{least}” {few}: the rarer a class, the more each of its photos counts.")
    return Dataset(tuple(labels), tuple(kept), tuple(notes))


def empty_folders(root: Path) -> list[str]:
    """Return a sentence that names the empty class folders; no sentence where there are none."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if any(SPLIT_FOLDERS.get(folder.name.casefold()) for folder in folders):
        folders = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    empty = [shown_name(folder.name) for folder in folders if not any(folder.iterdir())]
    return [f"{_named(empty)} is an empty folder: left out."] if empty else []


def _renamed(label: str, changes: Mapping[str, str]) -> str:
    new = changes.get(label, label).strip()
    return shown_name(new) if new else ""


def _without_duplicates(samples: list[Sample], notes: list[str]) -> list[Sample]:
    """Keep each photo once: not at all if it has two classes, else in its last split, so that no evaluated photo is trained on."""
    by_id: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_id[sample.id].append(sample)
    ambiguous = {id for id, copies in by_id.items() if len({copy.label for copy in copies}) > 1}
    if ambiguous:
        notes.append(f"{_files([by_id[id][0].item.shown for id in by_id if id in ambiguous], 'in two classes')}: left out of both.")
    leaks = [copies for copies in by_id.values() if len({copy.split for copy in copies}) > 1 and copies[0].id not in ambiguous]
    if leaks:
        names = [copies[0].item.shown for copies in leaks]
        notes.append(f"A leak: {_files(names, 'in more than one of train, validation and test')}, kept in the last of them only.")
    repeated = [
        copies[0].item.shown
        for copies in by_id.values()
        if len(copies) > len({copy.split for copy in copies}) and copies[0].id not in ambiguous
    ]
    if repeated:
        notes.append(f"{_files(repeated, 'more than once in a class')}: counted once.")
    order = ("", *SPLITS)
    kept = {id: max(copies, key=lambda copy: order.index(copy.split)) for id, copies in by_id.items() if id not in ambiguous}
    return [sample for sample in samples if kept.get(sample.id) is sample]


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


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"“{name}”" for name in names[:NAMED]) + more


def _files(names: Sequence[str], what: str = "lying") -> str:
    return f"{len(names)} photo{'' if len(names) == 1 else 's'} {what} ({_named(names)})"
