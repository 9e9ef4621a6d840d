"""Maps laid out by a sample, against exact neighbours and against a map that all rows laid out."""

import sys

import numpy as np
import pytest

from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps.atlas import MapOptions
from vitdemo.embeddings.maps.nearest import nearest

pytestmark = pytest.mark.slow

pytest.importorskip("faiss")
GROUPS, WIDTH = 6, 24


@pytest.fixture(scope="module", autouse=True)
def compiled(cache_dir):
    """umap's compiled code is kept for all tests."""
    from vitdemo.embeddings.maps.mapper import keep_compiled

    keep_compiled(cache_dir / "compiled")


def points(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in well-parted groups, and which."""
    random = np.random.default_rng(0)
    group = random.integers(0, GROUPS, count)
    return (4 * random.normal(size=(GROUPS, WIDTH))[group] + random.normal(size=(count, WIDTH))).astype(np.float32), group


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "correlation"])
def test_neighbours_are_the_exact_ones(metric):
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


def test_among_many_rows_nearly_all_are_found():
    from vitdemo.embeddings.maps.large import Neighbours

    vectors, _ = points(4000)
    indices, _ = Neighbours(vectors, exact=1000).of_itself(vectors, 10)
    wanted, _ = nearest(vectors, 10)
    assert np.mean([len(set(one) & set(other)) / 10 for one, other in zip(indices, wanted, strict=True)]) > 0.9


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_others_come_to_lie_among_their_like(dimensions):
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


def test_copies_count_in_clusters_and_share_a_place():
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
