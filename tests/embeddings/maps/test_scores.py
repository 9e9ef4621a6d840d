"""Scores equal sklearn's, and the real ViT-Tiny's layers have the accuracies that are known of them."""

import unicodedata

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as sklearns_trust
from sklearn.metrics import silhouette_score
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from vitdemo.embeddings.maps import nearest
from vitdemo.embeddings.maps.scores import LayerScore, best, knn_accuracy, score_layer, silhouette, trustworthiness


@pytest.fixture
def gallery():
    """Vectors in loose groups, (60, 10), with labels of uneven size."""
    random = np.random.default_rng(1)
    labels = random.choice(["a", "b", "<c>", "ü"], 60, p=[0.5, 0.3, 0.15, 0.05])
    centres = {label: random.normal(size=10) for label in set(labels)}
    return np.stack([centres[label] + random.normal(size=10) for label in labels]), labels


def sklearns_accuracy(vectors, labels) -> float:
    return cross_val_score(KNeighborsClassifier(5, metric="cosine", weights="distance"), vectors, labels, cv=LeaveOneOut()).mean()


def test_accuracy_is_sklearns(gallery):
    vectors, labels = gallery
    assert 0.4 < knn_accuracy(vectors, labels) < 0.95
    assert knn_accuracy(vectors, labels) == pytest.approx(sklearns_accuracy(vectors, labels))


def test_accuracy_with_equal_rows_is_sklearns(gallery):
    vectors, labels = gallery
    vectors[10:14], vectors[30] = vectors[0], vectors[1]
    assert knn_accuracy(vectors, labels) == pytest.approx(sklearns_accuracy(vectors, labels))


def test_silhouette_is_sklearns(gallery):
    vectors, labels = gallery
    labels[3] = "alone"
    assert silhouette(vectors, labels) == pytest.approx(silhouette_score(vectors, labels, metric="cosine"), abs=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("rows", [3, 4, 20, 60])
def test_trustworthiness_is_sklearns(gallery, rows, metric, monkeypatch):
    monkeypatch.setattr(nearest, "DISTANCE_BLOCK_ROWS", 16)
    vectors = gallery[0][:rows]
    positions = np.random.default_rng(2).normal(size=(rows, 2)) + vectors[:, :2]
    expected = sklearns_trust(vectors, positions, n_neighbors=min(15, (rows - 1) // 2), metric=metric)
    assert trustworthiness(vectors, positions, metric) == pytest.approx(expected)
    assert trustworthiness(vectors, vectors, "euclidean") == 1


def test_what_has_no_score():
    vectors = np.eye(4)
    assert knn_accuracy(vectors, ["a"] * 4) is None
    assert silhouette(vectors, ["a"] * 4) is None
    assert silhouette(vectors, list("abcd")) is None
    assert knn_accuracy(vectors[:0], []) is None
    assert trustworthiness(vectors[:2], vectors[:2, :2]) is None


def test_rows_without_a_label_are_left_out(gallery):
    vectors, labels = gallery
    some = labels.copy()
    some[labels == "<c>"] = ""
    kept = labels != "<c>"
    score = score_layer(3, vectors, list(some))
    assert score == LayerScore(3, knn_accuracy(vectors[kept], labels[kept]), silhouette(vectors[kept], labels[kept]))
    assert score_layer("final", vectors, [""] * 60) == LayerScore("final", None, None)


def test_a_label_in_two_of_unicodes_forms_is_one(gallery):
    vectors, labels = gallery
    accents = [f"{label}é" for label in labels]
    apart = [unicodedata.normalize("NFD", label) if number % 2 else label for number, label in enumerate(accents)]
    assert score_layer(3, vectors, apart) == score_layer(3, vectors, accents)


def test_the_best_layer_is_the_first_of_equals():
    scores = [LayerScore(number, accuracy, 0.0) for number, accuracy in enumerate([None, 0.2, 0.9, 0.9, 0.3])]
    assert best(scores) == 2
    assert best(scores[:1]) is None


def test_the_known_answers_of_vit_tiny(real_gallery):
    rows = real_gallery.done
    known = {1: 0.14, 5: 0.30, 9: 0.70, 12: 0.91, "final": 0.89}
    found = [score_layer(layer, real_gallery.vectors(layer), [row.folder for row in rows]) for layer in real_gallery.layers]
    accuracies = {score.layer: score.accuracy for score in found}
    assert {layer: accuracies[layer] for layer in known} == pytest.approx(known, abs=0.02)
    assert found[best(found)].layer == 12
