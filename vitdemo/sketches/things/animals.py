"""Animals: fish, cat, butterfly."""

from collections.abc import Callable

import numpy as np

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.palette import Colour, darker, lighter
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.shapes import arc, both_sides, box, circle, curve, line, mirrored, moved, polar, rounded, smooth


def fish(pen: Pen, dice: StableRng) -> None:
    """Draw a fish from the side, with a fan or a forked tail; striped, pale-bellied, scaled or plain."""
    p, high, kind = pen.palette, dice.uniform(0.34, 0.6), dice.choice(["fan", "fork", "fan"])
    tail = {
        "fan": smooth([(-0.55, 0), (-0.85, -0.36), (-1.08, -0.42), (-1.02, 0), (-1.08, 0.42), (-0.85, 0.36)]),
        "fork": rounded([(-0.5, 0), (-1.12, -0.48), (-0.9, 0), (-1.12, 0.48)], 0.1),
    }[kind]
    pen.area(tail, fill=p.second)
    pen.area(smooth([(-0.35, -0.6 * high), (-0.3, -high - 0.16), (0.05, -high - 0.2), (0.35, -0.7 * high)]), fill=p.second)
    if dice.chance(0.7):
        pen.area(smooth([(-0.1, 0.8 * high), (-0.3, high + 0.2), (-0.05, high + 0.14), (0.15, 0.8 * high)]), fill=p.second)
    body = smooth(
        [
            (0.92, 0.02),
            (0.7, -0.55 * high),
            (0.2, -high),
            (-0.35, -0.62 * high),
            (-0.68, -0.14),
            (-0.68, 0.14),
            (-0.35, 0.62 * high),
            (0.2, high),
            (0.7, 0.6 * high),
        ]
    )
    marking = dice.choice(["stripes", "belly", "plain", "plain", "scales"])
    decor: list[tuple] = []
    if marking == "stripes":
        decor = [
            (
                smooth([(x - 0.07, -1), (x + 0.09, -0.3), (x + 0.09, 0.3), (x - 0.07, 1), (x - 0.17, 1), (x - 0.05, 0), (x - 0.17, -1)]),
                p.third,
            )
            for x in (0.2, -0.1, -0.4)
        ]
    elif marking == "belly":
        decor = [(circle(0.15, high * 0.95, 0.95, 0.7 * high), lighter(p.main, 0.5))]
    pen.area(body, fill=p.main, decor=decor)
    if marking == "scales":
        rows = [
            (x, y)
            for x, y in ((0.1, 0), (-0.1, -0.16), (-0.1, 0.16), (-0.3, 0), (0.1, -0.3), (0.1, 0.3), (-0.48, 0))
            if abs(y) < 0.6 * high
        ]
        pen.mark(*(arc(x, y, 0.1, 100, 260) for x, y in rows), width=0.035, fill=darker(p.main, 0.4))
    pen.mark(arc(0.42, 0, 0.9 * high, 125, 235, height=0.62 * high), width=0.035, fill=darker(p.main, 0.4))
    pen.area(smooth([(0.12, 0.1), (-0.16, 0.02), (-0.3, 0.2), (-0.08, 0.28)]), fill=p.second)
    _eye(pen, 0.6, -0.22 * high - 0.02, dice.uniform(0.09, 0.13))
    pen.mark(arc(0.84, 0.08, 0.14, 60, 150), width=0.035, fill=p.on(p.main))


def _eye(pen: Pen, x: float, y: float, radius: float) -> None:
    pen.area(circle(x, y, radius), fill=pen.palette.light)
    pen.spot(circle(x + 0.2 * radius, y, 0.6 * radius), fill=pen.palette.deep)
    pen.spot(circle(x + 0.36 * radius, y - 0.22 * radius, 0.2 * radius), fill=pen.palette.light)


def cat(pen: Pen, dice: StableRng) -> None:
    """Draw a cat: only its face, sitting, or standing."""
    kind, scale = dice.choice(["face", "sitting", "sitting", "standing"]), 1.0
    at: tuple[float, float]
    pen.turn = 20
    p = pen.palette
    if kind == "sitting":
        side = dice.choice([-1, 1])
        tail = curve([(side * 0.3, 0.98), (side * 0.85, 0.95), (side * 0.9, 0.45), (side * dice.uniform(0.62, 0.95), 0.2)])
        pen.bar(tail, width=dice.uniform(0.14, 0.18), fill=darker(p.main, 0.1))
        body = smooth(both_sides([(0.25, -0.2), (0.42, 0.25), (0.58, 0.7), (0.52, 1.0), (0.2, 1.06)]))
        pen.area(body, fill=p.main, decor=[(circle(0, 0.45, 0.24, 0.42), lighter(p.main, 0.45))] if dice.chance(0.5) else [])
        for x in (-0.17, 0.17):
            pen.area(circle(x, 1.02, 0.17, 0.1), fill=lighter(p.main, 0.15))
        scale, at = 0.62, (0, -0.4)
    elif kind == "standing":
        tail = curve([(-0.7, 0.25), (-1.05, 0.1), (-1.1, -0.3), (-0.92, dice.uniform(-0.65, -0.5))])
        pen.bar(tail, width=0.13, fill=darker(p.main, 0.1))
        pen.bar(line((-0.45, 0.4), (-0.47, 0.92)), line((0.3, 0.4), (0.28, 0.92)), width=0.17, fill=darker(p.main, 0.15))
        trunk = box(-0.8, 0.04, 0.55, 0.62, corner=0.28)
        pen.piece(areas=[trunk], bars=[(line((x, 0.45), (x, 0.94)), 0.19) for x in (-0.64, 0.42)], fill=p.main)
        if dice.chance(0.5):
            pen.mark(*(line((x, 0.1), (x + 0.03, 0.28)) for x in (-0.42, -0.22, -0.02)), width=0.08, fill=p.third)
        scale, at = 0.52, (0.58, -0.12)
    else:
        at = (0, 0)
    _cat_head(pen, dice, at=at, scale=scale)


def _cat_head(pen: Pen, dice: StableRng, *, at: tuple[float, float], scale: float) -> None:
    p, ear = pen.palette, dice.uniform(0.75, 0.98)

    def put(outline: np.ndarray) -> np.ndarray:
        return moved(outline, *at, scale=scale)

    right = rounded([(0.72, -0.1), (0.66, -ear), (0.12, -0.5)], 0.09)
    inner = rounded([(0.6, -0.3), (0.58, -ear + 0.17), (0.3, -0.48)], 0.06)
    head = smooth(both_sides([(0.28, -0.58), (0.68, -0.25), (0.8, 0.15), (0.52, 0.54), (0.18, 0.64)]))
    patch: list[tuple] = []
    if dice.chance(0.5):
        middle, side = ([(x - 0.07, -0.8), (x + 0.07, -0.8), (0.6 * x + 0.03, -0.33), (0.6 * x - 0.03, -0.33)] for x in (0, 0.22))
        stripes = [rounded(middle, 0.03), rounded(side, 0.03), mirrored(rounded(side, 0.03))]
        patch = [(put(stripe), p.third) for stripe in stripes]
    elif dice.chance(0.5):
        patch = [(put(circle(0.36, -0.12, 0.3, 0.34)), p.second)]
    pen.area(put(right), put(mirrored(right)), put(head), fill=p.main, decor=patch)
    pen.spot(put(inner), put(mirrored(inner)), fill=p.second)
    _cat_face(pen, dice, put, scale, skin=p.main)


def _cat_face(pen: Pen, dice: StableRng, put: Callable[[np.ndarray], np.ndarray], scale: float, *, skin: Colour) -> None:
    p, kind = pen.palette, dice.choice(["round", "round", "asleep", "dots"])
    for x in (-0.34, 0.34):
        if kind == "round":
            pen.area(put(circle(x, -0.02, 0.15, 0.17)), fill=p.light)
            pen.spot(put(circle(x, -0.02, 0.075, 0.13)), fill=p.deep)
        elif kind == "asleep":
            pen.mark(put(arc(x, -0.06, 0.14, 15, 165)), width=0.055 * scale, fill=p.on(skin))
        else:
            pen.spot(put(circle(x, -0.02, 0.085, 0.11)), fill=p.on(skin))
    pen.spot(put(circle(-0.13, 0.27, 0.18, 0.14)), put(circle(0.13, 0.27, 0.18, 0.14)), fill=lighter(skin, 0.6))
    pen.spot(put(rounded([(-0.09, 0.13), (0.09, 0.13), (0, 0.23)], 0.04)), fill=p.deep)
    pen.mark(put(arc(-0.1, 0.24, 0.1, 10, 150)), put(arc(0.1, 0.24, 0.1, 30, 170)), width=0.04 * scale, fill=p.deep)
    for side in (-1, 1):
        whiskers = [put(line((side * 0.48, 0.2 + dy), (side * 1.0, 0.12 + 2.4 * dy))) for dy in (0, 0.09)]
        pen.mark(*whiskers, width=0.03 * scale, fill=p.bold)


def butterfly(pen: Pen, dice: StableRng) -> None:
    """Draw a butterfly with spread wings, symmetric."""
    pen.turn = 70
    p, wide, high = pen.palette, dice.uniform(0.82, 1.0), dice.uniform(0.65, 0.85)
    upper = smooth(
        [(0.03, -0.08), (0.3, -0.8 * high), (0.72 * wide, -high), (wide, -0.78 * high), (0.92 * wide, -0.25), (0.5, 0.06), (0.05, 0.1)]
    )
    low = dice.uniform(0.62, 0.8)
    lower = smooth([(0.04, 0.05), (0.45, 0.04), (0.78 * wide, 0.22), (0.7 * wide, low), (0.42, low + dice.uniform(0, 0.16)), (0.18, 0.5)])
    near = dice.choice([p.main, lighter(p.main, 0.25), p.third])
    spot, ring = dice.uniform(0.13, 0.18), dice.chance(0.6)
    at = (0.62 * wide, -0.58 * high)
    for flip in (1, -1):
        decor = [(circle(0.45 * wide, 0.42, spot * 0.85) * (flip, 1), p.second)]
        pen.area(lower * (flip, 1), fill=near, decor=decor)
        decor = [(circle(*at, spot) * (flip, 1), p.second)]
        if ring:
            decor.append((circle(*at, spot * 0.5) * (flip, 1), p.light))
        decor += [
            (circle(0.84 * wide, -0.36 * high, 0.06) * (flip, 1), p.second),
            (circle(0.3 * wide, -0.36 * high, 0.07) * (flip, 1), p.second),
        ]
        pen.area(upper * (flip, 1), fill=p.main, decor=decor)
    for flip in (1, -1):
        feeler = curve([(0, -0.4), (0.12, -0.68), (0.26, -0.86)]) * (flip, 1)
        pen.mark(feeler, width=0.035, fill=p.bold)
        pen.spot(circle(0.27, -0.88, 0.05) * (flip, 1), fill=p.bold)
    pen.area(circle(0, 0.1, dice.uniform(0.075, 0.11), 0.5), fill=p.bold)
    pen.area(circle(0, -0.42, 0.13), fill=p.bold)
    if dice.chance(0.4):
        pen.spot(*(circle(*polar(0, -0.42, 0.055, a), 0.024) for a in (0, 180)), fill=p.on(p.bold))
