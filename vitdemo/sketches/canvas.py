"""A drawing surface with soft edges: what a pen noted down is painted large, onto a picture and a mask alike, and then reduced.

All corners are rounded to whole pixels of the large surface, so that a last bit that differs between two machines changes nothing.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from vitdemo.sketches.dice import Dice
from vitdemo.sketches.palette import Colour, darker, lighter
from vitdemo.sketches.pen import Part, Pen

LINES = ["clean", "clean", "wobbly", "marker", "none", "none", "tonal"]
FILLS = ["flat", "flat", "shaded", "shaded", "gradient", "hatched", "wash", "wash", "paper"]


@dataclass(frozen=True)
class Look:
    """How the lines and surfaces of one picture are done; lengths are shares of the picture's side."""

    line: float
    tonal: bool  # each part is outlined in a darker shade of its own colour
    wobble: float
    fill: str
    border: float  # of a sticker: a light edge round everything
    angle: float


def pick_look(dice: Dice) -> Look:
    style, fill = dice.choice(LINES), dice.choice(FILLS)
    if fill == "paper" and style in ("none", "tonal"):
        style = "wobbly"
    width = {"clean": dice.uniform(0.009, 0.014), "wobbly": dice.uniform(0.009, 0.014), "marker": dice.uniform(0.019, 0.027)}
    return Look(
        line={**width, "none": 0.0, "tonal": dice.uniform(0.01, 0.016)}[style],
        tonal=style == "tonal",
        wobble=dice.uniform(0.014, 0.024) if style == "wobbly" else dice.uniform(0, 0.01),
        fill=fill,
        border=dice.uniform(0.016, 0.026) if dice.chance(0.12) else 0.0,
        angle=dice.uniform(20, 70) * dice.choice([1, -1]),
    )


@dataclass(frozen=True)
class Painting:
    image: Image.Image  # RGB, black where nothing was painted, edges already multiplied by their cover
    cover: Image.Image  # L, how much of each pixel is painted


class Canvas:
    def __init__(self, size: int, look: Look) -> None:
        self.size, self.look = size, look
        self.factor = 3 if size >= 160 else 4
        side = size * self.factor
        self._image, self._mask = Image.new("RGB", (side, side)), Image.new("L", (side, side))
        self._draw, self._cover = ImageDraw.Draw(self._image), ImageDraw.Draw(self._mask)

    def paint(self, pen: Pen, dice: Dice) -> Painting:
        """Place the thing somewhere and paint it."""
        scale, paths = place(pen, dice, wobble=self.look.wobble, border=self.look.border)
        side = self.size * self.factor
        paths = [[path * side for path in each] for each in paths]
        grow = 0.55 + 0.6 * scale  # a small thing has finer lines
        edge = 2 * self.look.line * side * grow  # half of it is hidden by what is inside
        if self.look.border:
            for part, pixels in zip(pen.parts, paths, strict=True):
                self._fill_part(part, pixels, scale * side, pen.palette.light, edge=edge + 2 * self.look.border * side)
        for part, pixels in zip(pen.parts, paths, strict=True):
            if part.line and edge:
                self._fill_part(part, pixels, scale * side, darker(part.fill, 0.42) if self.look.tonal else pen.palette.line, edge=edge)
            self._fill_part(part, pixels, scale * side, part.fill, edge=0)
            if part.line and not any(part.widths):
                self._finish_area(part, pixels, len(part.paths))
        return Painting(self._image.reduce(self.factor), self._mask.reduce(self.factor))

    def _fill_part(self, part: Part, pixels: list[np.ndarray], scale: float, colour: Colour, *, edge: float) -> None:
        """Paint the part's areas and strokes, larger by half an edge all round."""
        for path, width in zip(pixels, part.widths, strict=False):
            if width:
                self._stroke(path, max(width * scale, 0.9 * self.factor) + edge, colour)
                continue
            self._polygon(path, colour)
            if edge:
                self._stroke(np.concatenate([path, path[:1]]), edge, colour)

    def _stroke(self, path: np.ndarray, width: float, colour: Colour) -> None:
        """A line with round ends and corners; one that ends where it began has no ends."""
        pieces, corners = ribbons(path, width / 2)
        if width > 4 * self.factor:  # where a bend is tighter than the line is wide, its ribbon has a hole
            flat = np.rint(path).astype(int).ravel().tolist()
            self._draw.line(flat, fill=colour, width=round(0.8 * width))
            self._cover.line(flat, fill=255, width=round(0.8 * width))
        for piece in pieces:
            self._polygon(piece, colour)
        radius = (width - 1) / 2
        for x, y in corners.tolist():
            bounds = (round(x - radius), round(y - radius), round(x + radius), round(y + radius))
            self._draw.ellipse(bounds, fill=colour)
            self._cover.ellipse(bounds, fill=255)

    def _polygon(self, path: np.ndarray, colour: Colour) -> None:
        flat = np.rint(path).astype(int).ravel().tolist()
        self._draw.polygon(flat, fill=colour)
        self._cover.polygon(flat, fill=255)

    def _finish_area(self, part: Part, pixels: list[np.ndarray], count: int) -> None:
        """Shade, hatch or wash an area, then decorate it, all within its outline."""
        pixels = [np.rint(path).astype(int) for path in pixels]
        low, high = np.concatenate(pixels[:count]).min(0), np.concatenate(pixels[:count]).max(0)
        width, height = (high - low + 1).tolist()
        shaded = self.look.fill not in ("flat", "paper") and width * height > (0.12 * self.size * self.factor) ** 2
        if not shaded and not part.decor:
            return
        inside = Image.new("L", (width, height))
        draw = ImageDraw.Draw(inside)
        for path in pixels[:count]:
            draw.polygon((path - low).ravel().tolist(), fill=255)
        corner = tuple(low.tolist())
        if shaded and part.decor:
            self._decorate(part, pixels[count:], inside, low)
            self._image.paste(darker(part.fill, 0.3), corner, self._texture(inside))
        elif shaded:
            self._image.paste(darker(part.fill, 0.24), corner, self._texture(inside))
            if self.look.fill == "shaded":
                self._image.paste(lighter(part.fill, 0.3), corner, _crescent(inside, -0.05))
        else:
            self._decorate(part, pixels[count:], inside, low)

    def _decorate(self, part: Part, pixels: list[np.ndarray], inside: Image.Image, low: np.ndarray) -> None:
        for path, (_, colour) in zip(pixels, part.decor, strict=True):
            layer = Image.new("L", inside.size)
            ImageDraw.Draw(layer).polygon((path - low).ravel().tolist(), fill=255)
            self._image.paste(colour, tuple(low.tolist()), ImageChops.darker(layer, inside))

    def _texture(self, inside: Image.Image) -> Image.Image:
        """Where the darker colour goes, within the area."""
        width, height = inside.size
        if self.look.fill == "shaded":
            return _crescent(inside, 0.09)
        if self.look.fill == "gradient":
            return ImageChops.multiply(inside, Image.linear_gradient("L").resize((width, height)))
        if self.look.fill == "wash":
            grid = Dice(width * 1009 + height).bytes(5, 5)
            return ImageChops.multiply(inside, Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
        strokes = Image.new("L", (width, height))
        draw, slope = ImageDraw.Draw(strokes), math.tan(math.radians(90 - abs(self.look.angle)))
        gap, thick = max(6, round(0.035 * self.size * self.factor)), max(1, round(0.008 * self.size * self.factor))
        lean = round(height * slope) * (1 if self.look.angle > 0 else -1)
        for x in range(-abs(lean), width + abs(lean), gap):
            draw.line((x, 0, x + lean, height), fill=255, width=thick)
        return ImageChops.multiply(inside, strokes)


def _crescent(inside: Image.Image, share: float) -> Image.Image:
    """The lower right rim of an area, or the upper left one for a negative share of its size."""
    moved = Image.new("L", inside.size)
    step = round(share * sum(inside.size) / 2)
    moved.paste(inside, (-step, -step))
    return ImageChops.subtract(inside, moved)


def ribbons(path: np.ndarray, half: float) -> tuple[list[np.ndarray], np.ndarray]:
    """The outlines of a line 2 × half wide along a path, in pieces that end at sharp corners; and where it needs a round corner or end."""
    step = np.diff(path, axis=0)
    length = np.sqrt((step**2).sum(1))
    keep = length > 0.3
    path = np.concatenate([path[:1], path[1:][keep]])
    unit = step[keep] / length[keep, None]
    if not len(unit):
        return [], path
    closed = len(unit) > 2 and np.abs(path[0] - path[-1]).max() < 0.5
    before = np.concatenate([unit[-1:] if closed else unit[:1], unit])  # (points, 2): the direction in which each point is reached
    after = np.concatenate([unit, unit[:1] if closed else unit[-1:]])
    cosine = (before * after).sum(1)
    sharp = cosine < 0.8
    across = (before + after) / np.maximum(1 + cosine, 0.2)[:, None] @ np.array([[0.0, 1.0], [-1.0, 0.0]])  # the mitre
    cuts = [0, *(np.flatnonzero(sharp[1:-1]) + 1).tolist(), len(path) - 1]
    pieces = []
    for first, last in itertools.pairwise(cuts):
        sides = across[first : last + 1].copy()
        if sharp[first]:
            sides[0] = after[first] @ np.array([[0.0, 1.0], [-1.0, 0.0]])
        if sharp[last]:
            sides[-1] = before[last] @ np.array([[0.0, 1.0], [-1.0, 0.0]])
        middle = path[first : last + 1]
        pieces.append(np.concatenate([middle + half * sides, (middle - half * sides)[::-1]]))
    if not closed:
        sharp[[0, -1]] = True
    return pieces, path[sharp]


def place(pen: Pen, dice: Dice, *, wobble: float, border: float) -> tuple[float, list[list[np.ndarray]]]:
    """Bend, lean, turn, size and place a thing. Returns its scale, and each part's paths (then decoration) in shares of the picture's side."""
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
    solid, first = [], 0
    for part in pen.parts:
        for path, width in zip(part.paths, part.widths, strict=True):
            points = bent[first : first + len(path)]
            solid += [points - width / 2, points + width / 2]
            first += len(path)
        first += sum(len(outline) for outline, _ in part.decor)
    solid = np.concatenate(solid)
    low, high = solid.min(0), solid.max(0)
    extent = float((high - low).max())
    wanted = max(0.36 + 0.54 * math.sqrt(dice.uniform(0, 1)), _least_share(pen, extent))
    scale = wanted / extent
    margin = 0.03 + border
    room = np.maximum(1 - 2 * margin - (high - low) * scale, 0)
    corner = margin + room * [(dice.uniform(0, 1) + dice.uniform(0, 1)) / 2 for _ in range(2)]
    placed = (bent - low) * scale + corner
    sizes = [len(path) for group in groups for path in group]
    pieces = iter(np.split(placed, np.cumsum(sizes)[:-1]))
    return scale, [[next(pieces) for _ in group] for group in groups]


def _least_share(pen: Pen, extent: float) -> float:
    """How large a thin thing must be drawn, for its ink to cover a twentieth of the picture."""
    ink = 0.0
    for part in pen.parts:
        for path, width in zip(part.paths, part.widths, strict=True):
            if width:
                ink += width * float(np.sqrt((np.diff(path, axis=0) ** 2).sum(1)).sum())
            elif part.line:
                x, y = path[:, 0], path[:, 1]
                ink += abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2
    return min(0.9, math.sqrt(0.06 / ink) * extent)
