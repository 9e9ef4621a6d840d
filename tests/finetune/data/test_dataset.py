"""Folders to classes and splits: every layout, every mistake that people make."""

from collections import Counter
from pathlib import Path

import pytest

from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import Item
from vitdemo.finetune.data.dataset import TEST, TRAIN, VALIDATION, Sample, chosen, empty_folders, place, settle


def items(*names: str) -> list[Item]:
    return [Item(Path(name), name) for name in names]


def labels(*names: str, **rest) -> list[tuple[str, str]]:
    return [(each.label, each.split) for each in place(items(*names), **rest)[0]]


def read(label: str, count: int, split: str = "", start: int = 0) -> list[Sample]:
    """Photos that have been read, all different."""
    return [Sample(Item(Path("x"), f"{label}/{start + n}.jpg"), label, split, f"{label}{start + n}") for n in range(count)]


def settled(*samples: Sample, share: float = 0.2, seed: int = 0):
    return settle(samples, share=share, seed=seed)


def test_one_folder_a_class():
    assert labels("cat/a.jpg", "dog/b.jpg") == [("cat", ""), ("dog", "")]
    assert labels("pets/cat/a.jpg", "pets/dog/b.jpg") == [("cat", ""), ("dog", "")]
    assert labels("/data/pets/cat/a.jpg", "/data/pets/dog/b.jpg", root=Path("/data/pets")) == [("cat", ""), ("dog", "")]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_given_splits(name):
    found = labels("x/train/cat/a.jpg", "x/train/dog/b.jpg", f"x/{name}/cat/c.jpg", "x/test/dog/d.jpg")
    assert found == [("cat", TRAIN), ("dog", TRAIN), ("cat", VALIDATION), ("dog", TEST)]


def test_train_and_test_are_classes_where_there_is_no_train():
    assert labels("test/a.jpg", "other/b.jpg") == [("test", ""), ("other", "")]


def test_a_name_written_in_two_ways_is_one_class():
    assert labels("train/Cat/a.jpg", "train/dog/b.jpg", "val/cat/c.jpg") == [("Cat", TRAIN), ("dog", TRAIN), ("Cat", VALIDATION)]


def test_classes_can_be_renamed_merged_and_left_out():
    found = labels("cat/a.jpg", "dog/b.jpg", "cow/c.jpg", "hen/d.jpg", changes={"cat": "pet", "dog": "pet", "hen": ""})
    assert found == [("pet", ""), ("pet", ""), ("cow", "")]


def test_photos_chosen_one_by_one():
    photos = items("x/a.jpg", "train/b.jpg", "c.jpg")
    assert [each.label for each in chosen(photos, ["train", "Cat", "cat"])] == ["train", "Cat", "Cat"]
    assert [each.label for each in chosen(photos, ["train", "cat", "dog"], {"dog": "", "cat": "hen"})] == ["train", "hen"]
    with pytest.raises(UserError, match="“cat” is the only class so far: select other photos in Embeddings"):
        chosen(photos[1:], ["Cat", "cat"], {"Cat": "cat"})
    with pytest.raises(UserError, match="There is no class left"):
        chosen(photos[:1], ["cat"], {"cat": ""})


def test_loose_deep_and_stray_photos_are_told():
    samples, notes = place(items("x/a.jpg", "x/cat/old/b.jpg", "x/dog/c.jpg"))
    assert [each.label for each in samples] == ["cat", "dog"]
    assert notes == [
        "1 photo lying (“a.jpg”) beside the class folders: left out.",
        "“cat” has folders inside: their photos count as the class's own.",
    ]
    samples, notes = place(items("train/cat/a.jpg", "train/dog/b.jpg", "spare/cat/c.jpg"))
    assert len(samples) == 2
    assert notes == ["Beside train and validation, “spare” can't be placed: left out."]


def test_one_class_is_refused():
    for names in (["cat/a.jpg", "cat/b.jpg"], ["a.jpg", "b.jpg"], ["x/train/cat/a.jpg", "x/val/cat/b.jpg"]):
        with pytest.raises(UserError, match="give a folder with one sub-folder of photos for each of at least two classes"):
            place(items(*names))
    with pytest.raises(UserError, match="“pet”"):
        place(items("cat/a.jpg", "dog/a.jpg"), changes={"cat": "pet", "dog": "pet"})


def test_the_split_is_stratified_and_follows_the_seed():
    samples = [*read("cat", 10), *read("dog", 20), *read("cow", 2), *read("cow", 3, TEST, 50)]
    data = settled(*samples, share=0.2)
    assert data.counts() == {
        "cat": {TRAIN: 8, VALIDATION: 2, TEST: 0},
        "cow": {TRAIN: 1, VALIDATION: 1, TEST: 3},
        "dog": {TRAIN: 16, VALIDATION: 4, TEST: 0},
    }
    assert data.targets(data.of(VALIDATION)) == [0, 0, 2, 2, 2, 2, 1]
    assert settled(*samples).samples == data.samples
    assert settled(*samples, seed=1).samples != data.samples


def test_a_given_validation_is_kept():
    data = settled(*read("a", 4, TRAIN), *read("b", 4, TRAIN), *read("a", 2, VALIDATION, 10))
    assert Counter(each.split for each in data.samples) == {TRAIN: 8, VALIDATION: 2}
    assert data.notes == ("“b” has no photos in validation, so its own score is not known.",)
    with pytest.raises(UserError, match="“b” is in validation and not in train"):
        settled(*read("a", 4, TRAIN), *read("b", 4, VALIDATION))


@pytest.mark.parametrize("count", [0, 1])
def test_a_class_with_too_few_is_refused(count):
    broken = Sample(Item(Path("x"), "dog/x.jpg"), "dog", error="“x.jpg” is damaged.")
    with pytest.raises(UserError, match=r"“dog” has (1|no) usable photos?, and a class needs two at least"):
        settled(*read("cat", 5), *read("dog", count), broken)


def test_unreadable_photos_are_left_out():
    broken = Sample(Item(Path("x"), "cat/x.jpg"), "cat", error="“x.jpg” is damaged.")
    data = settled(*read("cat", 5), *read("dog", 5), broken)
    assert broken not in data.samples
    assert data.notes == ("1 photo that can’t be read (“x.jpg”): left out.",)


def test_duplicates_leaks_and_two_labels():
    cat, dog = read("cat", 6), read("dog", 6)
    data = settled(*cat, *dog, *read("cat", 1))
    assert len(data.samples) == 12
    assert data.notes == ("1 photo more than once in a class (“0.jpg”): counted once.",)
    torn = Sample(Item(Path("x"), "dog/7.jpg"), "dog", id="cat0")
    data = settled(*cat, *dog, torn)
    assert {each.id for each in data.samples} == {each.id for each in (*cat[1:], *dog)}
    assert data.notes == ("1 photo in two classes (“0.jpg”): left out of both.",)
    data = settled(*read("cat", 6, TRAIN), *read("dog", 6, TRAIN), *read("cat", 1, TEST))
    assert [each.id for each in data.of(TEST)] == ["cat0"]
    assert "cat0" not in {each.id for each in data.samples if each.split != TEST}
    assert data.notes == ("A leak: 1 photo in more than one of train, validation and test (“0.jpg”), kept in the last of them only.",)


def test_imbalance_is_told():
    assert settled(*read("cat", 6), *read("dog", 3)).notes == ()
    assert settled(*read("cat", 9), *read("dog", 3)).notes == (
        "“cat” has 9 photos and “dog” 3: the rarer a class, the more each of its photos counts.",
    )


def test_empty_folders_are_told(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.jpg").write_bytes(b"")
    assert empty_folders(tmp_path) == ["“cat” is an empty folder: left out."]
    (tmp_path / "train" / "hen").mkdir(parents=True)
    assert empty_folders(tmp_path) == ["“hen” is an empty folder: left out."]
