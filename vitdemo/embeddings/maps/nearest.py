"""Which photos lie close to each other: nearest neighbours, near-duplicates, outliers. Exact, in blocks, so that memory stays bounded."""

from collections.abc import Iterator

import numpy as np

from vitdemo.core.errors import UserError

METRICS = ("cosine", "euclidean", "correlation")
DISTANCE_BLOCK_ROWS = 512  # rows of a distance matrix held at a time
# Cosine similarity of `final` from which two photos count as the same picture. ViT-Tiny, real photos: 0.97 and more for mirrored ones, 0.86
# to 0.98 for ones saved anew, halved or cropped, and at most 0.86 between 200 different ones.
NEAR_DUPLICATE = 0.9


def nearest(vectors: np.ndarray, count: int, metric: str = "cosine") -> tuple[np.ndarray, np.ndarray]:
    """The nearest neighbours of every row, nearest first, without the row itself.

    Args:
        vectors: (n, width).
        count: neighbours wanted; there are no more than n − 1.

    Returns: (n, count) indices, int32, and (n, count) distances in the vectors' own precision.
    Raises: UserError for a metric that is none of METRICS.
    """
    count = max(0, min(count, len(vectors) - 1))
    indices = np.empty((len(vectors), count), np.int32)
    distances = np.empty((len(vectors), count), vectors.dtype)
    for first, block in distance_blocks(vectors, metric):
        rows = np.arange(len(block))
        block[rows, first + rows] = np.inf
        found = np.argpartition(block, count - 1)[:, :count] if count > 0 else np.empty((len(block), 0), int)
        order = np.lexsort((found, np.take_along_axis(block, found, 1)))  # equally near ones by their place
        found = np.take_along_axis(found, order, 1)
        indices[first : first + len(block)] = found
        distances[first : first + len(block)] = np.take_along_axis(block, found, 1)
    return indices, distances


def distance_blocks(vectors: np.ndarray, metric: str) -> Iterator[tuple[int, np.ndarray]]:
    """The distance matrix, some rows at a time: the first row's number and (rows, n) distances, which are the caller's to change."""
    rows = prepared(vectors, metric)
    squares = np.einsum("nd,nd->n", rows, rows) if metric == "euclidean" else None
    for first in range(0, len(rows), DISTANCE_BLOCK_ROWS):
        block = rows[first : first + DISTANCE_BLOCK_ROWS] @ rows.T  # (rows, n)
        if squares is None:
            np.subtract(1, block, out=block)
        else:
            block *= -2
            block += squares
            block += squares[first : first + DISTANCE_BLOCK_ROWS, None]
        np.maximum(block, 0, out=block)  # rounding
        if squares is not None:
            np.sqrt(block, out=block)
        yield first, block


def prepared(vectors: np.ndarray, metric: str) -> np.ndarray:
    """The rows between which inner products give the distance: of length 1 for cosine, centred before that for correlation."""
    if metric not in METRICS:
        raise UserError(f"Distances are {', '.join(METRICS[:-1])} or {METRICS[-1]}; “{metric}” is none of them.")
    if metric == "euclidean":
        return vectors
    if metric == "correlation":
        vectors = vectors - vectors.mean(1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths, lengths, 1)


def similarities(vectors: np.ndarray, to: np.ndarray) -> np.ndarray:
    """(n,) cosine similarity of every row of (n, width) to one vector (width,)."""
    return prepared(vectors, "cosine") @ prepared(to[None], "cosine")[0]


def near_duplicates(vectors: np.ndarray, least: float = NEAR_DUPLICATE) -> list[list[int]]:
    """Groups of rows that are the same picture, or nearly: each has another in its group with a cosine similarity of `least` or more.

    Returns: groups of two or more, rows in order, the group with the first row first.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [np.empty((2, 0), int)]
    for first, block in distance_blocks(vectors, "cosine"):
        one, other = np.nonzero(block <= 1 - least)
        pairs.append(np.stack([one + first, other])[:, one + first < other])
    one, other = np.concatenate(pairs, 1)
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(len(vectors), len(vectors)))
    _, group = connected_components(graph, directed=False)
    members: dict[int, list[int]] = {}
    for row in np.unique(np.concatenate([one, other])).tolist():
        members.setdefault(int(group[row]), []).append(row)
    return list(members.values())


def remoteness(vectors: np.ndarray, count: int = 5) -> np.ndarray:
    """How far every row lies from its nearest: the mean cosine distance to `count` of them (Angiulli & Pizzuti, 2002), (n,), 0 … 2.

    A single row is 0 from everything.
    """
    _, distances = nearest(vectors, count)
    return distances.mean(1) if distances.shape[1] else np.zeros(len(vectors), vectors.dtype)


def outliers(remote: np.ndarray) -> np.ndarray:
    """Which rows lie far off, (n,) bool: beyond the upper quartile by more than 1.5 interquartile ranges (Tukey, 1977)."""
    if not len(remote):
        return np.zeros(0, bool)
    lower, upper = np.quantile(remote, (0.25, 0.75))
    return remote > upper + 1.5 * (upper - lower)
