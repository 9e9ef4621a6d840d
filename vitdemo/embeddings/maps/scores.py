"""Scores: how well a layer separates the labels, and how trustworthy a map is. Exact, in blocks: no matrix of all pairs is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitdemo.core.names import one_spelling
from vitdemo.embeddings.maps.nearest import distance_blocks, nearest, prepared

NEIGHBOURS = 5  # k of the k-NN accuracy
MAP_NEIGHBOURS = 15  # neighbours per point in the trustworthiness


@dataclass(frozen=True)
class LayerScore:
    """One layer's scores. A score that does not exist is None, for example without labels.

    Attributes:
        layer: 1 … the number of blocks, or `final`.
        accuracy: leave-one-out k-nearest-neighbour accuracy by cosine distance, 0 … 1.
        silhouette: mean silhouette of the labels by cosine distance, −1 … 1 (Rousseeuw, 1987).
    """

    layer: int | str
    accuracy: float | None
    silhouette: float | None


def score_layer(layer: int | str, vectors: np.ndarray, labels: Sequence[str]) -> LayerScore:
    """Compute both scores of one layer.

    Args:
        vectors: (n, width), one row per distinct photo: duplicates would make the k-NN accuracy too high.
        labels: one label per row, equal ones in any of Unicode's forms; rows with an empty label are left out.
    """
    names = np.asarray(list(map(one_spelling, labels)), object)
    labelled = names != ""
    vectors, names = vectors[labelled], names[labelled].astype(str)
    return LayerScore(layer, knn_accuracy(vectors, names), silhouette(vectors, names))


def best(scores: Sequence[LayerScore]) -> int | None:
    """The index of the layer with the highest accuracy, the first of equals; None without accuracies."""
    scored = [index for index, score in enumerate(scores) if score.accuracy is not None]
    return max(scored, key=lambda index: scores[index].accuracy or 0.0, default=None)


def knn_accuracy(vectors: np.ndarray, labels: Sequence[str] | np.ndarray, count: int = NEIGHBOURS) -> float | None:
    """Leave-one-out k-NN accuracy: the share of rows whose label wins the vote of the `count` nearest other rows, weighted by 1 / distance.

    The result equals fitting sklearn's KNeighborsClassifier(count, metric="cosine", weights="distance") on all other rows, for every row.

    Returns: None for fewer than two rows or labels.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(classes) < 2:
        return None
    indices, distances = nearest(vectors, count)
    weights = np.where((distances == 0).any(1, keepdims=True), distances == 0, 1 / np.where(distances, distances, 1))
    votes = np.zeros((len(vectors), len(classes)))
    np.add.at(votes, (np.arange(len(vectors))[:, None], codes[indices]), weights)
    return float((votes.argmax(1) == codes).mean())


def silhouette(vectors: np.ndarray, labels: Sequence[str] | np.ndarray) -> float | None:
    """Mean silhouette by cosine distance; a label with a single row counts as 0, as in sklearn.

    The mean cosine distance from a row to a label is 1 minus its inner product with the label's mean unit vector: no pairs are needed.

    Returns: None for fewer than two labels, or as many labels as rows.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    if not 2 <= len(classes) < len(codes):
        return None
    rows = prepared(vectors.astype(np.float64), "cosine")
    rows_of = np.bincount(codes)  # (classes,)
    sums = np.zeros((len(classes), rows.shape[1]))
    np.add.at(sums, codes, rows)
    to_sums = rows @ sums.T  # (n, classes)
    all_rows = np.arange(len(codes))
    own = rows_of[codes]  # (n,)
    squared_norms = np.einsum("nd,nd->n", rows, rows)
    within = (own - 1 - to_sums[all_rows, codes] + squared_norms) / np.maximum(own - 1, 1)
    others = 1 - to_sums / rows_of
    others[all_rows, codes] = np.inf
    between = others.min(1)
    scale = np.maximum(within, between)
    values = np.where((own > 1) & (scale > 0), (between - within) / np.where(scale > 0, scale, 1), 0)
    return float(values.mean())


def trustworthiness(vectors: np.ndarray, positions: np.ndarray, metric: str = "cosine", count: int = MAP_NEIGHBOURS) -> float | None:
    """Trustworthiness (Venna & Kaski, 2001), as in sklearn: how far neighbours on the map are neighbours among the vectors, 0 … 1.

    Args:
        count: neighbours per point on the map, reduced to less than half of all rows.

    Returns: None for fewer than three rows.
    """
    rows = len(vectors)
    count = min(count, (rows - 1) // 2)
    if count < 1:
        return None
    on_map, _ = nearest(positions.astype(np.float64), count, "euclidean")
    penalty = 0
    for first, block in distance_blocks(vectors, metric):
        here = np.arange(len(block))
        block[here, first + here] = -1  # the row itself ranks before all its neighbours
        near = on_map[first : first + len(block)]
        for column in range(count):
            ranks = (block < block[here, near[:, column]][:, None]).sum(1)  # 1 for the nearest
            penalty += np.maximum(ranks - count, 0).sum()
    return float(1 - penalty * 2 / (rows * count * (2 * rows - 3 * count - 1)))
