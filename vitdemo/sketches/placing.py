"""Place a thing in the picture: bend it a little, skew, turn and scale it, and put it at a random position."""

import math

import numpy as np

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.pen import Pen


def place(pen: Pen, dice: StableRng, *, wobble: float, border: float) -> tuple[float, list[list[np.ndarray]]]:
    """Place the parts that a pen has recorded.

    Args:
        wobble: strength of the bending, in the thing's own coordinates.
        border: extra margin on each side, as a share of the picture's side.

    Returns: the scale, and for each part its paths, then its decoration's outlines; all as shares of the picture's side.
    """
    groups = [[*part.paths, *(outline for outline, _ in part.decor)] for part in pen.parts]
    everything = np.concatenate([path for group in groups for path in group])  # (points, 2)
    a, b, c, d = (dice.uniform(0, math.tau) for _ in range(4))
    bent = everything + wobble * np.stack(
        [np.sin(5.1 * everything[:, 1] + 1.7 * everything[:, 0] + a) + 0.4 * np.sin(11 * everything[:, 1] + b),
         np.sin(4.7 * everything[:, 0] - 1.3 * everything[:, 1] + c) + 0.4 * np.sin(12 * everything[:, 0] + d)], 1
    )  # fmt: skip
    turn, lean = math.radians(dice.uniform(-pen.turn, pen.turn)), dice.uniform(-0.08, 0.08)
    wide, flip = dice.uniform(0.93, 1.08), dice.choice([1, -1])
    cos, sin = math.cos(turn), math.sin(turn)
    bent = bent @ (np.array([[wide * flip, 0], [lean, 1 / wide]]) @ np.array([[cos, sin], [-sin, cos]]))
    edges, first = [], 0
    for part in pen.parts:
        for path, width in zip(part.paths, part.widths, strict=True):
            points = bent[first : first + len(path)]
            edges += [points - width / 2, points + width / 2]
            first += len(path)
        first += sum(len(outline) for outline, _ in part.decor)
    solid = np.concatenate(edges)
    low, high = solid.min(0), solid.max(0)
    extent = float((high - low).max())
    share = max(dice.uniform(0.36, 0.78), _least_share(pen, extent))
    share = min(share, 0.82 * extent / math.sqrt(float((high - low).prod())))  # a square thing must leave some background
    scale = share / extent
    margin = 0.03 + border
    room = np.maximum(1 - 2 * margin - (high - low) * scale, 0)
    corner = margin + room * [dice.uniform(0, 1) for _ in range(2)]  # anywhere: the thing must not always be in the middle
    placed = (bent - low) * scale + corner
    sizes = [len(path) for group in groups for path in group]
    pieces = iter(np.split(placed, np.cumsum(sizes)[:-1]))
    return scale, [[next(pieces) for _ in group] for group in groups]


def _least_share(pen: Pen, extent: float) -> float:
    """Return how large a thin thing must be drawn, as a share of the side, so that its ink covers a twentieth of the picture."""
    ink = 0.0
    for part in pen.parts:
        for path, width in zip(part.paths, part.widths, strict=True):
            if width:
                ink += width * float(np.sqrt((np.diff(path, axis=0) ** 2).sum(1)).sum())
            elif part.line:
                x, y = path[:, 0], path[:, 1]
                ink += abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2
    return min(0.9, math.sqrt(0.06 / ink) * extent)
