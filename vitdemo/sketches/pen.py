"""The pen records a thing's parts, back to front, in the thing's own coordinates; the canvas paints them later.

Everything that the pen draws belongs to the object, and nothing else does: mask and picture come from the same parts.
"""

from dataclasses import dataclass

import numpy as np

from vitdemo.sketches.palette import Colour, Palette


@dataclass(frozen=True)
class Part:
    """Areas and strokes that look like one piece, with decoration inside it."""

    paths: tuple[np.ndarray, ...]
    widths: tuple[float, ...]  # per path: 0 = an area, else the width of a stroke
    fill: Colour
    line: bool  # whether the piece has an outline
    decor: tuple[tuple[np.ndarray, Colour], ...] = ()  # areas


class Pen:
    """Records the parts of a thing, back to front; the canvas paints them later."""

    def __init__(self, palette: Palette) -> None:
        self.palette = palette
        self.parts: list[Part] = []
        self.turn = 25.0  # largest rotation of the finished thing in degrees, either way

    def area(self, *outlines: np.ndarray, fill: Colour, decor: list[tuple[np.ndarray, Colour]] | None = None) -> None:
        """Record closed shapes that merge, with one outline round all of them."""
        self.parts.append(Part(outlines, (0.0,) * len(outlines), fill, True, tuple(decor or ())))

    def spot(self, *outlines: np.ndarray, fill: Colour) -> None:
        """Record closed shapes without an outline: eyes, dots, patches."""
        self.parts.append(Part(outlines, (0.0,) * len(outlines), fill, False))

    def bar(self, *paths: np.ndarray, width: float, fill: Colour) -> None:
        """Record rounded bars along paths, with one outline: legs, tubes, handles. A ring is a path that ends where it began."""
        self.parts.append(Part(paths, (width,) * len(paths), fill, True))

    def mark(self, *paths: np.ndarray, width: float = 0.035, fill: Colour | None = None) -> None:
        """Record plain strokes, by default in the colour of the lines: smiles, seams, whiskers."""
        self.parts.append(Part(paths, (width,) * len(paths), fill or self.palette.line, False))

    def piece(self, *, areas: list[np.ndarray], bars: list[tuple[np.ndarray, float]], fill: Colour) -> None:
        """Record areas and (path, width) bars as one piece, with one outline round all of them."""
        paths = (*areas, *(path for path, _ in bars))
        self.parts.append(Part(paths, (0.0,) * len(areas) + tuple(width for _, width in bars), fill, True))
