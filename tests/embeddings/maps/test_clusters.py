"""Clusters found, numbered and named; copies of a photo count in them."""

import numpy as np
import pytest
from sklearn.cluster import HDBSCAN

from vitdemo.embeddings.maps.clusters import find_clusters, name_clusters


def blobs(*sizes: int, seed: int = 0) -> np.ndarray:
    """Positions in well-parted groups of these sizes, (n, 2)."""
    random = np.random.default_rng(seed)
    return np.concatenate([random.normal(10 * number, 0.3, (size, 2)) for number, size in enumerate(sizes)])


def test_clusters_are_found_and_ordered_by_size():
    random = np.random.default_rng(0)
    sizes = (10, 40, 20)
    positions = np.concatenate([random.normal(10 * number, 0.3, (size, 2)) for number, size in enumerate(sizes)])
    positions = np.concatenate([positions, [[100.0, -100.0]]])
    clusters, membership = find_clusters(positions, np.arange(71))
    assert clusters[-1] == -1
    assert membership[-1] == 0
    groups = (clusters[:10], clusters[10:50], clusters[50:70])
    assert [np.bincount(group[group >= 0]).argmax() for group in groups] == [2, 0, 1]
    assert (membership[clusters >= 0] > 0).all()
    assert membership.max() <= 1


def test_clusters_are_named_by_what_is_predicted_most_often():
    clusters = np.array([0, 0, 0, 1, 1, -1, 2, 3])
    predictions = ["cat", "dog", "cat", "cat", "cat", "dog", "", "<b>"]
    assert name_clusters(clusters, predictions) == ["cat", "cat (2)", "cluster 3", "<b>"]
    assert name_clusters(np.array([-1, -1]), ["a", "b"]) == []
    assert name_clusters(np.zeros(0, int), []) == []


@pytest.mark.parametrize("seed", range(5))
def test_without_copies_they_are_those_of_hdbscan(seed):
    positions = np.random.default_rng(seed).normal(size=(60, 2)) * np.array([[1.0, 3.0]])
    clusters, membership = find_clusters(positions, np.arange(60))
    fit = HDBSCAN(min_cluster_size=5, copy=True).fit(positions)
    assert np.array_equal(clusters < 0, fit.labels_ < 0)
    assert len({*zip(clusters.tolist(), fit.labels_.tolist(), strict=True)}) == len({*clusters.tolist()})
    np.testing.assert_array_equal(membership, fit.probabilities_.astype(np.float32))
    sampled = find_clusters(positions, np.arange(60), np.ones(60, bool))
    assert np.array_equal(sampled[0], clusters)


def test_a_photo_with_enough_copies_is_a_cluster():
    positions = np.random.default_rng(0).normal(size=(7, 2))
    rows = np.array([0] * 15 + [1, 2, 3, 4, 5, 6] + [0] * 15)
    clusters, membership = find_clusters(positions, rows)
    assert clusters.tolist() == [0] * 15 + [-1] * 6 + [0] * 15
    assert membership.tolist() == [1] * 15 + [0] * 6 + [1] * 15
    assert find_clusters(positions, np.array([0] * 4 + [1, 2, 3, 4, 5, 6]))[0].tolist() == [-1] * 10  # one too few


def test_of_several_such_photos_the_one_with_most_copies_is_first():
    clusters, _ = find_clusters(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.repeat([0, 1, 2], [5, 9, 4]))
    assert clusters.tolist() == [1] * 5 + [0] * 9 + [-1] * 4


def test_few_copies_count_for_the_size_of_the_cluster_they_are_in():
    positions = blobs(3, 3, 3)
    assert find_clusters(positions, np.arange(9))[0].tolist() == [-1] * 9
    clusters, _ = find_clusters(positions, np.repeat(np.arange(9), [4, 4, 4, 2, 2, 2, 3, 3, 3]))
    assert clusters.tolist() == [0] * 12 + [2] * 6 + [1] * 9


def test_many_copies_stay_in_the_cluster_around_them_and_leave_it_whole():
    positions = blobs(40, 20)
    alone, _ = find_clusters(positions, np.arange(60))
    place = np.flatnonzero(alone == 1)[0]  # of the smaller cluster
    rows = np.append(np.arange(60), [place] * 200)
    clusters, _ = find_clusters(positions, rows)
    assert clusters.tolist() == np.where(alone < 0, alone, 1 - alone)[rows].tolist()  # with its copies it is the larger one
    assert (clusters[60:] == 0).all()


def test_what_is_not_in_the_sample_joins_the_nearest_that_is():
    positions = np.concatenate([blobs(30, 20), [[50.0, 50.0]]])
    rows = np.append(np.arange(51), [50] * 7)
    sampled = np.arange(51) % 2 == 0
    clusters, _ = find_clusters(positions, rows, sampled)
    whole, _ = find_clusters(positions, rows)
    assert (clusters == whole).mean() > 0.9
    assert clusters[50:].tolist() == [2] * 8  # eight equal photos far from all others
    sampled[50] = False
    assert find_clusters(positions, rows, sampled)[0].max() <= 2
