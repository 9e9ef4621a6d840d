"""A photo's patches by what they mean: as colours that alike parts share, and by their likeness to one of them."""

import numpy as np

QUANTILES = (0.01, 0.99)  # of a component's values, that become 0 and 1


def patch_colours(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patches of one or several photos as colours, by principal components, as DINOv2's authors draw them (Oquab et al., 2023).

    The first component of all patches tells foreground from background: the background is the side with more of the photos' borders.
    The foreground's own first three components are red, green and blue.

    Args:
        tokens: (photos, rows, columns, width), finite.

    Returns: (photos, rows, columns, 3) float32, 0 … 1, black in the background, and (photos, rows, columns) bool, the foreground.
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
    """How alike every patch is to one of them: (photos, rows, columns) float32 cosine similarities, −1 … 1.

    Args:
        tokens: (photos, rows, columns, width).
    """
    unit = _unit(tokens)
    return (unit @ unit[photo, row, column]).astype(np.float32)


def _unit(tokens: np.ndarray) -> np.ndarray:
    """Tokens at length 1. A few background patches of a layer are ten times as long as all others (Darcet et al., 2024), and would be the
    first component by themselves."""
    lengths = np.linalg.norm(tokens, axis=-1, keepdims=True)
    return tokens / np.where(lengths, lengths, 1)


def _components(rows: np.ndarray, count: int) -> np.ndarray:
    """(n, count) principal components of (n, width); zeros where there are fewer."""
    from sklearn.decomposition import PCA

    fitting = min(count, len(rows) - 1, rows.shape[1])
    if fitting < 1 or not np.ptp(rows, axis=0).any():
        return np.zeros((len(rows), count))
    found = PCA(fitting, svd_solver="covariance_eigh").fit_transform(rows)
    return np.pad(found, ((0, 0), (0, count - fitting)))


def _threshold(values: np.ndarray) -> float:
    """The value that parts two groups best (Otsu, 1979)."""
    counts, edges = np.histogram(values, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = values.size - below
    sums = np.cumsum(counts * middles)
    apart = (sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)) ** 2
    return float(edges[1 + np.argmax(below * above * apart)])
