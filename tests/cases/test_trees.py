"""Random trees of folders and zips: every file that is given is used, or counted in a note or a row with its reason.

VITDEMO_FUZZ trees from VITDEMO_FUZZ_SEED on; without them, a few that are always the same.
"""

import io
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.cases.inputs import Link, Zip, decomposed, uploads, write_files, write_zip
from tests.support.pictures import png
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import Gallery
from vitdemo.core.photos.prefetch import photos_ahead
from vitdemo.core.photos.search import find_items, uploaded_items
from vitdemo.finetune.data.dataset import Sample, settle
from vitdemo.finetune.data.folders import place

TREES, SEED = int(os.environ.get("VITDEMO_FUZZ", 60)), int(os.environ.get("VITDEMO_FUZZ_SEED", 1))
SCRIPTS = {  # words in six scripts, and the encodings that write them
    "latin": (("cat", "Löwe", "café", decomposed("café"), "A", "a"), ("utf-8", "cp437")),
    "cyrillic": (("кошка", "собака", "ёж"), ("utf-8", "cp866")),
    "han": (("猫", "狗", "鸟类"), ("utf-8", "gb18030")),
    "kana": (("ネコ", "イヌ", "表"), ("utf-8", "cp932")),
    "persian": (("گربه‌ها", "سگ"), ("utf-8",)),
    "emoji": (("👩‍🔬", "🐈"), ("utf-8",)),
}
SPLITS = ((), (), ("train", "test"), ("Training", "Testing"), ("seg_train", "seg_val"), ("val", "test"), ("one", "two"))
SUFFIXES = (".png", ".PNG", "", ".png_large", ".png?w=640", ".dat")
OTHERS = {
    **{"notes.txt": b"Hello", ".DS_Store": b"x", "page.svg": b"<svg/>"},
    **{"print.eps": b"%!PS", "Thumbs.db": b"\xd0\xcf", "README": b"Python"},
}
COUNTED = re.compile(r"(?<![\w“])(\d[\d,]*) (?:photos?|files?) ")


def bmp(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (side, side), 1).save(buffer, "BMP")
    return buffer.getvalue()


def draw(dice: random.Random) -> tuple[dict[str, bytes], str]:
    """Files of a random tree, and an encoding that can write their names."""
    script = dice.choice(list(SCRIPTS))
    words, encodings = SCRIPTS[script]
    encoding = dice.choice(encodings)
    names = [word for word in words if _writes(word, encoding)]
    files: dict[str, bytes] = {}
    wrapper = dice.choice(("", "data/", "a/b/"))
    for split in dice.choice(SPLITS) or ("",):
        inside = wrapper + (f"{split}/" if split else "")
        for label in dice.sample(names, min(len(names), dice.randint(2, 4))):
            for number in range(dice.randint(0, 4)):
                suffix = dice.choice(SUFFIXES)
                deep = dice.choice(("", "", "", "more/"))
                content = dice.choice((png(8, 8, dice.randint(0, 40)), png(8, 8, dice.randint(41, 10_000)), bmp(64)))
                if suffix == ".png" and dice.random() < 0.1:
                    content = b"no photo"
                files[f"{inside}{label}/{deep}{number:02}{suffix}"] = content
    for _ in range(dice.randint(0, 3)):
        name = dice.choice(list(OTHERS))
        folder = dice.choice(list(files)).rpartition("/")[0] if files else ""
        files[f"{folder}/{name}".lstrip("/")] = OTHERS[name]
    if dice.random() < 0.3:
        files[wrapper + "stray.png"] = png(8, 8, 20_000)
    return files, encoding


def _writes(word: str, encoding: str) -> bool:
    try:
        return word.encode(encoding) != b""
    except UnicodeEncodeError:
        return False


def counted(notes: list[str]) -> int:
    """Number of files that the notes name as left out."""
    told = [note for note in notes if "left out" in note]
    return sum(int(number.replace(",", "")) for note in told for number in COUNTED.findall(note)[:1])


def used_by_training(items: Gallery, root: Path | None) -> tuple[int, list[str]]:
    """Number of photos that a training uses, and its notes; no photos where it refuses them in a sentence."""
    read: dict[int, Sample] = {}
    placed = place(items, root)
    by_item = {id(sample.item): sample for sample in placed.samples}
    first: dict[int, str] = {}
    for photo in photos_ahead(items, lambda photo: photo.name, Settings(), ahead=4):
        first[photo.index] = photo.id or ""
        if sample := by_item.get(id(photo.item)):
            read[photo.index] = Sample(sample.item, sample.label, sample.split, photo.id or "", photo.error or "")
    data = settle(list(read.values()), share=0.3, seed=0, notes=[*items.notes, *placed.notes])
    return len(data.samples), list(data.notes)


def galleries(files: Mapping[str, bytes], encoding: str, folder: Path):
    """The same files as a folder, as an uploaded folder, as a zip, and as an uploaded zip."""
    write_files(folder / "tree", files)
    zipped = write_zip(folder / "tree.zip", {name: content for name, content in files.items()}, encoding)
    yield lambda: (find_items([folder / "tree"]), folder / "tree")
    yield lambda: (uploaded_items(uploads(folder / "tree"), Settings()), None)
    yield lambda: (find_items([zipped]), zipped)
    yield lambda: (uploaded_items(uploads(zipped), Settings()), None)


def refusal(error: UserError) -> str:
    """What is said of a tree that can't be used: no photos, or too few of a class."""
    assert re.search(r"There are no photos|give a folder with one|needs two at least|add photos to train", str(error)), error
    return str(error)


@pytest.mark.parametrize("seed", range(SEED, SEED + TREES, max(1, TREES // 4)))
def test_given_is_used_and_named(tmp_path, seed):
    trained = 0
    for tree in range(seed, seed + max(1, TREES // 4)):
        files, encoding = draw(random.Random(tree))
        for find in galleries(files, encoding, tmp_path / str(tree)):
            try:
                items, root = find()
                assert len(items) + counted(items.notes) == len(files), (tree, items.notes)
                used, notes = used_by_training(items, root)
            except UserError as error:
                refusal(error)
                continue
            assert used + counted(notes) == len(files), (tree, used, notes, sorted(files))
            trained += 1
    assert trained > TREES // 8


def test_links_zips_and_odd_files_on_a_disk(tmp_path):
    """What a browser does not send."""
    write_files(tmp_path / "store", {"1.png": png(8, 8, 1), "2.png": png(8, 8, 2)})
    zipped = {"cow.zip": Zip({"5.png": png(8, 8, 5), "n.txt": b"x"}), "bad.zip": b"no zip"}
    links = {"gone.png": Link("nowhere.png"), "cat": Link("../store"), "dog/up": Link("../.."), "dog/same": Link(".")}
    write_files(tmp_path / "given", {"dog/3.png": png(8, 8, 3), "dog/4.png": png(8, 8, 4), **zipped, **links})
    os.mkfifo(tmp_path / "given" / "pipe")
    items = find_items([tmp_path / "given"])
    found = [os.path.relpath(item.name, tmp_path / "given") for item in items]
    assert sorted(found) == ["bad.zip", "cat/1.png", "cat/2.png", "cow.zip/5.png", "dog/3.png", "dog/4.png", "gone.png"]
    assert items.notes == [
        "“same” is a link back to a folder that it lies in: left out.",
        "“up” is a link back to a folder that it lies in: left out.",
        "2 files that are no photos are left out (1 .txt, 1 without a suffix).",
    ]
    errors = [photo.error for photo in photos_ahead(items, lambda photo: 1, Settings(), ahead=4) if photo.error]
    assert errors[1:] == ["“gone.png” is not there: check its name, or add it again."]
    assert errors[0] == "“bad.zip” is damaged or no zip: make it again."
