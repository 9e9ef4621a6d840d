"""Maps laid out by a sample, against exact neighbours and against a map that all rows laid out."""

import sys

import numpy as np
import pytest

from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps import large
from vitdemo.embeddings.maps.atlas import MapOptions
from vitdemo.embeddings.maps.clusters import find_clusters
from vitdemo.embeddings.maps.nearest import nearest
from vitdemo.embeddings.maps.scores import trustworthiness

GROUPS, WIDTH = 6, 24


def points(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in well-parted groups, and which."""
    random = np.random.default_rng(0)
    group = random.integers(0, GROUPS, count)
    return (4 * random.normal(size=(GROUPS, WIDTH))[group] + random.normal(size=(count, WIDTH))).astype(np.float32), group


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "correlation"])
def test_neighbours_are_the_exact_ones(metric, large_maps):
    from vitdemo.embeddings.maps.large import Neighbours

    vectors, _ = points(700)
    vectors[5] = vectors[4]  # twins
    indices, distances = Neighbours(vectors, metric).of_itself(vectors, 5)
    wanted, far = nearest(vectors, 5, metric)
    assert (indices != np.arange(700)[:, None]).all()
    assert (indices == wanted).mean() > 0.99  # which of two comes first is a matter of rounding where they are as near
    if metric == "euclidean":  # by FAISS a difference of squares, whose rounding grows with them
        rounding = 4 * np.finfo(np.float32).eps * np.square(vectors).sum(1).max()
        np.testing.assert_allclose(np.square(distances), np.square(far), rtol=1e-5, atol=rounding)
    else:
        np.testing.assert_allclose(distances, far, atol=1e-5)


def test_among_many_rows_nearly_all_are_found(large_maps):
    from vitdemo.embeddings.maps.large import Neighbours

    vectors, _ = points(4000)
    indices, _ = Neighbours(vectors, exact=1000).of_itself(vectors, 10)
    wanted, _ = nearest(vectors, 10)
    assert np.mean([len(set(one) & set(other)) / 10 for one, other in zip(indices, wanted, strict=True)]) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_others_come_to_lie_among_their_like(dimensions, real_maps):
    from vitdemo.embeddings.maps.large import draw_sampled

    vectors, group = points(1500)
    told = []
    drawn = draw_sampled(vectors, MapOptions(dimensions), sample=500, on_progress=told.append)
    atlas = drawn.atlas
    assert drawn.sampled.sum() == 500
    assert atlas.positions.shape == (1500, dimensions)
    assert np.isfinite(atlas.positions).all()
    centres = np.stack([atlas.positions[drawn.sampled & (group == each)].mean(0) for each in range(GROUPS)])
    nearest_centre = np.linalg.norm(atlas.positions[:, None] - centres, axis=2).argmin(1)
    assert (nearest_centre == group)[~drawn.sampled].mean() > 0.99
    assert atlas.clusters.max() + 1 == GROUPS
    assert np.mean([len(np.unique(group[atlas.clusters == each])) == 1 for each in range(GROUPS)]) == 1
    sizes = np.bincount(atlas.clusters[atlas.clusters >= 0])
    assert (np.diff(sizes) <= 0).all()  # the largest first
    whole = draw_sampled(vectors, MapOptions(dimensions), sample=5000)
    assert whole.sampled.all()
    assert atlas.trust > whole.atlas.trust - 0.03
    assert {"neighbours", "map", "placing", "clusters"} <= {each.phase for each in told}
    again = draw_sampled(vectors, MapOptions(dimensions), sample=500)
    np.testing.assert_array_equal(again.atlas.positions, atlas.positions)


def test_without_faiss(monkeypatch):
    from vitdemo.embeddings.maps.large import Neighbours

    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"needs FAISS, which is not installed: pip install -r requirements-scale.txt"):
        Neighbours(np.zeros((3, 2), np.float32))


def test_copies_count_in_clusters_and_share_a_place(large_maps):
    from vitdemo.embeddings.maps.large import draw_sampled

    random = np.random.default_rng(0)
    one, others = random.normal(size=(1, WIDTH)).astype(np.float32), random.normal(size=(6, WIDTH)).astype(np.float32)
    equal = np.concatenate([np.repeat(one, 30, 0), others])
    found = draw_sampled(equal, MapOptions())
    assert found.atlas.clusters.tolist() == [0] * 30 + [-1] * 6
    assert len(np.unique(found.atlas.positions, axis=0)) == 7
    assert found.judged == 7
    rounded = equal + random.normal(scale=1e-6, size=equal.shape).astype(np.float32)  # the same photos, computed in several batches
    ids = ["a"] * 30 + list("bcdefg")
    assert draw_sampled(rounded, MapOptions(), ids=ids).atlas.clusters.tolist() == [0] * 30 + [-1] * 6
    few = draw_sampled(equal[:33], MapOptions())  # too few photos for UMAP
    assert few.atlas.clusters.tolist() == [0] * 30 + [-1] * 3
    assert few.sampled.all()


def test_many_rows_are_searched_in_lists(known_places):
    vectors, _ = points(900)
    index = large.Neighbours(vectors, exact=899)._index
    assert (index.lists, index.nprobe, index.trained, index.cp.max_points_per_centroid) == (120, 32, 900, 64)  # four times the root
    assert not hasattr(large.Neighbours(vectors, exact=900)._index, "lists")


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_sample_is_fitted_and_the_others_are_placed(dimensions, known_places, monkeypatch):
    monkeypatch.setattr(large, "PLACED_AT_A_TIME", 70)
    monkeypatch.setattr(large, "JUDGED", 50)
    vectors, _ = points(250)
    told = []
    options = MapOptions(dimensions, neighbours=6, seed=3)
    drawn = large.draw_sampled(vectors, options, sample=100, on_progress=told.append)
    (fitted,) = known_places
    assert (drawn.sampled.sum(), drawn.judged) == (100, 50)
    assert np.array_equal(fitted.rows, vectors[drawn.sampled])
    indices, distances = nearest(fitted.rows, 5)
    assert np.array_equal(fitted.indices, np.hstack([np.arange(100)[:, None], indices]))
    np.testing.assert_allclose(fitted.distances, np.hstack([np.zeros((100, 1)), distances]), atol=1e-5)
    assert fitted.fit.placed == [70, 70, 10]
    assert fitted.fit.n_epochs == 90  # UMAP's transform runs a third of them
    atlas = drawn.atlas
    assert np.array_equal(atlas.positions, vectors[:, :dimensions])
    clusters, membership = find_clusters(atlas.positions, np.arange(250), drawn.sampled)
    assert np.array_equal(atlas.clusters, clusters)
    assert np.array_equal(atlas.membership, membership)
    judged = np.sort(np.random.default_rng(3).permutation(250)[:50])
    assert atlas.trust == trustworthiness(vectors[judged], atlas.positions[judged])
    steps = [(step.phase, step.done, step.total) for step in told]
    placed = [("placing", done, 150) for done in (0, 70, 140, 150)]
    assert steps == [("neighbours", 0, 1), ("map", 0, 1), *placed, ("clusters", 0, 1)]
    other = large.draw_sampled(vectors, MapOptions(dimensions, neighbours=6, seed=4), sample=100)
    assert not np.array_equal(other.sampled, drawn.sampled)


def test_a_sample_of_all_leaves_none_to_be_placed(known_places):
    vectors, _ = points(40)
    drawn = large.draw_sampled(vectors, MapOptions(neighbours=100), sample=40)
    assert drawn.sampled.all()
    assert known_places[0].fit.placed == []
    assert known_places[0].indices.shape == (40, 39)  # no more neighbours than there are
