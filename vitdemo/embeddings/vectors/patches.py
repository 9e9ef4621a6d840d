"""Patch PCA and patch similarity: similar patches share a colour, and a map shows how similar all patches are to one."""

import numpy as np

QUANTILES = (0.01, 0.99)  # quantiles of a component's values that become 0 and 1


def patch_colours(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour the patches of one or several photos by principal components, as in DINOv2 (Oquab et al., 2023).

    The first component of all patches separates foreground from background: the background has the larger share of border patches.
    The first three components of the foreground patches become red, green and blue.

    Args:
        tokens: (photos, rows, columns, width), finite.

    Returns: colours, (photos, rows, columns, 3) float32, 0 … 1, black in the background; foreground mask, (photos, rows, columns) bool.
    """
    grid = tokens.shape[:3]
    rows = _unit(tokens).reshape(-1, tokens.shape[-1]).astype(np.float64)
    first = _components(rows, 1)[:, 0].reshape(grid)
    border = np.zeros(grid[1:], bool)
    border[[0, -1]] = border[:, [0, -1]] = True
    foreground = first > _threshold(first)
    if foreground[:, border].mean() > foreground.mean():
        foreground = ~foreground
    colours = np.zeros((*grid, 3), np.float32)
    if not foreground.any():
        return colours, foreground
    components = _components(rows[foreground.ravel()], 3)
    low, high = np.quantile(components, QUANTILES, axis=0)
    colours[foreground] = np.clip((components - low) / np.where(high > low, high - low, 1), 0, 1)
    return colours, foreground


def correspondence(tokens: np.ndarray, photo: int, row: int, column: int) -> np.ndarray:
    """Cosine similarity of every patch to one patch: (photos, rows, columns) float32, −1 … 1.

    Args:
        tokens: (photos, rows, columns, width).
        photo, row, column: index of the one patch.
    """
    unit = _unit(tokens)
    return (unit @ unit[photo, row, column]).astype(np.float32)


def _unit(tokens: np.ndarray) -> np.ndarray:
    """Scale tokens to length 1. Otherwise the few background tokens of ten times the usual length (Darcet et al., 2024) would be the first
    component by themselves."""
    lengths = np.linalg.norm(tokens, axis=-1, keepdims=True)
    return tokens / np.where(lengths, lengths, 1)


def _components(rows: np.ndarray, count: int) -> np.ndarray:
    """Principal components, (n, count), of rows (n, width); missing components are 0."""
    from sklearn.decomposition import PCA

    available = min(count, len(rows) - 1, rows.shape[1])
    if available < 1 or not np.ptp(rows, axis=0).any():
        return np.zeros((len(rows), count))
    components = PCA(available, svd_solver="covariance_eigh").fit_transform(rows)
    return np.pad(components, ((0, 0), (0, count - available)))


def _threshold(values: np.ndarray) -> float:
    """The threshold that separates two groups of values best (Otsu, 1979)."""
    counts, edges = np.histogram(values, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = values.size - below
    sums = np.cumsum(counts * middles)
    squared_gap = (sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)) ** 2
    return float(edges[1 + np.argmax(below * above * squared_gap)])
