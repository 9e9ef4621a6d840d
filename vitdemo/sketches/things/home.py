"""Things in a room: cup, lamp, chair."""

import math

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.palette import darker, lighter
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.shapes import box, circle, curve, line, rounded, smooth


def cup(pen: Pen, dice: StableRng) -> None:
    """Draw a cup with a handle: a mug, or a teacup on a saucer; sometimes steaming."""
    pen.turn = 15
    p, wide, tall = pen.palette, dice.uniform(0.5, 0.66), dice.uniform(0.62, 1.0)
    foot, tea = wide * dice.uniform(0.55, 0.95), dice.chance(0.45)
    if tea:
        tall, foot = min(tall, 0.75), wide * 0.5
        pen.area(circle(0, tall - 0.02, wide * 1.35, 0.15), fill=p.second)
        pen.spot(circle(0, tall - 0.04, wide * 0.9, 0.08), fill=darker(p.second, 0.25))
    reach, top = dice.uniform(0.34, 0.46), 0.14 * tall
    ear = [(wide + 0.8 * reach, top), (wide + reach, 0.4 * tall), (wide + 0.6 * reach, 0.62 * tall)]
    handle = curve([(0.85 * wide, top), *ear, (0.75 * foot, 0.72 * tall)])
    pen.bar(handle, width=dice.uniform(0.1, 0.14), fill=darker(p.main, 0.1))
    pattern = dice.choice(["plain", "plain", "band", "dots", "waves"])
    decor = []
    if pattern == "band":
        decor = [(box(-2, y * tall, 2, (y + 0.13) * tall, corner=0), p.third) for y in (0.32, 0.55)]
    elif pattern == "dots":
        decor = [
            (circle(x * wide, y * tall, 0.08), p.third)
            for x, y in ((-0.6, 0.3), (0, 0.36), (0.6, 0.3), (-0.32, 0.62), (0.32, 0.62), (0, 0.88))
        ]
    elif pattern == "waves":
        decor = [
            (
                smooth(
                    [
                        (-1, 0.7 * tall),
                        *((0.2 * i - 0.8, (0.55 + 0.09 * (-1) ** i) * tall) for i in range(9)),
                        (1, 0.7 * tall),
                        (1, 2),
                        (-1, 2),
                    ]
                ),
                p.third,
            )
        ]
    belly = wide * (0.95 if tea else 1)
    side = [
        (-wide, 0),
        (wide, 0),
        (belly, 0.5 * tall),
        (foot, tall),
        (-foot, tall),
        (-belly, 0.5 * tall),
    ]
    pen.area(rounded(side, [0.02, 0.02, 0.3 * tall, 0.14, 0.14, 0.3 * tall]), circle(0, 0, wide, 0.13), fill=p.main, decor=decor)
    pen.area(circle(0, 0, wide * 0.99, 0.13), fill=lighter(p.main, 0.35))
    pen.spot(circle(0, 0.025, wide * 0.85, 0.085), fill=p.deep if dice.chance(0.5) else darker(p.second, 0.35))
    if dice.chance(0.55):
        for x in dice.choice([(-0.2, 0.2), (0,), (-0.3, 0, 0.3)]):
            lean = dice.choice([-0.06, 0.06])
            pen.mark(curve([(x + lean * math.sin(1.2 + 1.1 * i), -0.22 - 0.065 * i) for i in range(8)]), width=0.06, fill=p.bold)


def lamp(pen: Pen, dice: StableRng) -> None:
    """Draw a lamp: a table or floor lamp with a shade, or a jointed desk lamp."""
    kind = dice.choice(["table", "table", "desk", "floor"])
    if kind == "desk":
        _desk_lamp(pen, dice)
    else:
        pen.turn = 14
        _shaded_lamp(pen, dice, tall=dice.uniform(0.75, 1.0) if kind == "table" else dice.uniform(1.35, 1.7), floor=kind == "floor")


def _shaded_lamp(pen: Pen, dice: StableRng, *, tall: float, floor: bool) -> None:
    p, top, low, high = pen.palette, dice.uniform(0.2, 0.34), dice.uniform(0.5, 0.66), dice.uniform(0.5, 0.68)
    if dice.chance(0.5):
        x = 0.5 * low
        pen.mark(line((x, 0), (x, 0.24)), width=0.03, fill=p.bold)
        pen.spot(circle(x, 0.27, 0.05), fill=p.bold)
    pen.area(box(-0.1, -0.1, 0.1, 0.12, corner=0.04), fill=p.third)
    vase = not floor and dice.chance(0.55)
    if vase:
        pen.area(
            smooth(
                [
                    (-0.08, 0.1),
                    (0.08, 0.1),
                    (0.13, 0.25),
                    (0.32, 0.5),
                    (0.26, tall - 0.1),
                    (0.15, tall),
                    (-0.15, tall),
                    (-0.26, tall - 0.1),
                    (-0.32, 0.5),
                    (-0.13, 0.25),
                ]
            ),
            fill=p.second,
        )
    else:
        pen.bar(line((0, 0.05), (0, tall - 0.04)), width=dice.uniform(0.07, 0.11), fill=p.second)
        if dice.chance(0.4):
            pen.area(circle(0, 0.4 * tall + 0.1, 0.1), fill=p.third)
    wide = dice.uniform(0.26, 0.4)
    pen.area(
        rounded([(-wide, tall + 0.05), (-0.75 * wide, tall - 0.07), (0.75 * wide, tall - 0.07), (wide, tall + 0.05)], 0.05), fill=p.third
    )
    pattern, decor = dice.choice(["plain", "plain", "stripes", "bands", "dots"]), []
    if pattern == "stripes":
        decor = [
            (rounded([(x * top - 0.04, -high), (x * top + 0.04, -high), (x * low + 0.07, 0), (x * low - 0.07, 0)], 0.01), p.third)
            for x in (-0.7, 0, 0.7)
        ]
    elif pattern == "bands":
        decor = [(box(-2, y, 2, y + 0.09, corner=0), p.third) for y in (-high, -0.1)]
    elif pattern == "dots":
        decor = [
            (circle(x * low, y * high, 0.06), p.third)
            for x, y in ((0, -0.75), (-0.3, -0.45), (0.3, -0.45), (0, -0.2), (-0.65, -0.15), (0.65, -0.15))
        ]
    pen.area(rounded([(-top, -high), (top, -high), (low, 0), (-low, 0)], 0.05), fill=p.main, decor=decor)


def _desk_lamp(pen: Pen, dice: StableRng) -> None:
    p = pen.palette
    elbow, neck = (-0.5, dice.uniform(-0.1, 0.05)), (0.2, dice.uniform(-0.75, -0.6))
    pen.bar(line((-0.05, 0.75), elbow, neck), width=0.08, fill=p.second)
    pen.area(circle(*elbow, 0.09), fill=p.third)
    pen.area(rounded([(-0.45, 0.88), (-0.35, 0.72), (0.25, 0.72), (0.35, 0.88)], 0.07), fill=p.main)
    x, y = neck
    pen.area(circle(x + 0.4, y + 0.32, 0.14), fill=p.light)
    head = smooth(
        [
            (x - 0.1, y - 0.05),
            (x + 0.05, y - 0.2),
            (x + 0.45, y - 0.08),
            (x + 0.7, y + 0.16),
            (x + 0.42, y + 0.32),
            (x + 0.12, y + 0.55),
            (x - 0.02, y + 0.25),
        ]
    )
    pen.area(head, fill=p.main)
    pen.area(circle(*neck, 0.07), fill=p.third)


def chair(pen: Pen, dice: StableRng) -> None:
    """Draw a chair with a back of slats, spindles or one panel, or an armchair."""
    pen.turn = 14
    if dice.chance(0.25):
        _armchair(pen, dice)
        return
    p, wide, back, leg = pen.palette, dice.uniform(0.38, 0.46), dice.uniform(0.85, 1.1), dice.uniform(0.78, 0.98)
    skew, deep, bar = dice.uniform(0.08, 0.16), dice.uniform(0.2, 0.28), dice.uniform(0.085, 0.115)
    shade = darker(p.main, 0.22)
    pen.bar(line((-wide + skew, 0), (-wide + skew, leg - deep)), line((wide + skew, 0), (wide + skew, leg - deep)), width=bar, fill=shade)
    kind = dice.choice(["slats", "spindles", "panel", "round"])
    left, right = -wide + skew, wide + skew
    if kind in ("panel", "round"):
        pen.bar(line((left + 0.12, 0), (left + 0.12, -0.3)), line((right - 0.12, 0), (right - 0.12, -0.3)), width=bar, fill=shade)
        corner = 0.1 if kind == "panel" else 0.36
        pen.area(rounded([(left, -back), (right, -back), (right, -0.22), (left, -0.22)], [corner, corner, 0.08, 0.08]), fill=p.second)
    else:
        if kind == "slats":
            rungs = [line((left, y), (right, y)) for y in (-0.38 * back, -0.72 * back)]
        else:
            rungs = [line((left + (right - left) * i / 4, -back + 0.05), (left + (right - left) * i / 4, 0)) for i in (1, 2, 3)]
        pen.bar(*rungs, width=bar * 0.85, fill=p.second)
        pen.bar(line((left, 0), (left, -back)), line((right, 0), (right, -back)), width=bar, fill=p.main)
        pen.bar(
            curve([(left, -back + 0.02), ((left + right) / 2, -back - dice.uniform(0.0, 0.1)), (right, -back + 0.02)]),
            width=bar * 1.3,
            fill=p.main,
        )
    if dice.chance(0.5):
        pen.bar(line((-wide, 0.6 * leg), (wide, 0.6 * leg)), width=bar * 0.7, fill=shade)
    pen.bar(line((-wide, deep), (-wide - 0.02, leg)), line((wide, deep), (wide + 0.02, leg)), width=bar, fill=p.main)
    pen.area(rounded([(left - 0.03, -0.04), (right + 0.03, -0.04), (wide + 0.06, deep), (-wide - 0.06, deep)], 0.08), fill=p.third)
    pen.area(box(-wide - 0.07, deep - 0.02, wide + 0.07, deep + 0.09, corner=0.05), fill=darker(p.third, 0.2))


def _armchair(pen: Pen, dice: StableRng) -> None:
    p, wide = pen.palette, dice.uniform(0.6, 0.72)
    for x in (-0.75 * wide, 0.75 * wide):
        pen.bar(line((x, 0.6), (x * 1.08, 0.85)), width=0.11, fill=p.third)
    pen.area(
        rounded([(-0.85 * wide, -0.85), (0.85 * wide, -0.85), (0.9 * wide, 0.5), (-0.9 * wide, 0.5)], [0.34, 0.34, 0.05, 0.05]), fill=p.main
    )
    if dice.chance(0.6):
        pen.spot(
            *(circle(x * wide, y, 0.04) for x, y in ((-0.4, -0.5), (0, -0.5), (0.4, -0.5), (-0.2, -0.25), (0.2, -0.25))),
            fill=darker(p.main, 0.4),
        )
    pen.area(box(-0.8 * wide, 0.3, 0.8 * wide, 0.66, corner=0.08), fill=darker(p.main, 0.15))
    pen.area(box(-0.75 * wide, 0.08, 0.75 * wide, 0.36, corner=0.13), fill=p.second)
    for side in (-1, 1):
        low, high = sorted((side * (wide + 0.16), side * (wide - 0.16)))
        pen.area(rounded([(low, -0.1), (high, -0.1), (high, 0.68), (low, 0.68)], [0.16, 0.16, 0.05, 0.05]), fill=lighter(p.main, 0.12))
