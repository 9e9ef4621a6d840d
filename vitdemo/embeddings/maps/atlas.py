"""A gallery's map: points in two or three dimensions by UMAP (McInnes, Healy & Melville, 2018, arXiv:1802.03426), with their clusters.

UMAP gets exact neighbours, computed with matrix products: its own search takes several times as long below 4,096 rows, and compiles for a
minute above. UMAP's imports are slow, and two fits at once can abort the process, so the app fits maps in a child process (mapper.py).
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps.clusters import find_clusters
from vitdemo.embeddings.maps.nearest import METRICS, nearest, prepared
from vitdemo.embeddings.maps.scores import trustworthiness
from vitdemo.embeddings.progress import Clock, WorkProgress

if TYPE_CHECKING:
    import umap

MIN_ROWS = 5  # fewest distinct rows that UMAP can work with
EPOCHS = 300  # for a new map; UMAP's default of 500 takes longer without more trustworthiness
CHAINED_EPOCHS, CHAINED_RATE = 50, 0.25  # for a map started from another map; at UMAP's rate of 1 points move more and are trusted less

OnProgress = Callable[[WorkProgress], None]


@dataclass(frozen=True)
class MapOptions:
    """How a map is drawn.

    Attributes:
        dimensions: 2 or 3.
        neighbours: number of nearest neighbours per point, 2 … 200; few show detail, many show the overall structure.
        min_dist: minimum distance between points, 0 … 0.99.
        metric: one of METRICS.
        seed: random seed; the same seed draws the same map on the same machine.

    Raises: UserError for a value out of range.
    """

    dimensions: int = 2
    neighbours: int = 15
    min_dist: float = 0.1
    metric: str = "cosine"
    seed: int = 0

    def __post_init__(self):
        if self.dimensions not in (2, 3):
            raise UserError(f"A map has 2 or 3 dimensions, not {self.dimensions}.")
        if not 2 <= self.neighbours <= 200:
            raise UserError(f"A map takes 2 to 200 neighbours; {self.neighbours} were asked for.")
        if not 0 <= self.min_dist <= 0.99:
            raise UserError(f"The minimum distance lies between 0 and 0.99; {self.min_dist:g} was asked for.")
        if self.metric not in METRICS:
            raise UserError(f"Distances are {', '.join(METRICS[:-1])} or {METRICS[-1]}; “{self.metric}” is none of them.")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"A seed is a whole number from 0 to {2**32 - 1}; {self.seed} was asked for.")


@dataclass(frozen=True, eq=False)
class Atlas:
    """A gallery's map, row for row.

    Attributes:
        positions: (n, dimensions) float32.
        clusters: (n,) int32 cluster numbers; 0 is the largest cluster, −1 means unclustered.
        membership: (n,) float32, how strongly a row belongs to its cluster, 0 … 1.
        trust: trustworthiness, how far neighbours on the map are neighbours among the vectors, 0 … 1; None for fewer than 3 distinct rows.
        options: how the map was drawn.
    """

    positions: np.ndarray
    clusters: np.ndarray
    membership: np.ndarray
    trust: float | None
    options: MapOptions


def draw(vectors: np.ndarray, options: MapOptions, start: np.ndarray | None = None, on_progress: OnProgress = lambda _: None) -> Atlas:
    """Draw the map of vectors. Equal rows get the same position.

    Args:
        vectors: (n, width), finite; n may be 0.
        start: (n, dimensions), initial positions from another map of the same rows, such as another layer's, so that points move
            smoothly instead of jumping; NaN marks rows without a position.
        on_progress: called with each step of progress.
    """
    first, back = find_distinct(row.tobytes() for row in np.ascontiguousarray(vectors))
    distinct = vectors[first]
    if start is not None and start.shape != (len(vectors), options.dimensions):
        start = None
    start = None if start is None else start[first]
    if len(distinct) < MIN_ROWS:
        positions = _principal_components(prepared(distinct, options.metric), options.dimensions)
    else:
        positions = _umap(distinct, options, start, on_progress)
    if start is not None:
        positions = _align(start, positions)
    on_progress(WorkProgress("clusters", 0, 1))
    clusters, membership = find_clusters(positions, back)
    trust = trustworthiness(distinct, positions, options.metric)
    return Atlas(positions[back], clusters, membership, trust, options)


def find_distinct(keys: Iterable[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Find the distinct rows, of which all others are copies. Returns: their indices, in order, and for every row its place among them.

    Args:
        keys: one a row, equal for copies.
    """
    seen: dict[Hashable, int] = {}
    back = np.array([seen.setdefault(key, len(seen)) for key in keys], int)
    _, first = np.unique(back, return_index=True)
    return first, back


def _principal_components(rows: np.ndarray, dimensions: int) -> np.ndarray:
    """Positions, (n, dimensions), for too few rows for UMAP: their principal components, which preserve distances best."""
    centred = rows - rows.mean(0) if len(rows) else rows
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    components = (left * scales)[:, :dimensions]
    return np.pad(components, ((0, 0), (0, dimensions - components.shape[1]))).astype(np.float32)


def _umap(rows: np.ndarray, options: MapOptions, start: np.ndarray | None, on_progress: OnProgress) -> np.ndarray:
    on_progress(WorkProgress("neighbours", 0, 1))
    count = min(options.neighbours, len(rows) - 1)
    indices, distances = nearest(rows, count - 1, options.metric)
    indices = np.hstack([np.arange(len(rows), dtype=np.int32)[:, None], indices])  # UMAP expects each row as its own first neighbour
    distances = np.hstack([np.zeros((len(rows), 1), np.float32), distances.astype(np.float32)])
    epochs, rate = EPOCHS, 1.0
    init: str | np.ndarray = "spectral"
    if start is not None:
        epochs, rate, init = CHAINED_EPOCHS, CHAINED_RATE, _filled(start, indices)
    return fitted(rows, indices, distances, options, epochs=epochs, rate=rate, init=init, on_progress=on_progress).embedding_


def fitted(
    rows: np.ndarray,
    indices: np.ndarray,
    distances: np.ndarray,
    options: MapOptions,
    *,
    epochs: int = EPOCHS,
    rate: float = 1.0,
    init: str | np.ndarray = "spectral",
    on_progress: OnProgress = lambda _: None,
) -> "umap.UMAP":
    """Fit UMAP to rows whose nearest neighbours are known.

    Args:
        indices, distances: (n, neighbours); each row is its own first neighbour.
        epochs, rate: number of epochs, and UMAP's learning rate.
        init: UMAP's initial positions, or the method that computes them.
        on_progress: called with each step of progress.
    """
    on_progress(WorkProgress("map", 0, epochs))
    import umap

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # UMAP prints its parameters
        warnings.simplefilter("ignore")  # a seed means one thread, and known neighbours can't place new rows: both are intended
        fit = umap.UMAP(
            n_components=options.dimensions,
            n_neighbors=indices.shape[1],
            min_dist=options.min_dist,
            metric=options.metric,
            random_state=options.seed,
            transform_seed=options.seed,
            init=init,
            n_epochs=epochs,
            learning_rate=rate,
            precomputed_knn=(indices, distances),
            verbose=True,
            tqdm_kwds={"file": _Epochs(on_progress, epochs), "bar_format": "{n}", "mininterval": 0.2},
        )
        return fit.fit(rows)


class _Epochs:
    """A file object for UMAP's progress bar, which reports the finished epochs."""

    def __init__(self, on_progress: OnProgress, total: int):
        self._on_progress, self._clock = on_progress, Clock("map", total)

    def write(self, text: str) -> None:
        if (number := text.strip()).isdigit():
            self._on_progress(self._clock.at(int(number)))

    def flush(self) -> None:
        pass


def _filled(start: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Give rows of NaN the mean position of their neighbours that have a position, or else of all such rows."""
    start = start.astype(np.float32)
    known = np.isfinite(start).all(1)
    middle = start[known].mean(0) if known.any() else np.zeros(start.shape[1], np.float32)
    for row in np.flatnonzero(~known):
        near = indices[row][known[indices[row]]]
        start[row] = start[near].mean(0) if len(near) else middle
    return start


def _align(start: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Align a map with an earlier one (Procrustes): rotate, mirror, shift and scale the whole map by the rows that both have."""
    from scipy.linalg import orthogonal_procrustes

    shared = np.isfinite(start).all(1)
    target, source = start[shared].astype(np.float64), positions[shared].astype(np.float64)
    if not len(target):
        return positions
    centre, middle = target.mean(0), source.mean(0)
    rotation, fit = orthogonal_procrustes(source - middle, target - centre)
    size = np.square(source - middle).sum()
    scale = fit / size if size > 0 and fit > 0 else 1.0
    return ((positions - middle) @ rotation * scale + centre).astype(np.float32)
