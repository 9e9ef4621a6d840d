"""From a folder of photos to classes and splits, with everything said that one should know before training on them.

One sub-folder a class, or `train/` and `val/` (`valid/`, `validation/`) with classes below; a `test/` beside them is for the end alone.
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
UNEVEN = 3  # times as many photos in one class as in another, from which it is said
NAMED = 3  # files or classes that a sentence names


@dataclass(frozen=True)
class Sample:
    """One photo to learn from or to be asked.

    Attributes:
        label: the class it belongs to.
        split: train, validation or test; empty while that is open.
        id: the sha256 of its bytes, once it has been read.
        error: why it can't be used, once that is known.
    """

    item: Item
    label: str
    split: str = ""
    id: str = ""
    error: str = ""


@dataclass(frozen=True)
class Dataset:
    """What is trained on and what is asked.

    Attributes:
        classes: the labels, in the order of the model's outputs.
        samples: every photo that takes part, its split decided.
        notes: what was left out and what to beware of, one sentence each.
    """

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()

    def of(self, split: str) -> list[Sample]:
        return [each for each in self.samples if each.split == split]

    def targets(self, samples: Iterable[Sample]) -> list[int]:
        """The class index of each."""
        place = {label: index for index, label in enumerate(self.classes)}
        return [place[each.label] for each in samples]

    def counts(self) -> dict[str, dict[str, int]]:
        """class → split → photos."""
        found = Counter((each.label, each.split) for each in self.samples)
        return {label: {split: found[label, split] for split in SPLITS} for label in self.classes}


def place(items: Sequence[Item], root: Path | None = None, changes: Mapping[str, str] | None = None) -> tuple[list[Sample], list[str]]:
    """Each photo's class and split, by the folders in its name.

    Args:
        root: the folder that the names begin with; else what they all begin with is passed over.
        changes: other names for classes; the same name for two merges them, and an empty one leaves the class out.

    Returns: the samples, and sentences on what was left out.
    Raises: UserError where there are fewer than two classes.
    """
    folders = [PurePath(item.name).relative_to(root).parts[:-1] if root else PurePath(item.name).parts[:-1] for item in items]
    while folders and all(folders) and len({each[0] for each in folders}) == 1 and any(len(each) > 1 for each in folders):
        folders = [each[1:] for each in folders]
    divided = any(each and SPLIT_FOLDERS.get(each[0].casefold()) == TRAIN for each in folders)
    samples, loose, deep, unknown = [], [], set(), set()
    spelling: dict[str, str] = {}
    for item, parts in zip(items, folders, strict=True):
        split = SPLIT_FOLDERS.get(parts[0].casefold(), "") if divided and parts else ""
        if divided and parts and not split:
            unknown.add(parts[0])
            continue
        own = parts[1:] if split else parts
        if not own:
            loose.append(item.shown)
            continue
        if len(own) > 1:
            deep.add(shown_name(own[0]))
        label = _renamed(shown_name(own[0].strip()), changes or {})
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
        had = f"There is one class only, “{next(iter(spelling.values()))}”" if spelling else "There are no class folders"
        raise UserError(f"{had}: give a folder with one sub-folder of photos for each of at least two classes.")
    return samples, notes


def chosen(items: Sequence[Item], labels: Sequence[str], changes: Mapping[str, str] | None = None) -> list[Sample]:
    """Each photo with the class that somebody chose for it; `changes` as in `place`.

    Raises: UserError where there are fewer than two classes.
    """
    spelling: dict[str, str] = {}
    named = [(item, _renamed(label, changes or {})) for item, label in zip(items, labels, strict=True)]
    samples = [Sample(item, spelling.setdefault(label.casefold(), label)) for item, label in named if label]
    if len(spelling) < 2:
        had = f"“{next(iter(spelling.values()))}” is the only class so far" if spelling else "There is no class left"
        raise UserError(f"{had}: choose other photos in Embeddings and send them as another class.")
    return samples


def settle(samples: Sequence[Sample], *, share: float, seed: int, notes: Sequence[str] = ()) -> Dataset:
    """Take the unusable photos out, and split the others where no split was given.

    Args:
        samples: each with its `id`, or its `error`.
        share: of each class, for validation, 0 < share < 1.
        seed: the same seed splits the same photos alike.
        notes: what to say as well.

    Raises: UserError where a class has too few photos left.
    """
    notes = list(notes)
    if bad := [each for each in samples if each.error]:
        notes.append(f"{_files([each.item.shown for each in bad], 'that can’t be read')}: left out.")
    kept = _without_duplicates([each for each in samples if not each.error], notes)
    labels = sorted({each.label for each in samples})
    taught = Counter(each.label for each in kept if each.split != TEST)
    for label in labels:
        if taught[label] < 2:
            has = f"has {taught[label] or 'no'} usable photo{'' if taught[label] else 's'}"
            torn = {each.id for each in samples if each.label == label and not each.error} - {each.id for each in kept}
            why = f" ({len(torn)} are in another class too, and count in neither)" if torn else ""
            raise UserError(f"“{label}” {has}{why}, and a class needs two at least: add photos to it, or leave the class out.")
    if any(each.split == VALIDATION for each in kept):
        kept = [each if each.split else replace(each, split=TRAIN) for each in kept]
        trained = {each.label for each in kept if each.split == TRAIN}
        if lacking := [label for label in labels if label not in trained]:
            raise UserError(f"{_named(lacking)} is in validation and not in train: add photos to train, or leave the class out.")
        if unasked := [label for label in labels if not any(each.label == label and each.split == VALIDATION for each in kept)]:
            notes.append(f"{_named(unasked)} has no photos in validation, so its own score is not known.")
    else:
        kept = _split(kept, labels, share, seed)
    if max(taught.values()) >= UNEVEN * min(taught.values()):
        (most, many), (least, few) = taught.most_common()[0], taught.most_common()[-1]
        notes.append(f"“{most}” has {many} photos and “{least}” {few}: the rarer a class, the more each of its photos counts.")
    return Dataset(tuple(labels), tuple(kept), tuple(notes))


def empty_folders(root: Path) -> list[str]:
    """A sentence for the class folders that hold nothing at all."""
    found = [each for each in sorted(root.iterdir()) if each.is_dir() and not each.name.startswith(".")]
    if any(SPLIT_FOLDERS.get(each.name.casefold()) for each in found):
        found = [inner for each in found for inner in sorted(each.iterdir()) if inner.is_dir() and not inner.name.startswith(".")]
    empty = [shown_name(each.name) for each in found if not any(each.iterdir())]
    return [f"{_named(empty)} is an empty folder: left out."] if empty else []


def _renamed(label: str, changes: Mapping[str, str]) -> str:
    new = changes.get(label, label).strip()
    return shown_name(new) if new else ""


def _without_duplicates(samples: list[Sample], notes: list[str]) -> list[Sample]:
    """Each photo once. A photo of two classes teaches nothing; one that is asked later must not be learned from."""
    alike: dict[str, list[Sample]] = defaultdict(list)
    for each in samples:
        alike[each.id].append(each)
    torn = {id for id, same in alike.items() if len({each.label for each in same}) > 1}
    if torn:
        notes.append(f"{_files([alike[id][0].item.shown for id in alike if id in torn], 'in two classes')}: left out of both.")
    leaks = [same for same in alike.values() if len({each.split for each in same}) > 1 and same[0].id not in torn]
    if leaks:
        names = [same[0].item.shown for same in leaks]
        notes.append(f"A leak: {_files(names, 'in more than one of train, validation and test')}, kept in the last of them only.")
    twice = [same[0].item.shown for same in alike.values() if len(same) > len({each.split for each in same}) and same[0].id not in torn]
    if twice:
        notes.append(f"{_files(twice, 'more than once in a class')}: counted once.")
    order = ("", *SPLITS)
    last = {id: max(same, key=lambda each: order.index(each.split)) for id, same in alike.items() if id not in torn}
    return [each for each in samples if last.get(each.id) is each]


def _split(samples: list[Sample], labels: list[str], share: float, seed: int) -> list[Sample]:
    """Stratified: the share of each class, one photo at least, and one left to learn from."""
    dice = np.random.default_rng(seed)
    chosen: set[int] = set()
    for label in labels:
        own = [index for index, each in enumerate(samples) if each.label == label and each.split != TEST]
        count = min(len(own) - 1, max(1, round(share * len(own))))
        chosen.update(np.array(own)[dice.permutation(len(own))[:count]].tolist())
    return [
        each if each.split == TEST else replace(each, split=VALIDATION if index in chosen else TRAIN) for index, each in enumerate(samples)
    ]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"“{each}”" for each in names[:NAMED]) + more


def _files(names: Sequence[str], what: str = "lying") -> str:
    return f"{len(names)} photo{'' if len(names) == 1 else 's'} {what} ({_named(names)})"
