"""Accuracy, confusion and calibration against counts made by hand."""

import pytest

from vitdemo.classify.gallery import PredictionRow
from vitdemo.classify.photo import Prediction
from vitdemo.classify.scores import calibration_error, score
from vitdemo.core.models.labels import ClassNames, Label, labels_of

CAT, DOG, OWL = Label(0, "tabby, tabby cat", "n02123045"), Label(1, "dog"), Label(2, "great grey owl")


def row(folder: str, *ranked: tuple[Label, float]) -> PredictionRow:
    return PredictionRow("x.png", "id", [Prediction(label, probability) for label, probability in ranked], folder=folder)


def test_names_that_mean_a_class():
    names = ClassNames([CAT, DOG, OWL])
    assert {names.meant(name) for name in ("tabby cat", "tabby", "n02123045", "tabby, tabby cat", "Tabby_Cat")} == {frozenset({0})}
    assert (names.meant("great grey owl"), names.meant("parrot")) == ({2}, frozenset())
    assert score([row("Great_Grey-Owl", (OWL, 0.9))], [CAT, DOG, OWL]).top1 == 1
    assert score([row("parrots", (OWL, 0.9))], [CAT, DOG, OWL]) is None
    assert score([], [CAT]) is None


def test_classes_that_differ_in_case_alone_are_two():
    labels = [Label(index, name) for index, name in enumerate(("A", "a", "café"))]
    assert [ClassNames(labels).meant(name) for name in ("A", "a", "cafe\u0301", "CAFÉ")] == [{0}, {1}, {2}, {2}]


def test_a_name_of_two_classes_means_either():
    labels = labels_of(1000, {})
    cranes = ClassNames(labels).meant("crane")
    assert cranes == {134, 517}  # the bird and the machine
    assert all(score([row("crane", (labels[index], 0.5))], labels).top1 == 1 for index in cranes)


def test_counts():
    rows = [
        row("dog", (DOG, 0.9), (CAT, 0.1)),
        row("dog", (CAT, 0.6), (DOG, 0.4)),
        row("tabby", (OWL, 0.8), (DOG, 0.2)),
        row("elsewhere", (DOG, 1.0)),
        PredictionRow("bad.png", error="no", folder="dog"),
    ]
    found = score(rows, [CAT, DOG, OWL])
    assert (found.photos, found.top1, found.top5) == (3, 1, 2)
    assert found.confusion == {("dog", "dog"): 1, ("dog", "tabby"): 1, ("tabby", "great grey owl"): 1}
    assert found.folders == ["dog", "tabby"]
    assert sorted(found.mistakes()) == [("dog", "tabby", 1), ("tabby", "great grey owl", 1)]
    assert found.mistakes(1) == [("dog", "tabby", 1)]
    assert (found.elsewhere("dog"), found.elsewhere("tabby")) == (0, 1)
    assert found.calibration_error == pytest.approx((abs(1 - 0.9) + 0.6 + 0.8) / 3)


def test_calibration_error_known_answers():
    assert calibration_error([(0.75, True)] * 3 + [(0.75, False)]) == pytest.approx(0)
    assert calibration_error([(1.0, False)] * 4) == pytest.approx(1)
    # two bins: 0.9 right half of the time, 0.3 always wrong
    assert calibration_error([(0.9, True), (0.9, False), (0.3, False), (0.3, False)]) == pytest.approx(0.5 * 0.4 + 0.5 * 0.3)
