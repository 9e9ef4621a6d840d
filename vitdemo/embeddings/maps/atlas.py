"""A gallery's map: points in two or three dimensions by UMAP (McInnes, Healy & Melville, 2018, arXiv:1802.03426), and clusters on it.

UMAP is given exact neighbours, found by matrix products: its own search takes several times as long below 4,096 rows, and compiles for a
minute above. Its imports are slow and two fits at once can abort the process, so the app fits maps in a child (mapper.py).
"""

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps.nearest import METRICS, nearest, prepared
from vitdemo.embeddings.maps.scores import trustworthiness
from vitdemo.embeddings.progress import Clock, WorkProgress

if TYPE_CHECKING:
    import umap

MIN_ROWS = 5  # rows from which on UMAP and HDBSCAN have something to work with
EPOCHS = 300  # of a new map; UMAP's own 500 take longer and gain nothing in trustworthiness
CHAINED_EPOCHS, CHAINED_RATE = 50, 0.25  # of one that goes on from another: at UMAP's rate of 1 points move further and are trusted less
NOISE = -1

OnProgress = Callable[[WorkProgress], None]


@dataclass(frozen=True)
class MapOptions:
    """How a map is drawn.

    Attributes:
        dimensions: 2 or 3.
        neighbours: how many of its nearest a point is held to, 2 … 200; few show detail, many the whole.
        min_dist: how close points may lie, 0 … 0.99.
        metric: one of METRICS.
        seed: the same seed draws the same map on the same machine.
    """

    dimensions: int = 2
    neighbours: int = 15
    min_dist: float = 0.1
    metric: str = "cosine"
    seed: int = 0

    def __post_init__(self):
        """Raises: UserError for a value out of range."""
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
        clusters: (n,) int32; −1 is noise, 0 the largest cluster.
        membership: (n,) float32, how firmly a row belongs to its cluster, 0 … 1.
        trust: how far neighbours on the map are neighbours among the vectors, 0 … 1; None for fewer than three distinct rows.
    """

    positions: np.ndarray
    clusters: np.ndarray
    membership: np.ndarray
    trust: float | None
    options: MapOptions


def draw(vectors: np.ndarray, options: MapOptions, start: np.ndarray | None = None, on_progress: OnProgress = lambda _: None) -> Atlas:
    """The map of some vectors; equal rows lie in the same place.

    Args:
        vectors: (n, width), finite; n may be anything from 0 on.
        start: (n, dimensions), a map of the same rows to go on from, such as that of another layer, so that points move instead of jumping;
            rows of NaN are new.
    """
    distinct, first, back = _distinct(vectors)
    if start is not None and start.shape != (len(vectors), options.dimensions):
        start = None
    start = None if start is None else start[first]
    if len(distinct) < MIN_ROWS:
        positions = _spread(prepared(distinct, options.metric), options.dimensions)
    else:
        positions = _umap(distinct, options, start, on_progress)
    if start is not None:
        positions = _laid_onto(start, positions)
    on_progress(WorkProgress("clusters", 0, 1))
    clusters, membership = find_clusters(positions)
    trust = trustworthiness(distinct, positions, options.metric)
    return Atlas(positions[back], clusters[back], membership[back], trust, options)


def find_clusters(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dense groups on a map by HDBSCAN (Campello, Moulavi & Sander, 2013).

    Returns: (n,) int32 clusters, −1 for noise, the largest first, and (n,) float32 membership, 0 … 1.
    """
    if len(positions) < MIN_ROWS:
        return np.full(len(positions), NOISE, np.int32), np.zeros(len(positions), np.float32)
    from sklearn.cluster import HDBSCAN

    smallest = max(MIN_ROWS, round(len(positions) ** 0.5 / 3))
    found = HDBSCAN(min_cluster_size=smallest, copy=True).fit(positions)
    sizes = np.bincount(found.labels_[found.labels_ != NOISE], minlength=1)
    place = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    clusters = np.where(found.labels_ == NOISE, NOISE, place[found.labels_])
    return clusters.astype(np.int32), found.probabilities_.astype(np.float32)


def name_clusters(clusters: np.ndarray, predictions: Sequence[str]) -> list[str]:
    """What is most often predicted in each cluster, cluster 0 first; clusters that would share a name are numbered.

    Args:
        clusters: (n,), −1 for noise.
        predictions: one per row; empty where there is none.
    """
    names, times = [], Counter()
    for cluster in range(int(clusters.max(initial=NOISE)) + 1):
        said = Counter(predictions[row] for row in np.flatnonzero(clusters == cluster) if predictions[row])
        name = said.most_common(1)[0][0] if said else f"cluster {cluster + 1}"
        times[name] += 1
        names.append(name if times[name] == 1 else f"{name} ({times[name]})")
    return names


def _distinct(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different rows in the order in which they come, where each comes first, and which of them every row is."""
    seen: dict[bytes, int] = {}
    back = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in np.ascontiguousarray(vectors)], int)
    _, first = np.unique(back, return_index=True)
    return vectors[first], first, back


def _spread(rows: np.ndarray, dimensions: int) -> np.ndarray:
    """Fewer rows than UMAP takes, (n, dimensions), by principal components, which keep their distances as far as that can be."""
    centred = rows - rows.mean(0) if len(rows) else rows
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    components = (left * scales)[:, :dimensions]
    return np.pad(components, ((0, 0), (0, dimensions - components.shape[1]))).astype(np.float32)


def _umap(rows: np.ndarray, options: MapOptions, start: np.ndarray | None, on_progress: OnProgress) -> np.ndarray:
    on_progress(WorkProgress("neighbours", 0, 1))
    count = min(options.neighbours, len(rows) - 1)
    indices, distances = nearest(rows, count - 1, options.metric)
    indices = np.hstack([np.arange(len(rows), dtype=np.int32)[:, None], indices])  # UMAP counts a row as its own first neighbour
    distances = np.hstack([np.zeros((len(rows), 1), np.float32), distances.astype(np.float32)])
    epochs, rate, init = EPOCHS, 1.0, "spectral"
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
    """UMAP, fitted to rows whose neighbours are known.

    Args:
        indices, distances: (n, neighbours), each row its own first neighbour.
    """
    on_progress(WorkProgress("map", 0, epochs))
    import umap

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # it prints what it is about to do
        warnings.simplefilter("ignore")  # of a seed that means one thread, and of neighbours that can't place new rows: both are meant
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
    """A place for UMAP's progress bar to be written to, which reports the epochs."""

    def __init__(self, on_progress: OnProgress, total: int):
        self._on_progress, self._clock = on_progress, Clock("map", total)

    def write(self, text: str) -> None:
        if (number := text.strip()).isdigit():
            self._on_progress(self._clock.at(int(number)))

    def flush(self) -> None:
        pass


def _filled(start: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """New rows' places among their neighbours that have one, or in the middle."""
    start = start.astype(np.float32)
    known = np.isfinite(start).all(1)
    middle = start[known].mean(0) if known.any() else np.zeros(start.shape[1], np.float32)
    for row in np.flatnonzero(~known):
        near = indices[row][known[indices[row]]]
        start[row] = start[near].mean(0) if len(near) else middle
    return start


def _laid_onto(start: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """A map turned, mirrored, moved and scaled as a whole to lie where the earlier one lay (Procrustes), by the rows that both have."""
    from scipy.linalg import orthogonal_procrustes

    both = np.isfinite(start).all(1)
    target, given = start[both].astype(np.float64), positions[both].astype(np.float64)
    if not len(target):
        return positions
    centre, middle = target.mean(0), given.mean(0)
    turn, fit = orthogonal_procrustes(given - middle, target - centre)
    size = np.square(given - middle).sum()
    scale = fit / size if size > 0 and fit > 0 else 1.0
    return ((positions - middle) @ turn * scale + centre).astype(np.float32)
