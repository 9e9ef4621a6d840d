"""The clusters of a map: found by HDBSCAN (Campello, Moulavi & Sander, 2013), and named by what is predicted in them.

A map has one point for each distinct row. Copies of a row share its point, belong to its cluster, and count for the cluster's size.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

MIN_CLUSTER_ROWS = 5  # of a small map; it grows with the map
NOISE = -1  # cluster number of unclustered rows


def find_clusters(positions: np.ndarray, rows: np.ndarray, sampled: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the clusters of a map.

    A row with so many copies that they make up a cluster is one by itself, unless HDBSCAN finds it in a larger one.

    Args:
        positions: (points, dimensions), of the distinct rows.
        rows: (n,), the point of every row.
        sampled: (points,) bool, the points that HDBSCAN gets; every other one joins the cluster of the nearest of these. By default all.

    Returns: cluster numbers, (n,) int32, −1 for unclustered, 0 for the largest cluster; membership, (n,) float32, 0 … 1.
    """
    copies = np.bincount(rows, minlength=len(positions))  # of each point, with the row itself
    counted = copies if sampled is None else copies[sampled]
    smallest = max(MIN_CLUSTER_ROWS, round(counted.sum() ** 0.5 / 3))
    if sampled is None:
        found, membership = _hdbscan(positions, counted, smallest)
    else:
        from scipy.spatial import cKDTree

        found, membership = _hdbscan(positions[sampled], counted, smallest)
        _, nearest = cKDTree(positions[sampled]).query(positions, workers=-1)
        found, membership = found[nearest], membership[nearest]
    alone = np.flatnonzero((found == NOISE) & (copies >= smallest))
    found[alone] = found.max(initial=NOISE) + 1 + np.arange(len(alone))
    membership[alone] = 1
    return _by_size(found[rows]), membership[rows].astype(np.float32)


def _hdbscan(positions: np.ndarray, copies: np.ndarray, smallest: int) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of every point, and its membership.

    A point that makes up a cluster by itself counts once: it would be infinitely dense, and cut up the cluster in which it lies.
    """
    found, membership = np.full(len(positions), NOISE), np.zeros(len(positions))
    points = np.repeat(np.arange(len(positions)), np.where(copies < smallest, copies, 1))
    if len(points) >= smallest:
        from sklearn.cluster import HDBSCAN

        fit = HDBSCAN(min_cluster_size=smallest, copy=True).fit(positions[points])
        found[points], membership[points] = fit.labels_, fit.probabilities_
    return _by_size(found), membership


def _by_size(found: np.ndarray) -> np.ndarray:
    """Number clusters anew, the largest first; the order of equally large ones stays."""
    sizes = np.bincount(found[found != NOISE], minlength=1)
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    return np.where(found == NOISE, NOISE, rank[found]).astype(np.int32)


def name_clusters(clusters: np.ndarray, predictions: Sequence[str]) -> list[str]:
    """Name each cluster after its most frequent prediction, cluster 0 first. Clusters with the same name are numbered.

    Args:
        clusters: (n,) cluster numbers, −1 for unclustered.
        predictions: the predicted class of each row; empty where unknown.
    """
    names: list[str] = []
    uses: Counter[str] = Counter()
    for cluster in range(int(clusters.max(initial=NOISE)) + 1):
        counts = Counter(predictions[row] for row in np.flatnonzero(clusters == cluster).tolist() if predictions[row])
        name = counts.most_common(1)[0][0] if counts else f"cluster {cluster + 1}"
        uses[name] += 1
        names.append(name if uses[name] == 1 else f"{name} ({uses[name]})")
    return names
