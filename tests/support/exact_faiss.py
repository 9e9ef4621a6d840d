"""What this project uses of FAISS, by numpy and exactly: for tests without requirements-scale.txt."""

import numpy as np

METRIC_INNER_PRODUCT, METRIC_L2 = 0, 1


class IndexFlat:
    """Finds the nearest rows by comparing with all."""

    def __init__(self, width: int, metric: int):
        self.metric, self.rows = metric, np.empty((0, width), np.float32)

    def add(self, rows: np.ndarray) -> None:
        assert rows.dtype == np.float32
        self.rows = np.concatenate([self.rows, rows])

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and indices, best first; −1 where there are no more rows."""
        scores = queries @ self.rows.T
        if self.metric == METRIC_L2:
            scores = np.square(queries).sum(1)[:, None] + np.square(self.rows).sum(1) - 2 * scores
        order = np.argsort(scores if self.metric == METRIC_L2 else -scores, axis=1, kind="stable")[:, :count]
        missing = ((0, 0), (0, count - order.shape[1]))
        return np.pad(np.take_along_axis(scores, order, 1), missing), np.pad(order, missing, constant_values=-1).astype(np.int64)


class Parameters:
    """Those of the training."""

    max_points_per_centroid = 256


class IndexIVFFlat(IndexFlat):
    """Has lists, but searches them all."""

    def __init__(self, flat: IndexFlat, width: int, lists: int, metric: int):
        super().__init__(width, metric)
        self.lists, self.nprobe, self.cp, self.trained = lists, 1, Parameters(), 0

    def train(self, rows: np.ndarray) -> None:
        self.trained = len(rows)

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        assert self.trained
        return super().search(queries, count)


Index = IndexFlat
