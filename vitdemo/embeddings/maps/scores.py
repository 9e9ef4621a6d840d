"""How well a layer tells things apart, and how far a map can be trusted. Exact and in blocks: no matrix of all pairs is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitdemo.embeddings.maps.nearest import distance_blocks, nearest, prepared

NEIGHBOURS = 5  # that vote on a photo's label
MAP_NEIGHBOURS = 15  # of a point whose faith to the vectors is tested


@dataclass(frozen=True)
class LayerScore:
    """One layer's scores; None where a score does not exist, such as without labels.

    Attributes:
        layer: 1 … the number of blocks, or `final`.
        accuracy: leave-one-out k-nearest-neighbour accuracy by cosine distance, 0 … 1.
        silhouette: mean silhouette of the labels by cosine distance, −1 … 1 (Rousseeuw, 1987).
    """

    layer: int | str
    accuracy: float | None
    silhouette: float | None


def score_layer(layer: int | str, vectors: np.ndarray, labels: Sequence[str]) -> LayerScore:
    """Both scores of one layer.

    Args:
        vectors: (n, width), one row for each distinct photo: a duplicate would give its twin away.
        labels: one per row; rows with an empty one are left out.
    """
    labels = np.asarray(labels, object)
    labelled = labels != ""
    vectors, labels = vectors[labelled], labels[labelled].astype(str)
    return LayerScore(layer, knn_accuracy(vectors, labels), silhouette(vectors, labels))


def best(scores: Sequence[LayerScore]) -> int | None:
    """The place of the layer with the highest accuracy, the first of equals; None without accuracies."""
    rated = [place for place, each in enumerate(scores) if each.accuracy is not None]
    return max(rated, key=lambda place: scores[place].accuracy, default=None)


def knn_accuracy(vectors: np.ndarray, labels: Sequence[str], count: int = NEIGHBOURS) -> float | None:
    """Share of rows whose label the nearest other rows vote for, each with a weight of 1 / distance.

    The same as fitting sklearn's KNeighborsClassifier(count, metric="cosine", weights="distance") on all rows but one, for every row.

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


def silhouette(vectors: np.ndarray, labels: Sequence[str]) -> float | None:
    """Mean silhouette by cosine distance; a label with one row counts as 0 there, as in sklearn.

    The mean cosine distance of a row to a group is 1 minus its inner product with the group's mean unit vector, so no pair is looked at.

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
    everyone = np.arange(len(codes))
    own = rows_of[codes]  # (n,)
    selves = np.einsum("nd,nd->n", rows, rows)
    within = (own - 1 - to_sums[everyone, codes] + selves) / np.maximum(own - 1, 1)
    others = 1 - to_sums / rows_of
    others[everyone, codes] = np.inf
    between = others.min(1)
    scale = np.maximum(within, between)
    values = np.where((own > 1) & (scale > 0), (between - within) / np.where(scale > 0, scale, 1), 0)
    return float(values.mean())


def trustworthiness(vectors: np.ndarray, positions: np.ndarray, metric: str = "cosine", count: int = MAP_NEIGHBOURS) -> float | None:
    """How far neighbours on the map are neighbours among the vectors, 0 … 1 (Venna & Kaski, 2001); as sklearn's.

    Args:
        count: neighbours on the map; fewer than half of all rows.

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
        block[here, first + here] = -1  # a row comes before all its neighbours
        near = on_map[first : first + len(block)]
        for column in range(count):
            ranks = (block < block[here, near[:, column]][:, None]).sum(1)  # 1 for the nearest
            penalty += np.maximum(ranks - count, 0).sum()
    return float(1 - penalty * 2 / (rows * count * (2 * rows - 3 * count - 1)))
