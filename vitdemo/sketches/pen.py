"""What a thing is drawn with: the pen notes down parts, back to front, in the thing's own coordinates; the canvas paints them later.

Everything the pen draws is the object, and nothing else is: mask and picture come from the same notes.
"""

from dataclasses import dataclass

import numpy as np

from vitdemo.sketches.palette import Colour, Palette


@dataclass(frozen=True)
class Part:
    """Areas and strokes that look like one piece, with decoration that stays inside it."""

    paths: tuple[np.ndarray, ...]
    widths: tuple[float, ...]  # of each path: 0 = an area, else a stroke that wide
    fill: Colour
    line: bool
    decor: tuple[tuple[np.ndarray, Colour], ...] = ()


class Pen:
    """Records the parts of a thing, back to front; the canvas paints them later."""

    def __init__(self, palette: Palette) -> None:
        self.palette = palette
        self.parts: list[Part] = []
        self.turn = 25.0  # how far, in degrees, the finished thing may be turned either way

    def area(self, *outlines: np.ndarray, fill: Colour, decor: list[tuple[np.ndarray, Colour]] | None = None) -> None:
        """Closed shapes that run into one another, with one outline round them all."""
        self.parts.append(Part(outlines, (0.0,) * len(outlines), fill, True, tuple(decor or ())))

    def spot(self, *outlines: np.ndarray, fill: Colour) -> None:
        """Closed shapes without an outline: eyes, dots, patches."""
        self.parts.append(Part(outlines, (0.0,) * len(outlines), fill, False))

    def bar(self, *paths: np.ndarray, width: float, fill: Colour) -> None:
        """Rounded bars along paths, outlined as one: legs, tubes, handles. A ring is a path that ends where it began."""
        self.parts.append(Part(paths, (width,) * len(paths), fill, True))

    def mark(self, *paths: np.ndarray, width: float = 0.035, fill: Colour | None = None) -> None:
        """Plain strokes, in the colour of the lines: smiles, seams, whiskers."""
        self.parts.append(Part(paths, (width,) * len(paths), fill or self.palette.line, False))

    def piece(self, *, areas: list[np.ndarray], bars: list[tuple[np.ndarray, float]], fill: Colour) -> None:
        """Areas and (path, width) bars as one piece, with one outline round them all."""
        paths = (*areas, *(path for path, _ in bars))
        self.parts.append(Part(paths, (0.0,) * len(areas) + tuple(width for _, width in bars), fill, True))
