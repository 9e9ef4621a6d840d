"""Backgrounds: grounds, patterns, hills, and abstract clutter, all chosen independently of the thing in front of them."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.palette import Colour, Palette, mix
from vitdemo.sketches.shapes import circle, moved, rounded, smooth

OVERSAMPLING = 2  # a background is drawn larger by this factor, then reduced


def background(size: int, palette: Palette, dice: StableRng) -> Image.Image:
    """Draw one RGB background of size × size pixels."""
    ground = dice.choice(GROUNDS)(size * OVERSAMPLING, palette, dice)
    if dice.chance(0.6):
        dice.choice(PATTERNS)(ground, palette, dice)
    if dice.chance(0.45):
        _clutter(ground, palette, dice)
    return ground.reduce(OVERSAMPLING)


def flat(side: int, palette: Palette, dice: StableRng) -> Image.Image:
    """The palette's ground colour everywhere."""
    return Image.new("RGB", (side, side), palette.ground)


def linear(side: int, palette: Palette, dice: StableRng) -> Image.Image:
    """A linear gradient between the two ground colours, at any angle: four corner colours, interpolated."""
    one, other = dice.uniform(0, 1), dice.uniform(0, 1)
    shares = [(0, one), (other, 1)] if dice.chance(0.5) else [(one, 0), (1, other)]
    corners = [[mix(palette.ground, palette.ground_too, share) for share in row] for row in shares]
    return Image.fromarray(np.array(corners, np.uint8)).resize((side, side), Image.Resampling.BILINEAR, box=(0.5, 0.5, 1.5, 1.5))


def radial(side: int, palette: Palette, dice: StableRng) -> Image.Image:
    """A radial gradient at a random position."""
    wide = round(side * dice.uniform(1.2, 2.2))
    glow = Image.radial_gradient("L").resize((wide, wide))
    layer = Image.new("L", (side, side), 255)
    left, top = (round(side * dice.uniform(0.2, 0.8) - wide / 2) for _ in range(2))
    layer.paste(glow, (left, top))
    picture = Image.new("RGB", (side, side), palette.ground)
    picture.paste(palette.ground_too, (0, 0), layer)
    return picture


def wash(side: int, palette: Palette, dice: StableRng) -> Image.Image:
    """A cloudy texture, as of watercolour."""
    cells = dice.integer(3, 9)
    cloud = Image.fromarray(dice.bytes(cells, cells)).resize((side, side), Image.Resampling.BICUBIC)
    picture = Image.new("RGB", (side, side), palette.ground)
    picture.paste(palette.ground_too, (0, 0), cloud)
    return picture


def paper(side: int, palette: Palette, dice: StableRng) -> Image.Image:
    """The fibres of rough paper."""
    picture = Image.new("RGB", (side, side), palette.ground)
    draw, ink = ImageDraw.Draw(picture), mix(palette.ground, palette.ground_too, 0.8)
    for _ in range(dice.integer(120, 260)):
        x, y, lean, length = (dice.uniform(0, side), dice.uniform(0, side), dice.uniform(0, math.tau), dice.uniform(0.008, 0.03) * side)
        draw.line((round(x), round(y), round(x + length * math.cos(lean)), round(y + length * math.sin(lean))), fill=ink, width=2)
    return picture


def stripes(picture: Image.Image, palette: Palette, dice: StableRng) -> None:
    """Faint stripes, vertical or horizontal, sometimes slanted."""
    side, draw, ink = picture.width, ImageDraw.Draw(picture), _faint(palette, dice)
    gap, lean = round(side * dice.uniform(0.05, 0.16)), round(side * dice.uniform(-1, 1) * dice.choice([0, 1]))
    thick, upright = max(2, round(gap * dice.uniform(0.12, 0.5))), dice.chance(0.5)
    for at in range(-abs(lean), side + abs(lean) + gap, gap):
        ends = (at, -2, at + lean, side + 2) if upright else (-2, at, side + 2, at + lean)
        draw.line(ends, fill=ink, width=thick)


def dots(picture: Image.Image, palette: Palette, dice: StableRng) -> None:
    """Faint dots in rows."""
    side, draw, ink = picture.width, ImageDraw.Draw(picture), _faint(palette, dice)
    gap = round(side * dice.uniform(0.07, 0.16))
    radius = round(gap * dice.uniform(0.12, 0.3))
    for row, y in enumerate(range(0, side + gap, gap)):
        for x in range(-(row % 2) * gap // 2, side + gap, gap):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)


def checks(picture: Image.Image, palette: Palette, dice: StableRng) -> None:
    """A faint chessboard."""
    side, draw, ink = picture.width, ImageDraw.Draw(picture), _faint(palette, dice)
    gap = round(side * dice.uniform(0.07, 0.18))
    for row, y in enumerate(range(0, side, gap)):
        for x in range(row % 2 * gap, side, 2 * gap):
            draw.rectangle((x, y, x + gap - 1, y + gap - 1), fill=ink)


def grid(picture: Image.Image, palette: Palette, dice: StableRng) -> None:
    """Faint horizontal and vertical lines."""
    side, draw, ink = picture.width, ImageDraw.Draw(picture), _faint(palette, dice)
    gap, thick = round(side * dice.uniform(0.05, 0.14)), dice.integer(2, 4)
    for at in range(gap // 2, side, gap):
        draw.line((at, 0, at, side), fill=ink, width=thick)
        draw.line((0, at, side, at), fill=ink, width=thick)


def hills(picture: Image.Image, palette: Palette, dice: StableRng) -> None:
    """One to three rolling hills; flat ones look like the edge of a table."""
    side, draw, height = picture.width, ImageDraw.Draw(picture), dice.uniform(0.45, 0.75)
    rise = dice.choice([0, 0.03, 0.07])
    for step in range(dice.integer(1, 3)):
        waves, shift = dice.uniform(2, 8), dice.uniform(0, math.tau)
        tops = [(side * i // 24, round(side * (height + 0.13 * step + rise * math.sin(shift + waves * i / 24)))) for i in range(25)]
        draw.polygon([(0, side), *tops, (side, side)], fill=mix(palette.ground, palette.ground_too, 0.65 + 0.5 * step))


def confetti(picture: Image.Image, palette: Palette, dice: StableRng) -> None:
    """Small faint shapes at random positions."""
    side, draw = picture.width, ImageDraw.Draw(picture)
    inks = [_faint(palette, dice) for _ in range(3)]
    for _ in range(dice.integer(15, 45)):
        outline = dice.choice(
            [circle(0, 0, 1), rounded([(-1, -0.4), (1, -0.4), (1, 0.4), (-1, 0.4)], 0.1), rounded([(-1, 1), (1, 1), (0, -1)], 0.2)]
        )
        turned = moved(outline, dice.uniform(0, 1), dice.uniform(0, 1), scale=dice.uniform(0.008, 0.022))
        draw.polygon(_pixels(turned, side), fill=dice.choice(inks))


def _clutter(picture: Image.Image, palette: Palette, dice: StableRng) -> None:
    """A few larger shapes that belong to no class: blobs, polygons, rings, zigzags and squiggles."""
    for _ in range(dice.integer(1, 6)):
        x, y, scale = dice.uniform(0, 1), dice.uniform(0, 1), dice.uniform(0.05, 0.17)
        strength = dice.uniform(0.12, 0.42)
        ink = mix(palette.ground, dice.choice([palette.main, palette.second, palette.third, palette.ground_too]), strength)
        dice.choice([_blob, _polygon, _squiggle, _zigzag, _ring])(picture, (x, y, scale), ink, dice)


def _blob(picture: Image.Image, at: tuple[float, float, float], ink: Colour, dice: StableRng) -> None:
    knots = [(dice.uniform(0.5, 1.2), math.tau * i / 7) for i in range(7)]
    outline = smooth([(length * math.cos(angle), length * math.sin(angle)) for length, angle in knots])
    ImageDraw.Draw(picture).polygon(_pixels(moved(outline, at[0], at[1], scale=at[2]), picture.width), fill=ink)


def _polygon(picture: Image.Image, at: tuple[float, float, float], ink: Colour, dice: StableRng) -> None:
    corners, turn = dice.integer(3, 6), dice.uniform(0, math.tau)
    outline = rounded([(math.cos(turn + math.tau * i / corners), math.sin(turn + math.tau * i / corners)) for i in range(corners)], 0.15)
    ImageDraw.Draw(picture).polygon(_pixels(moved(outline, at[0], at[1], scale=at[2]), picture.width), fill=ink)


def _squiggle(picture: Image.Image, at: tuple[float, float, float], ink: Colour, dice: StableRng) -> None:
    waves, turn = dice.uniform(2, 5), dice.uniform(0, math.tau)
    path = [(i / 20 - 1, 0.35 * math.sin(waves * math.pi * i / 20)) for i in range(41)]
    turned = [(x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)) for x, y in path]
    width = round(picture.width * dice.uniform(0.008, 0.022))
    ImageDraw.Draw(picture).line(
        _pixels(moved(turned, at[0], at[1], scale=1.3 * at[2]), picture.width), fill=ink, width=width, joint="curve"
    )


def _zigzag(picture: Image.Image, at: tuple[float, float, float], ink: Colour, dice: StableRng) -> None:
    count = dice.integer(4, 8)
    path = [(2 * i / count - 1, 0.25 * (-1) ** i) for i in range(count + 1)]
    width = round(picture.width * dice.uniform(0.008, 0.02))
    ImageDraw.Draw(picture).line(_pixels(moved(path, at[0], at[1], scale=1.3 * at[2]), picture.width), fill=ink, width=width, joint="curve")


def _ring(picture: Image.Image, at: tuple[float, float, float], ink: Colour, dice: StableRng) -> None:
    left, top, right, bottom = (round(picture.width * share) for share in (at[0] - at[2], at[1] - at[2], at[0] + at[2], at[1] + at[2]))
    ImageDraw.Draw(picture).ellipse((left, top, right, bottom), outline=ink, width=round(picture.width * dice.uniform(0.01, 0.03)))


def _faint(palette: Palette, dice: StableRng) -> Colour:
    """A colour slightly different from the ground."""
    other = dice.choice([palette.main, palette.second, palette.third, palette.bold, palette.light])
    return mix(palette.ground, other, dice.uniform(0.08, 0.22))


def _pixels(points: np.ndarray, side: int) -> list[tuple[int, int]]:
    return [(round(x * side), round(y * side)) for x, y in points.tolist()]


GROUNDS: list[Callable[[int, Palette, StableRng], Image.Image]] = [flat, flat, linear, linear, radial, wash, paper]
PATTERNS: list[Callable[[Image.Image, Palette, StableRng], None]] = [stripes, dots, checks, grid, hills, hills, confetti]
