"""Outlines as points: the shapes are (n, 2) float arrays of x, y with y pointing down, with points close enough together to be bent.

A thing is drawn at about −1 … 1; angles are in degrees, 0 to the right, 90 down.
"""

import math
from collections.abc import Sequence

import numpy as np

STEP = 0.09  # largest distance between neighbouring points, so that a wobble bends straight lines too

Points = Sequence[tuple[float, float]] | np.ndarray


def circle(x: float, y: float, radius: float, height: float | None = None, *, turn: float = 0) -> np.ndarray:
    """A circle, or an ellipse if `height` (its half-height) is given, turned about its centre."""
    rise = radius if height is None else height
    outline = arc(x, y, radius, 0, 360, height=rise)[:-1]
    return rotated(outline, turn, about=(x, y)) if turn else outline


def arc(x: float, y: float, radius: float, start: float, stop: float, *, height: float | None = None) -> np.ndarray:
    """An open part of a circle or ellipse, from one angle to the other."""
    rise = radius if height is None else height
    count = max(4, math.ceil(abs(math.radians(stop - start)) * max(max(radius, rise) / STEP, 7 if max(radius, rise) > 0.13 else 3)))
    angles = [math.radians(start + (stop - start) * i / count) for i in range(count + 1)]
    return np.array([(x + radius * math.cos(angle), y + rise * math.sin(angle)) for angle in angles])


def box(left: float, top: float, right: float, bottom: float, *, corner: float = 0.06) -> np.ndarray:
    """An upright rectangle with rounded corners."""
    return rounded([(left, top), (right, top), (right, bottom), (left, bottom)], corner)


def rounded(corners: Points, radius: float | Sequence[float] = 0.06) -> np.ndarray:
    """A polygon with rounded corners: each starts to bend `radius` away from its tip, at most half a side."""
    tips = np.asarray(corners, float)
    radii = np.broadcast_to(np.asarray(radius, float), len(tips))
    before, after = np.roll(tips, 1, 0) - tips, np.roll(tips, -1, 0) - tips
    reach = [np.minimum(0.49, radii / np.maximum(np.sqrt((side**2).sum(1)), 1e-9))[:, None] * side for side in (before, after)]
    share = np.array([0, 0.25, 0.5, 0.75, 1])[None, :, None]
    start, stop, tip = (tips + reach[0])[:, None], (tips + reach[1])[:, None], tips[:, None]
    bent = (1 - share) ** 2 * start + 2 * share * (1 - share) * tip + share**2 * stop  # (corners, 5, 2): one quadratic Bézier per corner
    return dense(bent.reshape(-1, 2), closed=True)


def smooth(points: Points) -> np.ndarray:
    """A closed smooth curve through the points (Catmull–Rom)."""
    knots = np.asarray(points, float)
    return _spline(np.concatenate([knots[-1:], knots, knots[:2]]))[:-1]


def curve(points: Points) -> np.ndarray:
    """An open smooth curve through the points (Catmull–Rom)."""
    knots = np.asarray(points, float)
    return _spline(np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]]))


def line(*points: tuple[float, float]) -> np.ndarray:
    """An open path through the points."""
    return dense(np.array(points, float), closed=False)


def star(x: float, y: float, outer: float, inner: float, tips: int, *, turn: float = -90, corner: float = 0.05) -> np.ndarray:
    """A star with the first tip at angle `turn`."""
    spokes = [(outer if i % 2 == 0 else inner, math.radians(turn + 180 * i / tips)) for i in range(2 * tips)]
    return rounded([(x + length * math.cos(angle), y + length * math.sin(angle)) for length, angle in spokes], corner)


def polar(x: float, y: float, radius: float, angle: float) -> tuple[float, float]:
    """The point at a distance and an angle, in degrees, from (x, y)."""
    return x + radius * math.cos(math.radians(angle)), y + radius * math.sin(math.radians(angle))


def rotated(points: Points, degrees: float, *, about: tuple[float, float] = (0, 0)) -> np.ndarray:
    """The points turned by an angle, in degrees, about a point."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (np.asarray(points) - about) @ np.array([[cos, sin], [-sin, cos]]) + about


def moved(points: Points, x: float, y: float, *, scale: float = 1) -> np.ndarray:
    """The points scaled about the origin, then shifted."""
    return np.asarray(points) * scale + (x, y)


def mirrored(points: Points) -> np.ndarray:
    """The points mirrored left to right, about x = 0."""
    return np.asarray(points) * (-1, 1)


def both_sides(points: Points) -> list[tuple[float, float]]:
    """The right half of an upright shape, from top to bottom, followed by its mirror image from bottom to top."""
    right = [(float(x), float(y)) for x, y in points]
    return right + [(-x, y) for x, y in reversed(right) if abs(x) > 1e-9]


def dense(points: np.ndarray, *, closed: bool) -> np.ndarray:
    """The same path with points inserted wherever two neighbours are more than STEP apart."""
    path = np.concatenate([points, points[:1]]) if closed else points
    lengths = np.sqrt((np.diff(path, axis=0) ** 2).sum(1))
    counts = np.maximum(1, np.ceil(lengths / STEP - 1e-6)).astype(int)
    start = np.repeat(np.arange(len(counts)), counts)
    share = ((np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)) / np.repeat(counts, counts))[:, None]
    between = path[start] + share * (path[start + 1] - path[start])
    return between if closed else np.concatenate([between, path[-1:]])


def _spline(knots: np.ndarray) -> np.ndarray:
    """A Catmull–Rom spline through all but the first and last knot, 6 points per piece."""
    p, q, r, s = (knots[i : len(knots) - 3 + i, None] for i in range(4))
    t = np.arange(6)[None, :, None] / 6
    pieces = q + 0.5 * t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p)))
    return dense(np.concatenate([pieces.reshape(-1, 2), knots[-2:-1]]), closed=False)
