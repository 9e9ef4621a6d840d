"""From the folders of photos to classes and splits.

One sub-folder for each class, or folders for the splits with class folders inside, or class folders with the splits inside. Split
folders are known by their names, such as `train`, `Testing` or `seg_train`; folders without such a name that hold the same sub-folders
are splits too.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from vitdemo.core.errors import UserError
from vitdemo.core.names import one_spelling, shown_name
from vitdemo.core.outputs import as_utf8
from vitdemo.core.photos.gallery import Item
from vitdemo.finetune.data.dataset import NAMED, SPLITS, TEST, TRAIN, VALIDATION, Sample, list_files, list_names

AS_CLASS, ALL = "class", "all"  # what a folder may be taken as besides a split: a class; or photos to divide into train and validation
TAKEN_AS = (*SPLITS, ALL, AS_CLASS, "")  # "" leaves the folder out
WORDS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), TEST),
}
PLAIN = {"train": TRAIN, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION, "test": TEST}  # names that need no note
_END = re.compile(r"(set|data|images?|imgs?|photos?)$")  # of a word, as in “trainset”


class Placed(NamedTuple):
    """Photos with their classes.

    Attributes:
        samples: one for each photo that has a class.
        notes: what was left out and what to beware of, one sentence each.
        folders: folder → what it was taken as, one of `TAKEN_AS`; empty where the folders are classes and nobody took them as such.
    """

    samples: list[Sample]
    notes: list[str]
    folders: dict[str, str]


class NothingToLearn(UserError):
    """Photos that no training can use; `placed` is how far they were understood."""

    def __init__(self, problem: str, placed: Placed):
        super().__init__(problem)
        self.placed = placed


def place(
    items: Sequence[Item],
    root: Path | None = None,
    changes: Mapping[str, str] | None = None,
    taken_as: Mapping[str, str] | None = None,
) -> Placed:
    """Find each photo's class and split from the folders in its name.

    Args:
        root: the folder that all names begin with; without it, the folders that all names begin with are skipped.
        changes: class name → new name; the same new name for two classes merges them, and an empty one leaves the class out.
        taken_as: folder → one of `TAKEN_AS`, where that is not what its name says. A folder taken as a class makes all of them classes.

    Raises: NothingToLearn where there are fewer than two classes, or none but in validation and test.
    """
    damaged = [item.error for item in items if item.error]  # such as a zip, which may have been a class
    items = [item for item in items if not item.error]
    given = _unwrapped([_folders_of(item, root) for item in items])
    paths = _splits_first(given)
    told = {one_spelling(folder): taken for folder, taken in (taken_as or {}).items()}
    folders = _splits_among(paths, told)
    splits = {} if AS_CLASS in folders.values() else folders
    names = ClassNames(changes)
    samples, loose, deep, left_out = [], [], set(), Counter[str]()
    for item, lies, path in zip(items, given, paths, strict=True):
        split = ""
        if splits and path:
            if not (split := splits[path[0]]):
                left_out[path[0]] += 1
                continue
            path = _without_repetition(path)
        if not path:
            loose.append("/".join((*lies[-1:], item.shown)))
            continue
        if len(path) > 1:
            deep.add(path[0])
        if label := names.of(path[0]):
            samples.append(Sample(item, label, "" if split == ALL else split))
    notes = [
        *damaged[:NAMED],
        *_about_splits(splits, left_out, told),
        *([f"{list_files(loose)} beside the class folders: left out."] if loose else []),
    ]
    if deep:
        have, own = ("has", "class's") if len(deep) == 1 else ("have", "classes'")
        notes.append(f"{list_names(sorted(deep))} {have} folders inside: their photos count as the {own} own.")
    placed = Placed(samples, [*notes, *names.notes()], folders)
    if splits and all(sample.split in (VALIDATION, TEST) for sample in samples):
        problem = "There is nothing to learn from: take a folder with classes as train, or as train and validation together."
        raise NothingToLearn(problem, placed)
    if len(names.labels) < 2:
        problem = f"There is one class only, “{shown_name(names.labels[0])}”" if names.labels else "There are no class folders"
        raise NothingToLearn(f"{problem}: give a folder with one sub-folder of photos for each of at least two classes.", placed)
    return placed


def chosen(items: Sequence[Item], labels: Sequence[str], changes: Mapping[str, str] | None = None) -> Placed:
    """Give each photo the class that the user chose for it; `changes` as in `place`.

    Raises: NothingToLearn where there are fewer than two classes.
    """
    names = ClassNames(changes)
    samples = [Sample(item, new) for item, label in zip(items, labels, strict=True) if (new := names.of(label))]
    placed = Placed(samples, names.notes(), {})
    if len(names.labels) < 2:
        problem = f"“{shown_name(names.labels[0])}” is the only class so far" if names.labels else "There is no class left"
        raise NothingToLearn(f"{problem}: select other photos in Embeddings and send them as another class.", placed)
    return placed


class ClassNames:
    """The names of classes, renamed as the user wishes. Two names are one class where they are equal but for Unicode's forms."""

    def __init__(self, changes: Mapping[str, str] | None = None):
        self._changes = {one_spelling(old): new for old, new in (changes or {}).items()}
        self._labels: dict[str, str] = {}  # one spelling → as first given

    @property
    def labels(self) -> list[str]:
        """The classes so far."""
        return list(self._labels.values())

    def of(self, folder: str) -> str:
        """The class that a folder's photos belong to; empty for one that is left out."""
        label = as_utf8(folder)
        label = self._changes.get(one_spelling(label), label)
        return self._labels.setdefault(one_spelling(label), label) if label else ""

    def notes(self) -> list[str]:
        """A sentence for each group of classes that may be one, written in several ways."""
        alike: dict[str, list[str]] = {}
        for label in self.labels:
            alike.setdefault(" ".join(one_spelling(label).split()).casefold(), []).append(label)
        return [
            f"{list_names(sorted(group))} differ only in upper and lower case or spaces, and count as {len(group)} classes: if they are "
            "one, rename one to the other."
            for group in alike.values()
            if len(group) > 1
        ]


def _folders_of(item: Item, root: Path | None) -> tuple[str, ...]:
    """The folders in an item's name; a zip counts as a folder with its name."""
    name = PurePath(item.name)
    parts = (name.relative_to(root) if root else name).parts[:-1]
    if item.archive is None:
        return parts
    parts = tuple(part[:-4] if part.lower().endswith(".zip") else part for part in parts)
    return tuple(part for before, part in zip((None, *parts), parts, strict=False) if part != before)  # cat.zip/cat/… is one folder


def _unwrapped(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without the folders that hold all others. Photos beside such a folder have no folder any more."""
    while len({path[0] for path in paths if path}) == 1 and any(len(path) > 1 for path in paths):
        paths = [path[1:] for path in paths]
    return paths


def _splits_first(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The same paths, with the two topmost folders exchanged where the splits lie in the classes, as in `cat/train` and `cat/test`."""
    inside = [path for path in paths if len(path) > 1]
    outer, inner = {path[0] for path in paths if path}, {WORDS.get(_word_of(path[1]), "") for path in inside}
    if len(inner) < 2 or "" in inner or all(map(_word_of, outer)):
        return paths
    if {path[0] for path in inside} != outer or 2 * len(inside) < len(paths):
        return paths
    return [(path[1], path[0], *path[2:]) if len(path) > 1 else () for path in paths]


def _splits_among(paths: list[tuple[str, ...]], taken_as: Mapping[str, str]) -> dict[str, str]:
    """What each topmost folder is taken as, sorted by folder; empty where they are classes and `taken_as` has none of them."""
    inside: dict[str, set[str]] = {}  # folder → the folders in it
    nested, photos = Counter[str](), Counter[str]()
    for path in paths:
        if path:
            photos[path[0]] += 1
            below = _without_repetition(path)
            inside.setdefault(path[0], set())
            if below:
                nested[path[0]] += 1
                inside[path[0]].add(one_spelling(below[0]))
    folders = sorted(inside)
    told = {folder: taken_as[one_spelling(folder)] for folder in folders if one_spelling(folder) in taken_as}
    if AS_CLASS in told.values():
        return dict.fromkeys(folders, AS_CLASS)
    holding = [folder for folder in folders if 2 * nested[folder] >= photos[folder]]  # classes, most of them
    named = {folder: split for folder in folders if (split := WORDS.get(_word_of(folder), ""))}
    alike = len(folders) > 1 and all(len(inside[folder]) > 1 and inside[folder] == inside[folders[0]] for folder in folders)
    if not told and not alike and not _are_splits(named, folders, holding):
        return {}
    others = ALL if alike and len(set(named.values())) < 2 else ""
    found = {folder: named.get(folder, others) for folder in folders}
    if TRAIN not in found.values() and ALL not in found.values():  # what there is besides the test is learned from
        only = VALIDATION if VALIDATION in found.values() else TEST
        found |= {folder: ALL for folder, split in found.items() if split == only}
    return found | told


def _are_splits(named: Mapping[str, str], folders: Sequence[str], holding: Sequence[str]) -> bool:
    """Whether folders are splits: two have names of different splits and one of these holds classes, or one has the name of train and all
    of them hold classes."""
    different = len(set(named.values())) > 1 and not named.keys().isdisjoint(holding)
    return different or (TRAIN in named.values() and len(holding) == len(folders))


def _about_splits(splits: Mapping[str, str], left_out: Counter[str], told: Mapping[str, str]) -> list[str]:
    """What folders were taken for, and which were left out with how many photos."""
    notes = []
    if any(PLAIN.get(folder.casefold()) != split for folder, split in splits.items()):
        what = {ALL: "train and validation together", "": "nothing"}
        taken = [f"“{shown_name(folder)}” as {what.get(split, split)}" for folder, split in splits.items()]
        doubtful = any(split == ALL and not _word_of(folder) for folder, split in splits.items())
        remedy = " If they are classes, take one as a class: then all are." if doubtful else ""
        notes.append(f"These folders are taken as splits: {', '.join(taken)}.{remedy}")
    asked = sorted(folder for folder in left_out if one_spelling(folder) in told)
    unnamed = sorted(left_out.keys() - set(asked))
    for folders, one, several in (
        (asked, "is left out, as asked", "are left out, as asked"),
        (unnamed, "is no split by its name: left out", "are no splits by their names: left out"),
    ):
        if count := sum(left_out[folder] for folder in folders):
            photos = f"{count:,} photo{'' if count == 1 else 's'}"
            notes.append(f"{list_names(folders)} with {photos} {one if len(folders) == 1 else several}.")
    return notes


def _word_of(folder: str) -> str:
    """The word in a folder's name that names a split, such as “train” in “Train_images”; empty where there is none, or several."""
    words = re.split(r"[^a-z]+", folder.casefold())
    found = {word for each in words for word in (each, _END.sub("", each)) if word in WORDS}
    return found.pop() if len(found) == 1 else ""


def _without_repetition(path: tuple[str, ...]) -> tuple[str, ...]:
    """The folders inside a split; some datasets have `seg_train/seg_train/…`."""
    split, *below = path
    return tuple(below[1:] if below and below[0] == split else below)
