"""Nearest neighbours, near-duplicates and outliers. All results are exact; blocks of the distance matrix keep the memory bounded."""

from collections.abc import Iterator

import numpy as np

from vitdemo.core.errors import UserError

METRICS = ("cosine", "euclidean", "correlation")
DISTANCE_BLOCK_ROWS = 512  # rows of the distance matrix in memory at a time
# Cosine similarity of the `final` vectors from which two photos count as near-duplicates. With ViT-Tiny and real photos: at least 0.97 for
# mirrored photos, 0.86 to 0.98 for re-saved, halved or cropped photos, and at most 0.86 between 200 different photos.
NEAR_DUPLICATE = 0.9


def nearest(vectors: np.ndarray, count: int, metric: str = "cosine") -> tuple[np.ndarray, np.ndarray]:
    """The nearest neighbours of every row, nearest first, without the row itself.

    Args:
        vectors: (n, width).
        count: number of neighbours, at most n − 1.
        metric: one of METRICS.

    Returns: indices, (n, count) int32, and distances, (n, count), in the vectors' own precision.
    Raises: UserError for a metric that is not in METRICS.
    """
    count = max(0, min(count, len(vectors) - 1))
    indices = np.empty((len(vectors), count), np.int32)
    distances = np.empty((len(vectors), count), vectors.dtype)
    for first, block in distance_blocks(vectors, metric):
        rows = np.arange(len(block))
        block[rows, first + rows] = np.inf
        neighbours = np.argpartition(block, count - 1)[:, :count] if count > 0 else np.empty((len(block), 0), int)
        order = np.lexsort((neighbours, np.take_along_axis(block, neighbours, 1)))  # equally near neighbours in order of their index
        neighbours = np.take_along_axis(neighbours, order, 1)
        indices[first : first + len(block)] = neighbours
        distances[first : first + len(block)] = np.take_along_axis(block, neighbours, 1)
    return indices, distances


def distance_blocks(vectors: np.ndarray, metric: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the distance matrix in blocks: the first row's index, and distances (rows, n), which the caller may overwrite.

    Raises: UserError for a metric that is not in METRICS.
    """
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
        np.maximum(block, 0, out=block)  # rounding errors can be negative
        if squares is not None:
            np.sqrt(block, out=block)
        yield first, block


def prepared(vectors: np.ndarray, metric: str) -> np.ndarray:
    """Rows whose inner products give the distance: scaled to length 1 for cosine, centred first for correlation.

    Raises: UserError for a metric that is not in METRICS.
    """
    if metric not in METRICS:
        raise UserError(f"Distances are {', '.join(METRICS[:-1])} or {METRICS[-1]}; “{metric}” is none of them.")
    if metric == "euclidean":
        return vectors
    if metric == "correlation":
        vectors = vectors - vectors.mean(1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths, lengths, 1)


def similarities(vectors: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Cosine similarity, (n,), of every row of (n, width) to one vector (width,)."""
    return prepared(vectors, "cosine") @ prepared(to[None], "cosine")[0]


def near_duplicates(vectors: np.ndarray, least: float = NEAR_DUPLICATE) -> list[list[int]]:
    """Groups of near-duplicates: each row has a cosine similarity of at least `least` to another row of its group.

    Returns: groups of two or more row indices in ascending order, sorted by their first row.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [np.empty((2, 0), int)]
    for first, block in distance_blocks(vectors, "cosine"):
        row_indices, column_indices = np.nonzero(block <= 1 - least)
        pairs.append(np.stack([row_indices + first, column_indices])[:, row_indices + first < column_indices])
    row_indices, column_indices = np.concatenate(pairs, 1)
    graph = coo_array((np.ones(len(row_indices), np.int8), (row_indices, column_indices)), shape=(len(vectors), len(vectors)))
    _, group_of = connected_components(graph, directed=False)
    members: dict[int, list[int]] = {}
    for row in np.unique(np.concatenate([row_indices, column_indices])).tolist():
        members.setdefault(int(group_of[row]), []).append(row)
    return list(members.values())


def remoteness(vectors: np.ndarray, count: int = 5) -> np.ndarray:
    """Outlier score of every row, (n,), 0 … 2: the mean cosine distance to its `count` nearest rows (Angiulli & Pizzuti, 2002).

    A single row has a score of 0.
    """
    _, distances = nearest(vectors, count)
    return distances.mean(1) if distances.shape[1] else np.zeros(len(vectors), vectors.dtype)


def outliers(remote: np.ndarray) -> np.ndarray:
    """The outliers among the rows, (n,) bool: scores more than 1.5 interquartile ranges above the upper quartile (Tukey, 1977)."""
    if not len(remote):
        return np.zeros(0, bool)
    lower, upper = np.quantile(remote, (0.25, 0.75))
    return remote > upper + 1.5 * (upper - lower)
