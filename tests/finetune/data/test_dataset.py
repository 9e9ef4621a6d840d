"""The split of photos, and what is said of copies, leaks and classes that are too small."""

from collections import Counter
from pathlib import Path

import pytest

from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import Item
from vitdemo.finetune.data.dataset import TEST, TRAIN, VALIDATION, Sample, settle


def read(label: str, count: int, split: str = "", start: int = 0) -> list[Sample]:
    """Photos that have been read, all different."""
    return [Sample(Item(Path("x"), f"{label}/{start + n}.jpg"), label, split, f"{label}{start + n}") for n in range(count)]


def settled(*samples: Sample, share: float = 0.2, seed: int = 0):
    return settle(samples, share=share, seed=seed)


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
    data = settled(*read("a", 4, TRAIN), *read("b", 4, TRAIN), *read("c", 4, TRAIN), *read("a", 2, VALIDATION, 10))
    assert data.notes == ("“b”, “c” have no photos in validation, so their own scores are not known.",)
    with pytest.raises(UserError, match="“b”, “c” are in validation and not in train: add photos to train, or leave these classes out"):
        settled(*read("a", 4, TRAIN), *read("b", 4, VALIDATION), *read("c", 4, VALIDATION))
    with pytest.raises(UserError, match="“b” is in validation and not in train"):
        settled(*read("a", 4, TRAIN), *read("b", 4, VALIDATION))


@pytest.mark.parametrize("count", [0, 1])
def test_a_class_with_too_few_is_refused(count):
    broken = Sample(Item(Path("x"), "dog/x.jpg"), "dog", error="“x.jpg” is damaged.")
    with pytest.raises(UserError, match=r"“dog” has (1|no) usable photos?, and a class needs two at least"):
        settled(*read("cat", 5), *read("dog", count), broken)


def test_all_classes_with_too_few_are_named_at_once():
    broken = Sample(Item(Path("x"), "dog/x.jpg"), "dog", error="“x.jpg” is damaged.")
    words = "“cow” has 1 usable photo; “dog” has no usable photos, and a class needs two at least: add photos to them, or leave these"
    with pytest.raises(UserError, match=words):
        settled(*read("cat", 5), *read("cow", 1), broken)
    many = [Sample(Item(Path("x"), f"{number:02}/x.jpg"), f"{number:02}", error="damaged") for number in range(12)]
    with pytest.raises(UserError, match="“09” has no usable photos; 2 more are like these, and a class needs two"):
        settled(*read("cat", 5), *many)


def test_a_class_whose_photos_are_elsewhere_says_where():
    torn = Sample(Item(Path("x"), "dog/7.jpg"), "dog", id="cat0")
    with pytest.raises(UserError, match=r"“dog” has 1 usable photo \(1 is in another class too, and counts in neither\), and"):
        settled(*read("cat", 6), *read("dog", 1), torn)
    with pytest.raises(UserError, match="“dog” has no usable photos besides those for test, and a class needs two"):
        settled(*read("cat", 6), *read("dog", 3, TEST))


def test_unreadable_photos_are_left_out():
    broken = Sample(Item(Path("x"), "cat/x.jpg"), "cat", error="“x.jpg” is damaged.")
    data = settled(*read("cat", 5), *read("dog", 5), broken)
    assert broken not in data.samples
    assert data.notes == ("1 photo that can’t be read (“cat/x.jpg”): left out.",)


def test_duplicates_leaks_and_two_labels():
    cat, dog = read("cat", 6), read("dog", 6)
    data = settled(*cat, *dog, *read("cat", 1))
    assert len(data.samples) == 12
    assert data.notes == ("1 photo equal to another in its class (“cat/0.jpg”): left out.",)
    torn = Sample(Item(Path("x"), "dog/7.jpg"), "dog", id="cat0")
    data = settled(*cat, *dog, torn)
    assert {each.id for each in data.samples} == {each.id for each in (*cat[1:], *dog)}
    assert data.notes == ("2 photos in two classes (“cat/0.jpg”, “dog/7.jpg”): left out of both.",)
    data = settled(*read("cat", 6, TRAIN), *read("dog", 6, TRAIN), *read("cat", 1, TEST))
    assert [each.id for each in data.of(TEST)] == ["cat0"]
    assert "cat0" not in {each.id for each in data.samples if each.split != TEST}
    assert data.notes == ("A leak: 1 photo also in a later one of train, validation and test (“cat/0.jpg”): left out of the earlier.",)


def test_imbalance_is_told():
    assert settled(*read("cat", 6), *read("dog", 3)).notes == ()
    assert settled(*read("cat", 9), *read("dog", 3)).notes == (
        "“cat” has 9 photos and “dog” 3: the rarer a class, the more each of its photos counts.",
    )
