"""A map of more photos than UMAP can be fitted to: it is fitted to a sample, and the others are placed among these (UMAP's own transform).

Neighbours are FAISS's (Douze et al., 2024, arXiv:2401.08281): exact up to `EXACT` rows, above by inverted lists, of which the nearest are
searched.
"""

import contextlib
import io
import warnings
from dataclasses import dataclass

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps.atlas import Atlas, MapOptions, OnProgress, find_clusters, fitted
from vitdemo.embeddings.maps.nearest import prepared
from vitdemo.embeddings.maps.scores import trustworthiness
from vitdemo.embeddings.progress import Clock, WorkProgress

DEFAULT_SAMPLE_ROWS = 20_000  # rows that UMAP is fitted to, unless asked otherwise
MAX_EXACT_ROWS = 20_000  # rows up to which every distance is looked at
LISTS_SEARCHED = 32
PLACED_AT_A_TIME = 20_000  # rows
PLACED_EPOCHS = 30  # UMAP's own number for many rows
JUDGED = 3_000  # rows by which a large map's trustworthiness is estimated


@dataclass(frozen=True, eq=False)
class LargeAtlas:
    """A large map, row for row.

    Attributes:
        atlas: its trust is that of `judged` rows among themselves.
        sampled: (n,) bool, the rows that UMAP was fitted to; the others were placed among them.
        judged: how many rows the trust is of.
    """

    atlas: Atlas
    sampled: np.ndarray
    judged: int


class Neighbours:
    """Finds the nearest of some rows.

    Args:
        vectors: (n, width) float32.

    Raises: UserError where FAISS is not installed.
    """

    _angular_trees = False  # read by UMAP, which takes this for an index of its own

    def __init__(self, vectors: np.ndarray, metric: str = "cosine", *, exact: int = MAX_EXACT_ROWS):
        try:
            import faiss
        except ImportError:
            raise UserError("A large map needs FAISS, which is not installed: pip install -r requirements-scale.txt") from None
        self._metric = metric
        rows = np.ascontiguousarray(prepared(vectors, metric), np.float32)
        kind = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
        self._index = faiss.IndexFlat(rows.shape[1], kind)
        if len(rows) > exact:
            lists = int(4 * len(rows) ** 0.5)
            self._index = faiss.IndexIVFFlat(self._index, rows.shape[1], lists, kind)
            self._index.cp.max_points_per_centroid = 64
            self._index.nprobe = LISTS_SEARCHED
            self._index.train(rows)
        self._index.add(rows)

    def query(self, vectors: np.ndarray, k: int, epsilon: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """(queries, k) int32 indices, nearest first, and their float32 distances; `epsilon` is for UMAP, which gives it."""
        found, indices = self._index.search(np.ascontiguousarray(prepared(vectors, self._metric), np.float32), k)
        distances = np.sqrt(np.maximum(found, 0)) if self._metric == "euclidean" else np.maximum(1 - found, 0)
        return indices.astype(np.int32), distances.astype(np.float32)

    def of_itself(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `query`, of the rows that it was made of, none its own neighbour. A row that fewer than k were found for has −1 at the end."""
        indices, distances = self.query(vectors, k + 1)
        own = indices == np.arange(len(vectors), dtype=np.int32)[:, None]
        own[~own.any(1), -1] = True  # twins came before it: the last one goes instead
        return indices[~own].reshape(-1, k), distances[~own].reshape(-1, k)


def draw_sampled(
    vectors: np.ndarray, options: MapOptions, sample: int = DEFAULT_SAMPLE_ROWS, on_progress: OnProgress = lambda _: None
) -> LargeAtlas:
    """The map of any number of vectors.

    Args:
        vectors: (n, width) float32, finite.
        sample: how many rows UMAP is fitted to, drawn evenly by the options' seed; all of them where there are no more.
    """
    count = len(vectors)
    sampled = np.zeros(count, bool)
    sampled[np.random.default_rng(options.seed).permutation(count)[:sample]] = True
    rows = np.ascontiguousarray(vectors[sampled], np.float32)
    on_progress(WorkProgress("neighbours", 0, 1))
    index = Neighbours(rows, options.metric, exact=max(MAX_EXACT_ROWS, sample))
    near = min(options.neighbours, len(rows) - 1)
    indices, distances = index.of_itself(rows, near - 1)
    selves = np.arange(len(rows), dtype=np.int32)[:, None]  # UMAP counts a row as its own first neighbour
    fit = fitted(
        rows, np.hstack([selves, indices]), np.hstack([np.zeros((len(rows), 1), np.float32), distances]), options, on_progress=on_progress
    )
    positions = np.empty((count, options.dimensions), np.float32)
    positions[sampled] = fit.embedding_
    _place(fit, index, vectors, np.flatnonzero(~sampled), positions, on_progress)
    on_progress(WorkProgress("clusters", 0, 1))
    clusters, membership = _clusters(positions, sampled)
    judged = np.sort(np.random.default_rng(options.seed).permutation(count)[:JUDGED])
    trust = trustworthiness(vectors[judged], positions[judged], options.metric)
    return LargeAtlas(Atlas(positions, clusters, membership, trust, options), sampled, len(judged))


def _place(fit, index: Neighbours, vectors: np.ndarray, others: np.ndarray, positions: np.ndarray, on_progress: OnProgress) -> None:
    """Give the rows that UMAP does not know yet their places among those that it knows."""
    fit._small_data, fit._knn_search_index = False, index  # with neighbours of ours UMAP keeps no index to place new rows by
    fit.n_epochs = 3 * PLACED_EPOCHS  # of which it takes a third
    fit.verbose = False
    clock = Clock("placing", len(others))
    for first in range(0, len(others), PLACED_AT_A_TIME):
        on_progress(clock.at(first))
        part = others[first : first + PLACED_AT_A_TIME]
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            positions[part] = fit.transform(np.ascontiguousarray(vectors[part], np.float32))
    on_progress(clock.at(len(others)))


def _clusters(positions: np.ndarray, sampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of the sample by HDBSCAN; every other row is in that of the sampled one next to it on the map."""
    from scipy.spatial import cKDTree

    found, firmness = find_clusters(positions[sampled])
    _, next_to = cKDTree(positions[sampled]).query(positions, workers=-1)
    clusters, membership = found[next_to], firmness[next_to]
    sizes = np.bincount(clusters[clusters >= 0], minlength=found.max(initial=-1) + 1)
    place = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")  # the largest first, now that all are counted
    return np.where(clusters < 0, clusters, place[clusters]).astype(np.int32), membership
