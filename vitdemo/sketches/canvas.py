"""A canvas with soft edges: it paints a pen's parts enlarged, onto a picture and a mask alike, and then reduces both.

All corners are rounded to whole pixels of the enlarged canvas, so that rounding differences between machines change nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.look import SketchStyle
from vitdemo.sketches.palette import SHADE, Colour, brightness, darker, lighter, mix
from vitdemo.sketches.pen import Part, Pen
from vitdemo.sketches.placing import place
from vitdemo.sketches.ribbons import ribbons


@dataclass(frozen=True)
class Painting:
    """The painted thing without a background."""

    image: Image.Image  # RGB, black where nothing is painted, edges already multiplied by their cover
    cover: Image.Image  # L: how much of each pixel is painted


class Canvas:
    """A supersampled square on which a pen's parts are painted; the same strokes paint the colour and the cover."""

    def __init__(self, size: int, look: SketchStyle) -> None:
        self.size, self.look = size, look
        self.factor = 3 if size >= 160 else 4
        side = size * self.factor
        self._image, self._mask = Image.new("RGB", (side, side)), Image.new("L", (side, side))
        self._draw, self._cover = ImageDraw.Draw(self._image), ImageDraw.Draw(self._mask)

    def paint(self, pen: Pen, dice: StableRng) -> Painting:
        """Place the thing at a random position and paint it."""
        scale, paths = place(pen, dice, wobble=self.look.wobble, border=self.look.border)
        side = self.size * self.factor
        paths = [[path * side for path in group] for group in paths]
        grow = 0.55 + 0.6 * scale  # a small thing has finer lines
        edge = 2 * self.look.line * side * grow  # the inner half is painted over by the part's own fill
        if self.look.border:
            rim = mix(pen.palette.light, pen.palette.main, 0.35 if brightness(pen.palette.ground) > 0.93 else 0)
            for part, pixels in zip(pen.parts, paths, strict=True):
                self._fill_part(part, pixels, scale * side, rim, edge=edge + 2 * self.look.border * side)
        for index, (part, pixels) in enumerate(zip(pen.parts, paths, strict=True)):
            if part.line and edge:
                self._fill_part(part, pixels, scale * side, darker(part.fill, 0.42) if self.look.tonal else pen.palette.line, edge=edge)
            self._fill_part(part, pixels, scale * side, part.fill, edge=0)
            if part.line and not any(part.widths):
                self._finish_area(part, pixels, StableRng(self.look.seed, str(index)))
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
        """Paint a line with round ends and corners; a closed line has no ends."""
        pieces, corners = ribbons(path, width / 2)
        if width > 4 * self.factor:  # a ribbon has a hole where a bend is tighter than the line is wide: fill it
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

    def _finish_area(self, part: Part, pixels: list[np.ndarray], dice: StableRng) -> None:
        """Decorate an area, then shade, hatch or wash it, within its outline."""
        count = len(part.paths)
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
        self._decorate(part, pixels[count:], inside, low)
        if shaded:
            self._image.paste(SHADE, corner, self._texture(inside, dice).point([round(0.26 * level) for level in range(256)]))
        if shaded and self.look.fill == "shaded":
            self._image.paste(lighter(part.fill, 0.3), corner, _crescent(inside, -0.05))

    def _decorate(self, part: Part, pixels: list[np.ndarray], inside: Image.Image, low: np.ndarray) -> None:
        """Paint the decoration, or only its outlines where the fill is paper."""
        for path, (_, colour) in zip(pixels, part.decor, strict=True):
            layer, flat = Image.new("L", inside.size), (path - low).ravel().tolist()
            if self.look.fill == "paper":
                colour = darker(part.fill, 0.75) if brightness(part.fill) > 0.5 else lighter(part.fill, 0.8)
                ImageDraw.Draw(layer).line([*flat, *flat[:2]], fill=255, width=round(0.009 * self.size * self.factor))
            else:
                ImageDraw.Draw(layer).polygon(flat, fill=255)
            self._image.paste(colour, tuple(low.tolist()), ImageChops.darker(layer, inside))

    def _texture(self, inside: Image.Image, dice: StableRng) -> Image.Image:
        """Return where the area gets darker, as a mask."""
        width, height = inside.size
        if self.look.fill == "shaded":
            return _crescent(inside, 0.09)
        if self.look.fill == "gradient":
            return ImageChops.multiply(inside, Image.linear_gradient("L").resize((width, height)))
        if self.look.fill == "wash":
            return ImageChops.multiply(inside, Image.fromarray(dice.bytes(5, 5)).resize((width, height), Image.Resampling.BICUBIC))
        strokes = Image.new("L", (width, height))
        draw, slope = ImageDraw.Draw(strokes), math.tan(math.radians(90 - abs(self.look.angle)))
        gap, thick = max(6, round(0.035 * self.size * self.factor)), max(1, round(0.008 * self.size * self.factor))
        lean = round(height * slope) * (1 if self.look.angle > 0 else -1)
        for x in range(-abs(lean), width + abs(lean), gap):
            draw.line((x, 0, x + lean, height), fill=255, width=thick)
        return ImageChops.multiply(inside, strokes)


def _crescent(inside: Image.Image, share: float) -> Image.Image:
    """Return the lower right rim of an area, or its upper left rim for a negative share; `share` is of the area's size."""
    moved = Image.new("L", inside.size)
    step = round(share * sum(inside.size) / 2)
    moved.paste(inside, (-step, -step))
    return ImageChops.subtract(inside, moved)
