"""Maps of too many photos for a UMAP fit: fit UMAP to a sample, and place the other photos with UMAP's transform.

FAISS finds the neighbours (Douze et al., 2024, arXiv:2401.08281): exactly up to MAX_EXACT_ROWS rows; above, it searches only the nearest of
many inverted lists.
"""

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.embeddings.defaults import DEFAULT_SAMPLE_ROWS
from vitdemo.embeddings.maps.atlas import MIN_ROWS, Atlas, MapOptions, OnProgress, draw, find_distinct, fitted
from vitdemo.embeddings.maps.clusters import find_clusters
from vitdemo.embeddings.maps.nearest import prepared
from vitdemo.embeddings.maps.scores import trustworthiness
from vitdemo.embeddings.progress import Clock, WorkProgress

MAX_EXACT_ROWS = 20_000  # rows up to which the neighbour search is exact
LISTS_SEARCHED = 32  # inverted lists searched per query
PLACED_AT_A_TIME = 20_000  # rows placed in one batch
PLACED_EPOCHS = 30  # UMAP's default for many rows
JUDGED = 3_000  # rows in the estimate of a large map's trustworthiness


@dataclass(frozen=True, eq=False)
class LargeAtlas:
    """A large map, row for row.

    Attributes:
        atlas: the map; its trust is estimated from `judged` rows.
        sampled: (n,) bool, the rows that UMAP was fitted to; the other rows were placed afterwards.
        judged: number of rows in the estimate of the trust.
    """

    atlas: Atlas
    sampled: np.ndarray
    judged: int


class Neighbours:
    """A FAISS index for the nearest neighbours among rows.

    Args:
        vectors: (n, width) float32.
        metric: one of METRICS.
        exact: number of rows up to which the search is exact.

    Raises: UserError where FAISS is not installed.
    """

    _angular_trees = False  # UMAP reads this attribute, because it treats this object as an index of its own

    def __init__(self, vectors: np.ndarray, metric: str = "cosine", *, exact: int = MAX_EXACT_ROWS):
        try:
            import faiss
        except ImportError:
            raise UserError("A large map needs FAISS, which is not installed: pip install -r requirements-scale.txt") from None
        self._metric = metric
        rows = np.ascontiguousarray(prepared(vectors, metric), np.float32)
        kind = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
        flat = faiss.IndexFlat(rows.shape[1], kind)
        self._index: faiss.Index = flat
        if len(rows) > exact:
            lists = int(4 * len(rows) ** 0.5)
            inverted = faiss.IndexIVFFlat(flat, rows.shape[1], lists, kind)
            inverted.cp.max_points_per_centroid = 64
            inverted.nprobe = LISTS_SEARCHED
            inverted.train(rows)
            self._index = inverted
        self._index.add(rows)

    def query(self, vectors: np.ndarray, k: int, epsilon: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows: indices, (queries, k) int32, nearest first, and float32 distances. UMAP passes `epsilon`, which is unused."""
        scores, indices = self._index.search(np.ascontiguousarray(prepared(vectors, self._metric), np.float32), k)
        distances = np.sqrt(np.maximum(scores, 0)) if self._metric == "euclidean" else np.maximum(1 - scores, 0)
        return indices.astype(np.int32), distances.astype(np.float32)

    def of_itself(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `query` for the index's own rows, without each row itself. A row with fewer than k neighbours has −1 at the end."""
        indices, distances = self.query(vectors, k + 1)
        own = indices == np.arange(len(vectors), dtype=np.int32)[:, None]
        own[~own.any(1), -1] = True  # equal rows came first: drop the last neighbour instead
        return indices[~own].reshape(-1, k), distances[~own].reshape(-1, k)


def draw_sampled(
    vectors: np.ndarray,
    options: MapOptions,
    sample: int = DEFAULT_SAMPLE_ROWS,
    on_progress: OnProgress = lambda _: None,
    *,
    ids: Sequence[str] | None = None,
) -> LargeAtlas:
    """Draw the map of any number of vectors. Copies of a photo get the same position.

    Args:
        vectors: (n, width) float32, finite.
        sample: number of distinct rows that UMAP is fitted to, drawn at random with the options' seed; all if there are no more.
        on_progress: called with each step of progress.
        ids: one a row, equal for copies, whose vectors may differ by rounding; by default, copies have equal vectors.

    Raises: UserError where FAISS is not installed.
    """
    first, back = find_distinct(ids if ids is not None else (row.tobytes() for row in np.ascontiguousarray(vectors)))
    if len(first) < len(vectors):
        vectors = vectors[first]
    count = len(vectors)
    if count < MIN_ROWS:
        return LargeAtlas(draw(vectors[back], options, on_progress=on_progress), np.ones(len(back), bool), count)
    sampled = np.zeros(count, bool)
    sampled[np.random.default_rng(options.seed).permutation(count)[:sample]] = True
    rows = np.ascontiguousarray(vectors[sampled], np.float32)
    on_progress(WorkProgress("neighbours", 0, 1))
    index = Neighbours(rows, options.metric, exact=max(MAX_EXACT_ROWS, sample))
    neighbours = min(options.neighbours, len(rows) - 1)
    indices, distances = index.of_itself(rows, neighbours - 1)
    selves = np.arange(len(rows), dtype=np.int32)[:, None]  # UMAP expects each row as its own first neighbour
    fit = fitted(
        rows, np.hstack([selves, indices]), np.hstack([np.zeros((len(rows), 1), np.float32), distances]), options, on_progress=on_progress
    )
    positions = np.empty((count, options.dimensions), np.float32)
    positions[sampled] = fit.embedding_
    _place(fit, index, vectors, np.flatnonzero(~sampled), positions, on_progress)
    on_progress(WorkProgress("clusters", 0, 1))
    clusters, membership = find_clusters(positions, back, sampled)
    judged = np.sort(np.random.default_rng(options.seed).permutation(count)[:JUDGED])
    trust = trustworthiness(vectors[judged], positions[judged], options.metric)
    return LargeAtlas(Atlas(positions[back], clusters, membership, trust, options), sampled[back], len(judged))


def _place(fit, index: Neighbours, vectors: np.ndarray, others: np.ndarray, positions: np.ndarray, on_progress: OnProgress) -> None:
    """Compute positions for the rows that UMAP was not fitted to, and write them into `positions`."""
    fit._small_data, fit._knn_search_index = False, index  # with precomputed neighbours UMAP keeps no index to place new rows with
    fit.n_epochs = 3 * PLACED_EPOCHS  # UMAP's transform runs a third of them
    fit.verbose = False
    clock = Clock("placing", len(others))
    for first in range(0, len(others), PLACED_AT_A_TIME):
        on_progress(clock.at(first))
        part = others[first : first + PLACED_AT_A_TIME]
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            positions[part] = fit.transform(np.ascontiguousarray(vectors[part], np.float32))
    on_progress(clock.at(len(others)))
