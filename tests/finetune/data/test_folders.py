"""Folders to classes and splits: every layout, every mistake that people make."""

from pathlib import Path

import pytest

from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import Item
from vitdemo.finetune.data.dataset import TEST, TRAIN, VALIDATION
from vitdemo.finetune.data.folders import NothingToLearn, chosen, place


def items(*names: str) -> list[Item]:
    return [Item(Path(name), name) for name in names]


def labels(*names: str, **rest) -> list[tuple[str, str]]:
    return [(each.label, each.split) for each in place(items(*names), **rest)[0]]


def test_one_folder_a_class():
    assert labels("cat/a.jpg", "dog/b.jpg") == [("cat", ""), ("dog", "")]
    assert labels("pets/cat/a.jpg", "pets/dog/b.jpg") == [("cat", ""), ("dog", "")]
    assert labels("/data/pets/cat/a.jpg", "/data/pets/dog/b.jpg", root=Path("/data/pets")) == [("cat", ""), ("dog", "")]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_given_splits(name):
    found = labels("x/train/cat/a.jpg", "x/train/dog/b.jpg", f"x/{name}/cat/c.jpg", "x/test/dog/d.jpg")
    assert found == [("cat", TRAIN), ("dog", TRAIN), ("cat", VALIDATION), ("dog", TEST)]


def test_a_class_may_be_called_as_a_split_is():
    assert labels("test/a.jpg", "other/b.jpg") == [("test", ""), ("other", "")]
    assert labels("train/a.jpg", "bus/b.jpg") == [("train", ""), ("bus", "")]
    assert labels("train/steam/a.jpg", "bus/b.jpg") == [("train", ""), ("bus", "")]
    views = place(items(*(f"{name}/{view}/a.jpg" for name in ("bus", "car", "train") for view in ("front", "side"))))
    assert len(views.samples) == 6
    assert views.folders == {"bus": "all", "car": "all", "train": TRAIN}
    assert views.notes[0].endswith("“train” as train. If they are classes, take one as a class: then all are.")


def test_classes_may_hold_the_splits():
    assert labels("red/train/a.jpg", "red/test/b.jpg", "blue/train/c.jpg", "blue/Testing/d.jpg") == [
        ("red", TRAIN),
        ("red", TEST),
        ("blue", TRAIN),
        ("blue", TEST),
    ]
    found = place(items("red/train/a.jpg", "red/test/b.jpg", "red/c.jpg", "bus/train/d.jpg", "bus/val/e.jpg"))
    assert [each.label for each in found.samples] == ["red", "red", "bus", "bus"]
    assert found.folders == {"test": TEST, "train": TRAIN, "val": VALIDATION}
    assert found.notes == ["1 photo lying (“red/c.jpg”) beside the class folders: left out."]
    assert labels("red/train/a.jpg", "red/old/b.jpg", "blue/train/c.jpg") == [("red", ""), ("red", ""), ("blue", "")]
    assert labels("train/test/a.jpg", "test/train/b.jpg", "test/test/c.jpg") == [("test", TRAIN), ("train", TEST)]


def test_a_name_written_in_two_ways_is_two_classes_and_a_question():
    samples, notes, _ = place(items("Cat/a.jpg", "dog/b.jpg", "cat/c.jpg", "cat /d.jpg"))
    assert [each.label for each in samples] == ["Cat", "dog", "cat", "cat "]
    assert notes == [
        "“Cat”, “cat”, “cat” differ only in upper and lower case or spaces, and count as 3 classes: if they are one, rename one to "
        "the other."
    ]


def test_names_are_compared_in_one_of_unicodes_forms():
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert labels(f"{apart}/a.jpg", f"{composed}/b.jpg", "tea/c.jpg") == [(apart, ""), (apart, ""), ("tea", "")]
    assert labels(f"{apart}/a.jpg", "tea/c.jpg", "bun/d.jpg", changes={composed: "bun"}) == [("bun", ""), ("tea", ""), ("bun", "")]


def test_a_damaged_zip_is_named_and_no_photo():
    photos = [*items("cat/a.jpg", "dog/b.jpg"), Item(Path("c.zip"), "c.zip", error="“c.zip” is damaged or no zip: make it again.")]
    placed = place(photos)
    assert (len(placed.samples), placed.notes) == (2, ["“c.zip” is damaged or no zip: make it again."])


def test_bytes_that_are_no_text_stay_apart():
    assert labels("\udce8/a.jpg", "\udce9/b.jpg") == [("\\xe8", ""), ("\\xe9", "")]


def test_folders_can_be_taken_as_something_else():
    names = ("monday/cat/a.jpg", "monday/dog/b.jpg", "tuesday/cat/c.jpg", "tuesday/dog/d.jpg")
    assert labels(*names, taken_as={"tuesday": "test"}) == [("cat", ""), ("dog", ""), ("cat", TEST), ("dog", TEST)]
    assert labels(*names, taken_as={"monday": "train", "tuesday": "validation"})[2:] == [("cat", VALIDATION), ("dog", VALIDATION)]
    assert labels(*names, taken_as={"tuesday": ""}) == [("cat", ""), ("dog", "")]
    assert labels(*names, taken_as={"monday": "class"}) == [("monday", ""), ("monday", ""), ("tuesday", ""), ("tuesday", "")]
    found = place(items(*names))
    assert found.folders == {"monday": "all", "tuesday": "all"}
    assert found.notes == [
        "These folders are taken as splits: “monday” as train and validation together, “tuesday” as train and validation together. "
        "If they are classes, take one as a class: then all are."
    ]


def test_two_splits_can_be_exchanged_in_any_order():
    names = [f"{split}/{label}/a.jpg" for split in ("train", "test") for label in ("cat", "dog")]
    with pytest.raises(NothingToLearn, match="nothing to learn from: take a folder with classes as train, or as train and valid") as raised:
        place(items(*names), taken_as={"train": "test"})
    assert raised.value.placed.folders == {"test": TEST, "train": TEST}
    assert labels(*names, taken_as={"train": "test", "test": "train"}) == [("cat", TEST), ("dog", TEST), ("cat", TRAIN), ("dog", TRAIN)]
    assert place(items(*names), taken_as={"test": "class"}).folders == {"test": "class", "train": "class"}
    with pytest.raises(NothingToLearn) as raised:
        place(items(*names), taken_as={"train": "", "test": ""})
    assert raised.value.placed.folders == {"test": "", "train": ""}


def test_what_a_folder_is_told_to_be_stays():
    names = [f"{split}/{label}/a.jpg" for split in ("train", "val", "test") for label in ("cat", "dog")]
    with pytest.raises(NothingToLearn) as raised:
        place(items(*names), taken_as={"train": ""})
    assert raised.value.placed.folders == {"test": TEST, "train": "", "val": VALIDATION}
    assert raised.value.placed.notes[1] == "“train” with 2 photos is left out, as asked."
    with pytest.raises(NothingToLearn):
        place(items(*names[2:]), taken_as={"val": "validation"})
    assert place(items(*names[2:]), taken_as={"test": ""}).folders == {"test": "", "val": "all"}
    found = place(items(*names[:4], "seg_pred/a.jpg", "more/b.jpg", "test/c.jpg", "test/d.jpg"), taken_as={"val": ""})
    assert found.notes == [
        "These folders are taken as splits: “more” as nothing, “seg_pred” as nothing, “test” as test, “train” as train, “val” as nothing.",
        "“val” with 2 photos is left out, as asked.",
        "“more”, “seg_pred” with 2 photos are no splits by their names: left out.",
        "2 photos lying (“test/c.jpg”, “test/d.jpg”) beside the class folders: left out.",
    ]


def test_classes_can_be_renamed_merged_and_left_out():
    found = labels("cat/a.jpg", "dog/b.jpg", "cow/c.jpg", "hen/d.jpg", changes={"cat": "pet", "dog": "pet", "hen": ""})
    assert found == [("pet", ""), ("pet", ""), ("cow", "")]


def test_photos_chosen_one_by_one():
    photos = items("x/a.jpg", "train/b.jpg", "c.jpg")

    def labels(*given: str, **changes) -> list[str]:
        return [each.label for each in chosen(photos, given, **changes).samples]

    assert labels("train", "caf\u00e9", "cafe\u0301") == ["train", "caf\u00e9", "caf\u00e9"]
    assert labels("train", "cat", "dog", changes={"dog": "", "cat": "hen"}) == ["train", "hen"]
    with pytest.raises(UserError, match="“cat” is the only class so far: select other photos in Embeddings"):
        labels("Cat", "cat", "cat", changes={"Cat": "cat"})
    with pytest.raises(UserError, match="There is no class left"):
        labels("cat", "cat", "cat", changes={"cat": ""})


def test_loose_deep_and_stray_photos_are_told():
    samples, notes, _ = place(items("x/a.jpg", "x/cat/old/b.jpg", "x/dog/c.jpg"))
    assert [each.label for each in samples] == ["cat", "dog"]
    assert notes == [
        "1 photo lying (“a.jpg”) beside the class folders: left out.",
        "“cat” has folders inside: their photos count as the class's own.",
    ]
    samples, notes, _ = place(items("train/cat/a.jpg", "train/dog/b.jpg", "spare/cat/c.jpg"))
    assert len(samples) == 2
    assert notes == [
        "These folders are taken as splits: “spare” as nothing, “train” as train.",
        "“spare” with 1 photo is no split by its name: left out.",
    ]


def test_one_class_is_refused():
    for names in (["cat/a.jpg", "cat/b.jpg"], ["a.jpg", "b.jpg"], ["x/train/cat/a.jpg", "x/val/cat/b.jpg"]):
        with pytest.raises(UserError, match="give a folder with one sub-folder of photos for each of at least two classes"):
            place(items(*names))
    with pytest.raises(UserError, match="“pet”"):
        place(items("cat/a.jpg", "dog/a.jpg"), changes={"cat": "pet", "dog": "pet"})
