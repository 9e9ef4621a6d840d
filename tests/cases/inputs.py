"""What people give to programs like this one, a line for each report, with what is right. A new report is a new line."""

import os
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.pictures import png


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Zip:
    """A zip in a folder, with what it holds."""

    files: Mapping[str, "bytes | Link | Zip"]


@dataclass(frozen=True)
class Case:
    """Files, and what they are.

    Attributes:
        about: what somebody did.
        files: path → content.
        classes: class → number of its photos, in all splits.
        splits: split → number of photos, where the folders tell.
        notes: a part of each note that must be told.
        zipped: the encoding of the names, where the files are given as a zip that does not tell it.
        loose: photos that have no class.
    """

    about: str
    files: Mapping[str, bytes | Link | Zip]
    classes: Mapping[str, int]
    splits: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    zipped: str = ""
    loose: int = 0

    @property
    def on_disk(self) -> bool:
        """Whether the files are only to be had on a disk: a browser sends no links."""
        return any(isinstance(content, Link) for content in self.files.values())

    def make(self, folder: Path) -> Path:
        """Write the files. Returns: what is given."""
        if self.zipped:
            return write_zip(folder / "given.zip", self.files, self.zipped)
        write_files(folder / "given", self.files)
        return folder / "given"


def photos(*names: str) -> dict[str, bytes]:
    """Different photos under these names."""
    return {name: png(20, 16, seed) for seed, name in enumerate(names)}


def write_files(folder: Path, files: Mapping[str, bytes | Link | Zip]) -> None:
    """Write files and links below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target)
        elif isinstance(content, Zip):
            write_zip(path, content.files)
        else:
            path.write_bytes(content)


def write_zip(path: Path, files: Mapping[str, bytes | Link | Zip], encoding: str = "utf-8") -> Path:
    """Write a zip as many programs do: with the names' bytes as they are, and without the flag that tells their encoding."""
    raw = {name: name.encode(encoding) for name in files}
    stand_ins = {name: f"<{number:~>{len(raw[name]) - 2}}>" for number, name in enumerate(files)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            assert isinstance(content, bytes)
            assert len(stand_ins[name]) == len(raw[name]), "a longer name is needed"
            archive.writestr(stand_ins[name], content)
    data = path.read_bytes()
    for name, stand_in in stand_ins.items():
        assert data.count(stand_in.encode()) == 2  # in the list of entries, and before the member
        data = data.replace(stand_in.encode(), raw[name])
    path.write_bytes(data)
    return path


def uploads(given: Path) -> Iterator[tuple[str, Path]]:
    """A folder or zip as a browser sends it: every file with its name there."""
    if given.is_file():
        yield given.name, given
        return
    for folder, _, names in os.walk(given):
        for name in names:
            path = Path(folder, name)
            yield path.relative_to(given.parent).as_posix(), path


def decomposed(text: str) -> str:
    """A name as macOS writes it: letters and accents apart."""
    return unicodedata.normalize("NFD", text)


TWO = ("1.png", "2.png")
LONG = "Ablepharus kitaibelii subspecies {} from the dry southern slopes of the Rhodope mountains, adult specimen"


def classes(*names: str, inside: str = "") -> dict[str, bytes]:
    """Two photos for each class; `inside` is the folder that the classes lie in."""
    return photos(*(f"{inside}{name}/{photo}" for name in names for photo in TWO))


def splits(train: str, *others: str) -> dict[str, bytes]:
    """Classes cat and dog with two photos each in every split."""
    return photos(*(f"{split}/{name}/{photo}" for split in (train, *others) for name in ("cat", "dog") for photo in TWO))


CAT_DOG = {"cat": 2, "dog": 2}
GUESSED = ("does not say how its names are written: they are read as",)
CASES = [
    Case("plain folders", classes("cat", "dog"), CAT_DOG),
    Case("a zip of Debian or macOS: UTF-8 without the flag", classes("猫", "犬"), {"猫": 2, "犬": 2}, zipped="utf-8"),
    Case("a zip of Chinese Windows", classes("猫", "狗"), {"猫": 2, "狗": 2}, notes=GUESSED, zipped="gb18030"),
    Case("a zip of Japanese Windows, with 0x5C in a letter", classes("表", "ソ"), {"表": 2, "ソ": 2}, notes=GUESSED, zipped="cp932"),
    Case("a zip of Russian Windows", classes("кошка", "собака"), {"кошка": 2, "собака": 2}, notes=GUESSED, zipped="cp866"),
    Case("a zip of German DOS", classes("Käse", "Brötchen"), {"Käse": 2, "Brötchen": 2}, notes=GUESSED, zipped="cp437"),
    Case("a zip with backslashes", photos(*(f"{name}\\{photo}" for name in CAT_DOG for photo in TWO)), CAT_DOG, zipped="ascii"),
    Case(
        "names of downloads",
        photos("cat/a.jpg_large", "cat/b.jpg?w=640", "cat/c", "dog/d.pnm", "dog/e.dib", "dog/f.dat"),
        {"cat": 3, "dog": 3},
    ),
    Case(
        "other files among the photos",
        classes("cat", "dog") | {"cat/notes.txt": b"x", "dog/.DS_Store": b"x", "read.me": b"x"},
        CAT_DOG,
        notes=("3 files that are no photos are left out (1 .me, 1 .txt, 1 hidden).",),
    ),
    Case(
        "a class folder without photos",
        classes("cat", "dog") | {"bird/all.eps": b"%!PS", "bird/all.svg": b"<svg/>"},
        CAT_DOG,
        notes=("No photo was found in “bird”.", "(1 .eps, 1 .svg)"),
    ),
    Case("long names that differ in the middle", classes(LONG.format("a"), LONG.format("b")), {LONG.format("a"): 2, LONG.format("b"): 2}),
    Case("names with joiners", classes("گربه‌ها", "👩‍🔬"), {"گربه‌ها": 2, "👩‍🔬": 2}),
    Case(
        "classes that differ in case alone",
        classes("A", "a", "B", "b"),
        dict.fromkeys("AaBb", 2),
        notes=("“A”, “a” differ only in upper and lower case", "“B”, “b” differ only in upper and lower case"),
    ),
    Case(
        "a name in both of Unicode's forms",
        photos("café/1.png", decomposed("café") + "/2.png", *(f"tea/{each}" for each in TWO)),
        {"café": 2, "tea": 2},
    ),
    Case(
        "folders that are links",
        {**photos("store/cats/1.png", "store/cats/2.png", "dog/1.png", "dog/2.png"), "cat": Link("store/cats")},
        {"cat": 2, "dog": 2, "store": 2},
        notes=("“store” has folders inside",),
    ),
    Case(
        "a link back",
        classes("cat", "dog") | {"cat/all": Link("..")},
        CAT_DOG,
        notes=("“all” is a link back to a folder that it lies in: left out.",),
    ),
    Case("Training and Testing", splits("Training", "Testing"), {"cat": 4, "dog": 4}, {"train": 4, "test": 4}, ("“Training” as train",)),
    Case(
        "seg_train and seg_test in themselves, and seg_pred without classes",
        {
            **photos(*(f"{split}/{split}/{name}/{photo}" for split in ("seg_train", "seg_test") for name in CAT_DOG for photo in TWO)),
            **{f"seg_pred/seg_pred/{photo}": png(20, 16, 50 + number) for number, photo in enumerate(TWO)},
        },
        {"cat": 4, "dog": 4},
        {"train": 4, "test": 4},
        ("“seg_train” as train", "“seg_pred” with 2 photos is no split by its name: left out."),
        loose=2,
    ),
    Case(
        "train beside a test without classes",
        {**splits("train"), **{f"test/{photo}": png(20, 16, 50 + number) for number, photo in enumerate(TWO)}},
        CAT_DOG,
        {"train": 4},
        ("2 photos lying (“test/1.png”, “test/2.png”) beside the class folders: left out.",),
        loose=2,
    ),
    Case(
        "a class called train, and every class with the same folders inside",
        classes("front", "side", inside="train/") | classes("front", "side", inside="car/") | classes("front", "side", inside="bus/"),
        {"front": 6, "side": 6},
        notes=("“bus” as train and validation together", "If they are classes, take one as a class"),
    ),
    Case("train_set and test_set", splits("train_set", "test_set"), {"cat": 4, "dog": 4}, {"train": 4, "test": 4}, ("“test_set” as test",)),
    Case(
        "train_images and val_images",
        splits("train_images", "val_images"),
        {"cat": 4, "dog": 4},
        {"train": 4, "validation": 4},
        ("“val_images” as",),
    ),
    Case("val and test without train", splits("val", "test"), {"cat": 4, "dog": 4}, {"": 4, "test": 4}, ("“val” as train and validation",)),
    Case("train and dev", splits("train", "dev"), {"cat": 4, "dog": 4}, {"train": 4, "validation": 4}, ("“dev” as validation",)),
    Case("train and eval", splits("train", "eval"), {"cat": 4, "dog": 4}, {"train": 4, "validation": 4}, ("“eval” as validation",)),
    Case("Trainset and Holdout", splits("Trainset", "Holdout"), {"cat": 4, "dog": 4}, {"train": 4, "test": 4}, ("“Holdout” as test",)),
    Case("folders of the same classes", splits("monday", "tuesday"), {"cat": 4, "dog": 4}, {"": 8}, ("“monday” as train and validation",)),
    Case(
        "one wrapper with a stray picture beside it",
        {**classes("cat", "dog", inside="dataset/"), "cover.png": png(20, 16, 99)},
        CAT_DOG,
        notes=("1 photo lying (“cover.png”) beside the class folders: left out.",),
        loose=1,
    ),
    Case("a zip for each class", {"cat.zip": Zip(photos(*TWO)), "dog.zip": Zip(photos("3.png", "dog/4.png"))}, CAT_DOG),
]
