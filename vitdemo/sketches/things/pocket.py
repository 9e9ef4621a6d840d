"""Things to carry, and the clock: umbrella, key, clock."""

import itertools

import numpy as np

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.palette import darker
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.shapes import arc, box, circle, curve, line, polar, rotated, rounded, smooth
from vitdemo.sketches.things.face import face


def umbrella(pen: Pen, dice: StableRng) -> None:
    """Draw an open umbrella with a hooked handle; its panels are two-coloured, dotted or plain."""
    pen.turn = 35
    p, high, count = pen.palette, dice.uniform(0.72, 0.95), dice.choice([3, 4, 4, 5, 6])
    length, hook = dice.uniform(0.72, 0.9), dice.uniform(0.14, 0.2)
    handle = [(0, -0.2), (0, length - 0.25), (0, length - 0.02)]
    pen.bar(line((0, -0.2), (0, length)), width=0.065, fill=p.bold)
    pen.bar(
        curve(
            [*handle[2:], (0.02, length + 0.14), (hook, length + hook + 0.02), (2 * hook - 0.02, length + 0.13), (2 * hook, length + 0.02)]
        ),
        width=0.1,
        fill=p.third,
    )
    pen.bar(line((0, -high - 0.13), (0, -high)), width=0.06, fill=p.third)
    scallop = [(x / count * 2 - 1, 0.0) for x in range(count + 1)]
    edge = []
    for (left, _), (right, _) in itertools.pairwise(scallop):
        edge += arc((left + right) / 2, 0.03, (right - left) / 2, 180, 360, height=0.13).tolist()
    dome = [*arc(0, 0.03, 1, 0, -180, height=high).tolist(), *edge]
    panels = []
    if dice.chance(0.65):
        for i in range(0, count, 2):
            panels.append((rounded([(0, -high), *_panel(scallop[i][0], scallop[i + 1][0], high)], 0.01), p.second))
    elif dice.chance(0.5):
        panels = [
            (circle(x, y, 0.09), p.second)
            for x, y in ((0, -0.6), (-0.4, -0.5), (0.42, -0.45), (-0.15, -0.28), (0.2, -0.22), (-0.68, -0.2), (0.7, -0.15))
        ]
    pen.area(rounded(dome, 0.015), fill=p.main, decor=panels)
    ribs = [curve([(0, -high), (0.62 * x, -0.72 * high), (x, 0.0)]) for x, _ in scallop[1:-1]]
    pen.mark(*ribs, width=0.028, fill=darker(p.main, 0.45))


def _panel(left: float, right: float, high: float) -> list[tuple[float, float]]:
    """Return the outline of one cloth panel of a canopy, without its tip."""
    down = [(0.62 * right, -0.72 * high), (right, 0.1)] if abs(right) < 0.999 else [(0.62, -high), (1.2, -high), (1.2, 0.1)]
    up = [(left, 0.1), (0.62 * left, -0.72 * high)] if abs(left) < 0.999 else [(-1.2, 0.1), (-1.2, -high), (-0.62, -high)]
    return down + up


def key(pen: Pen, dice: StableRng) -> None:
    """Draw a key whose bow is a ring, clover, heart or square, with two or three teeth."""
    pen.turn = 180
    p, radius, width, kind = (
        pen.palette,
        dice.uniform(0.28, 0.38),
        dice.uniform(0.13, 0.18),
        dice.choice(["ring", "ring", "clover", "heart", "square"]),
    )
    end, fill = dice.uniform(0.95, 1.25), p.main
    areas: list[np.ndarray] = []
    bars: list[tuple[np.ndarray | list, float]] = [(line((radius, 0), (end, 0)), width)]
    if kind == "ring":
        bars.append((arc(0, 0, radius, 0, 360), width * dice.uniform(1.0, 1.25)))
    elif kind == "clover":
        bars += [(arc(*polar(0.02, 0, radius * 0.75, angle), radius * 0.62, 0, 360), width * 0.85) for angle in (60, 180, 300)]
    elif kind == "heart":
        upper = [(0.25, -1.05), (-0.75, -0.8), (-0.9, -0.25)]
        loop = smooth([(1.1, 0), *((x, -y) for x, y in upper), (-0.45, 0), *reversed(upper)]) * radius
        bars.append(([*loop.tolist(), loop[0].tolist()], width))
    else:
        loop = box(-radius, -radius, radius, radius, corner=radius * 0.55)
        bars.append(([*loop.tolist(), loop[0].tolist()], width))
    teeth = dice.integer(2, 3)
    for i in range(teeth):
        x = end - 0.03 - i * 0.2
        bars.append((line((x, 0), (x, dice.uniform(0.2, 0.34))), width * 0.85))
    if dice.chance(0.5):
        areas.append(box(radius + 0.07, -0.15, radius + 0.17, 0.15, corner=0.04))
    pen.piece(areas=areas, bars=[(np.asarray(path), wide) for path, wide in bars], fill=fill)


def clock(pen: Pen, dice: StableRng) -> None:
    """Draw a clock with marks and hands: an alarm clock with bells, a wall clock, a square clock, or a mantel clock."""
    pen.turn = 18
    p, kind, rim = pen.palette, dice.choice(["alarm", "alarm", "wall", "square", "mantel"]), dice.uniform(0.1, 0.16)
    frame = circle(0, 0, 0.8)
    if kind == "alarm":
        pen.bar(line((-0.4, 0.6), (-0.56, 0.95)), line((0.4, 0.6), (0.56, 0.95)), width=0.14, fill=p.third)
        pen.bar(arc(0, -0.85, 0.22, 180, 360), width=0.07, fill=p.third)
        for side in (-1, 1):
            bell = rounded([polar(side * 0.5, -0.72, 0.34, a) for a in range(180, 361, 20)], 0.03)
            pen.area(rotated(bell, side * 38, about=(side * 0.5, -0.72)), fill=p.second)
    elif kind == "square":
        frame = box(-0.8, -0.8, 0.8, 0.8, corner=0.2)
    elif kind == "mantel":
        pen.area(box(-1.05, 0.72, 1.05, 0.92, corner=0.05), fill=p.second)
        frame = smooth([(-0.95, 0.78), (-0.85, 0.35), (-0.72, -0.4), (0, -0.92), (0.72, -0.4), (0.85, 0.35), (0.95, 0.78), (0, 0.8)])
    pen.area(frame, fill=p.main)
    size = 0.8 - rim if kind != "mantel" else 0.58
    dial = p.light if dice.chance(0.75) else darker(p.second, 0.1)
    pen.area(circle(0, 0, size), fill=dial)
    ink, many = p.on(dial), dice.choice([12, 12, 4])
    for i in range(many):
        angle = 360 * i / many
        major = angle % 90 == 0
        pen.mark(
            line(polar(0, 0, size * (0.76 if major else 0.82), angle), polar(0, 0, size * 0.9, angle)),
            width=0.06 if major else 0.035,
            fill=ink,
        )
    if dice.chance(0.25):
        face(pen, dice, x=0, y=0.1, width=0.42, skin=dial)
    hour, minute = dice.uniform(0, 360), dice.uniform(0, 360)
    pen.mark(line((0, 0), polar(0, 0, 0.48 * size, hour)), width=0.085, fill=ink)
    pen.mark(line((0, 0), polar(0, 0, 0.72 * size, minute)), width=0.06, fill=ink)
    pen.spot(circle(0, 0, 0.075), fill=p.third)
