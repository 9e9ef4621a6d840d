"""Maps right for any number of photos. UMAP itself runs in the mapper's tests."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps import atlas
from vitdemo.embeddings.maps.atlas import MapOptions, draw


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("rows", range(5))
def test_few_photos_lie_as_far_apart_as_they_are(rows, dimensions):
    vectors = np.random.default_rng(rows).normal(size=(rows, 20)).astype(np.float32)
    found = draw(vectors, MapOptions(dimensions, metric="euclidean"))
    assert found.positions.shape == (rows, dimensions)
    assert found.positions.dtype == np.float32
    assert found.clusters.tolist() == [-1] * rows
    assert found.membership.tolist() == [0] * rows
    assert (found.trust is None) == (rows < 3)
    if rows <= dimensions + 1:  # so many points fit into these dimensions exactly
        np.testing.assert_allclose(pdist(found.positions), pdist(vectors), rtol=1e-4)
    if rows == 1:
        assert found.positions.tolist() == [[0] * dimensions]


def test_all_photos_the_same():
    found = draw(np.ones((30, 8), np.float32), MapOptions())
    assert found.positions.tolist() == [[0, 0]] * 30
    assert found.clusters.tolist() == [0] * 30
    assert found.membership.tolist() == [1] * 30
    assert draw(np.ones((4, 8), np.float32), MapOptions()).clusters.tolist() == [-1] * 4  # too few for a cluster


def test_equal_rows_share_a_place():
    vectors = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)[[0, 1, 0, 2, 1, 3]]
    positions = draw(vectors, MapOptions()).positions
    assert np.array_equal(positions[[0, 1]], positions[[2, 4]])
    assert len(np.unique(positions, axis=0)) == 4


def test_few_photos_stay_where_they_were():
    vectors = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    first = draw(vectors, MapOptions()).positions
    turned = first @ np.array([[0, 1], [-1, 0]], np.float32) * 3 + 10
    np.testing.assert_allclose(draw(vectors, MapOptions(), turned).positions, turned, atol=1e-3)
    assert draw(vectors, MapOptions(3), turned).positions.shape == (4, 3)  # from another number of dimensions nothing goes on


def test_new_photos_begin_among_their_neighbours():
    start = np.array([[0, 0], [2, 2], [np.nan] * 2, [np.nan] * 2], np.float32)
    indices = np.array([[0, 1], [1, 0], [2, 1], [3, 2]])
    assert atlas._filled(start, indices).tolist()[:3] == [[0, 0], [2, 2], [2, 2]]
    assert atlas._filled(start, indices)[3].tolist() in ([2, 2], [1, 1])  # by its neighbour that has a place by now, or the middle
    assert atlas._filled(np.full((2, 2), np.nan), np.array([[0, 1], [1, 0]])).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"dimensions": 1}, "2 or 3 dimensions, not 1"),
        ({"neighbours": 1}, "2 to 200 neighbours; 1 were"),
        ({"neighbours": 201}, "2 to 200 neighbours; 201 were"),
        ({"min_dist": 1.0}, "between 0 and 0.99; 1 was"),
        ({"min_dist": float("nan")}, "between 0 and 0.99; nan was"),
        ({"metric": "hamming"}, "“hamming” is none of them"),
        ({"seed": -1}, "a whole number from 0 to 4294967295; -1 was"),
        ({"seed": 2**32}, "4294967296 was"),
    ],
)
def test_options_out_of_range(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        MapOptions(**wrong)
