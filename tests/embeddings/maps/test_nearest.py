"""Neighbours are sklearn's; copies and strangers are found."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps import nearest as module
from vitdemo.embeddings.maps.nearest import METRICS, distance_blocks, near_duplicates, nearest, outliers, remoteness, similarities


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(70, 12))


@pytest.mark.parametrize("metric", METRICS)
def test_neighbours_are_sklearns(vectors, metric, monkeypatch):
    monkeypatch.setattr(module, "DISTANCE_BLOCK_ROWS", 16)
    indices, distances = nearest(vectors, 6, metric)
    theirs, them = NearestNeighbors(n_neighbors=7, metric=metric, algorithm="brute").fit(vectors).kneighbors(vectors)
    np.testing.assert_array_equal(indices, them[:, 1:])
    np.testing.assert_allclose(distances, theirs[:, 1:], atol=1e-9)


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_fewer_rows_than_neighbours(vectors, rows):
    indices, distances = nearest(vectors[:rows], 5)
    assert indices.shape == distances.shape == (rows, max(0, rows - 1))


def test_equal_rows_are_at_no_distance_and_come_in_order():
    vectors = np.tile([1.0, 2.0], (4, 1))
    indices, distances = nearest(vectors, 3)
    assert indices.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert np.abs(distances).max() < 1e-12


def test_a_row_of_zeros_has_a_distance():
    _, distances = nearest(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]), 2)
    assert np.isfinite(distances).all()


def test_blocks_make_the_whole_matrix(vectors, monkeypatch):
    monkeypatch.setattr(module, "DISTANCE_BLOCK_ROWS", 32)
    blocks = list(distance_blocks(vectors, "euclidean"))
    assert [first for first, _ in blocks] == [0, 32, 64]
    whole = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    np.testing.assert_allclose(np.concatenate([block for _, block in blocks]), whole, atol=1e-6)


def test_a_metric_that_is_none(vectors):
    with pytest.raises(UserError, match="“chebyshev” is none of them"):
        nearest(vectors, 3, "chebyshev")


def test_similarities_to_one_vector(vectors):
    found = similarities(vectors, vectors[3] * 2)
    expected = vectors @ vectors[3] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[3])
    np.testing.assert_allclose(found, expected)


def test_near_duplicates_are_grouped_across_blocks(vectors, monkeypatch):
    monkeypatch.setattr(module, "DISTANCE_BLOCK_ROWS", 8)
    vectors[60] = 3 * vectors[2] + 0.001
    vectors[33] = vectors[60] + 0.001
    vectors[50] = vectors[5]
    assert near_duplicates(vectors) == [[2, 33, 60], [5, 50]]
    assert near_duplicates(vectors[:30]) == []
    assert near_duplicates(vectors[:0]) == []


def test_a_stranger_is_far_off(vectors):
    group = vectors[0] + 0.05 * vectors
    group[17] = -vectors[0]
    remote = remoteness(group)
    _, distances = nearest(group, 5)
    np.testing.assert_allclose(remote, distances.mean(1))
    assert remote.argmax() == 17
    lower, upper = np.percentile(remote, [25, 75])
    assert outliers(remote).tolist() == [each > 2.5 * upper - 1.5 * lower for each in remote]
    assert outliers(remote)[17]
    assert remoteness(group[:1]).tolist() == [0]
    assert outliers(np.zeros(0)).tolist() == []
