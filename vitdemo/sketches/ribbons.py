"""Wide lines as polygons: smoother, and more exact in width, than a line drawn segment by segment."""

import itertools

import numpy as np

QUARTER = np.array([[0.0, 1.0], [-1.0, 0.0]])  # turns a direction by 90°


def ribbons(path: np.ndarray, half: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Outline a line of width 2 × half along a path. Returns pieces that end at sharp corners, and the points of round corners and ends."""
    step = np.diff(path, axis=0)
    length = np.sqrt((step**2).sum(1))
    keep = length > 0.3
    path = np.concatenate([path[:1], path[1:][keep]])
    unit = step[keep] / length[keep, None]
    if not len(unit):
        return [], path
    closed = len(unit) > 2 and np.abs(path[0] - path[-1]).max() < 0.5
    before = np.concatenate([unit[-1:] if closed else unit[:1], unit])  # (points, 2): the direction of the step to each point
    after = np.concatenate([unit, unit[:1] if closed else unit[-1:]])
    cosine = (before * after).sum(1)
    sharp = cosine < 0.8
    across = (before + after) / np.maximum(1 + cosine, 0.2)[:, None] @ QUARTER  # the mitre join
    cuts = [0, *(np.flatnonzero(sharp[1:-1]) + 1).tolist(), len(path) - 1]
    pieces = []
    for first, last in itertools.pairwise(cuts):
        sides = across[first : last + 1].copy()
        if sharp[first]:
            sides[0] = after[first] @ QUARTER
        if sharp[last]:
            sides[-1] = before[last] @ QUARTER
        middle = path[first : last + 1]
        pieces.append(np.concatenate([middle + half * sides, (middle - half * sides)[::-1]]))
    if not closed:
        sharp[[0, -1]] = True
    return pieces, path[sharp]
