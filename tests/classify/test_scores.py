"""Accuracy, confusion and calibration against counts made by hand."""

import pytest

from vitdemo.classify.gallery import PredictionRow, with_conflicts
from vitdemo.classify.photo import Prediction
from vitdemo.classify.scores import MAX_OTHERS, calibration_error, left_out, score
from vitdemo.core.models.labels import ClassNames, Label, labels_of

CAT, DOG, OWL = Label(0, "tabby, tabby cat", "n02123045"), Label(1, "dog"), Label(2, "great grey owl")


def row(folder: str, *ranked: tuple[Label, float], labels=(CAT, DOG, OWL), id: str = "") -> PredictionRow:
    predictions = [Prediction(label, probability) for label, probability in ranked]
    return PredictionRow("x.png", id or f"{folder}{ranked}", predictions, folder=folder, meant=ClassNames(labels).labels_of(folder))


def test_names_that_mean_a_class():
    names = ClassNames([CAT, DOG, OWL])
    assert {names.meant(name) for name in ("tabby cat", "tabby", "n02123045", "tabby, tabby cat", "Tabby_Cat")} == {frozenset({0})}
    assert (names.meant("great grey owl"), names.meant("parrot")) == ({2}, frozenset())
    assert score([row("Great_Grey-Owl", (OWL, 0.9))]).top1 == 1
    assert score([row("parrots", (OWL, 0.9))]) is None
    assert score([]) is None


def test_a_wordnet_id_is_shown_as_its_class():
    names = ClassNames([CAT, DOG, OWL])
    assert [names.title(folder) for folder in ("n02123045", "n99999999", "dog", "tabby cat", "")] == [
        "tabby",
        "n99999999",
        "dog",
        "tabby cat",
        "",
    ]


def test_two_classes_of_one_name_are_told_apart():
    names = ClassNames(labels_of(1000, {}))
    assert [names.title(id) for id in ("n02012849", "n03126707")] == ["crane (n02012849)", "crane (n03126707)"]


def test_classes_that_differ_in_case_alone_are_two():
    labels = [Label(index, name) for index, name in enumerate(("A", "a", "café"))]
    assert [ClassNames(labels).meant(name) for name in ("A", "a", "cafe\u0301", "CAFÉ")] == [{0}, {1}, {2}, {2}]


def test_a_name_of_two_classes_means_either():
    labels = labels_of(1000, {})
    cranes = ClassNames(labels).meant("crane")
    assert cranes == {134, 517}  # the bird and the machine
    for index in cranes:
        found = row("crane", (labels[index], 0.5), labels=labels)
        assert (score([found]).top1, found.true_class) == (1, "crane")


def test_counts():
    rows = [
        row("dog", (DOG, 0.9), (CAT, 0.1)),
        row("dog", (CAT, 0.6), (DOG, 0.4)),
        row("tabby", (OWL, 0.8), (DOG, 0.2)),
        row("elsewhere", (DOG, 1.0)),
        PredictionRow("bad.png", error="no", folder="dog"),
    ]
    assert [each.correct for each in rows] == [True, False, False, None, None]
    assert [each.true_class for each in rows] == ["dog", "dog", "tabby, tabby cat", "", ""]
    found = score(rows)
    assert (found.photos, found.top1, found.top5) == (3, 1, 2)
    assert found.confusion == {("dog", "dog"): 1, ("dog", "tabby"): 1, ("tabby", "great grey owl"): 1}
    assert found.folders == ["dog", "tabby"]
    assert sorted(found.mistakes()) == [("dog", "tabby", 1), ("tabby", "great grey owl", 1)]
    assert found.mistakes(1) == [("dog", "tabby", 1)]
    assert (found.others, found.columns, found.has_rest) == (["great grey owl"], [1, 0, 2], False)
    assert (found.total("dog"), found.total("tabby")) == (2, 1)
    assert found.calibration_error == pytest.approx((abs(1 - 0.9) + 0.6 + 0.8) / 3)


def test_the_most_frequent_wrong_classes_have_columns_of_their_own():
    labels = [Label(index, f"class {index}") for index in range(30)]
    wrong = [index for index in range(1, 30) for _ in range(2 if index < MAX_OTHERS else 1)]
    rows = [row("class 0", (labels[index], 0.5), labels=labels, id=str(place)) for place, index in enumerate([0, 0, *wrong, 29, 29])]
    found = score(rows)
    assert found.others == ["class 29", *(f"class {index}" for index in range(1, MAX_OTHERS))]
    assert found.columns == [0, 29, *range(1, MAX_OTHERS)]
    assert found.rest("class 0") == 29 - MAX_OTHERS
    assert found.has_rest


def test_copies_in_folders_of_different_classes_are_neither_correct_nor_wrong():
    rows = [
        row("dog", (DOG, 0.9), id="a"),
        row("tabby", (DOG, 0.9), id="a"),  # one of them is mislabelled
        row("n02123045", (OWL, 0.9), id="b"),
        row("tabby cat", (OWL, 0.9), id="b"),  # the same class by another name
        row("dog", (OWL, 0.9), id="c"),
        row("elsewhere", (OWL, 0.9), id="c"),  # which names no class
        PredictionRow("bad.png", "a", error="no", folder="tabby"),
    ]
    assert [each.conflict for each in rows] == [None] * 7
    found = with_conflicts(rows)
    assert [each.conflict for each in found] == [("dog", "tabby")] * 2 + [()] * 5
    assert [each.correct for each in found] == [None, None, False, False, False, None, None]
    assert (score(found).photos, score(found).top1) == (3, 0)
    assert left_out(found) == "2 photos are copies in folders of different classes: they count neither as correct nor as wrong."
    assert left_out(found[2:]) == ""
    assert score(found[:2]) is None


def test_refused_photos_are_left_out_and_counted():
    refused = [row("dog", id="a"), row("owls", id="b"), PredictionRow("bad.png", error="no", folder="dog")]
    rows = with_conflicts([row("dog", (DOG, 0.9)), *refused])
    assert (score(rows).photos, score(rows).top1) == (1, 1)
    assert left_out(rows) == "1 photo with a known class was refused as unfamiliar, and left out of the accuracy."
    assert (
        left_out([*rows, row("tabby", id="c")]) == "2 photos with a known class were refused as unfamiliar, and left out of the accuracy."
    )
    assert (score(refused), left_out(refused)) == (None, left_out(rows))


def test_calibration_error_known_answers():
    assert calibration_error([(0.75, True)] * 3 + [(0.75, False)]) == pytest.approx(0)
    assert calibration_error([(1.0, False)] * 4) == pytest.approx(1)
    # two bins: 0.9 right half of the time, 0.3 always wrong
    assert calibration_error([(0.9, True), (0.9, False), (0.3, False), (0.3, False)]) == pytest.approx(0.5 * 0.4 + 0.5 * 0.3)
