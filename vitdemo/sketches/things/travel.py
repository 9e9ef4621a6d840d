"""Vehicles: sailboat, car, aeroplane, bicycle."""

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.palette import darker, lighter
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.shapes import arc, both_sides, box, circle, curve, line, moved, polar, rounded, smooth


def sailboat(pen: Pen, dice: StableRng) -> None:
    """Draw a boat with a mast and one sail, two sails, or a square sail."""
    pen.turn = 18
    p, tall, wide, rig = pen.palette, dice.uniform(0.95, 1.35), dice.uniform(0.72, 0.95), dice.choice(["sloop", "sloop", "main", "square"])
    mast = 0 if rig == "square" else dice.uniform(-0.1, 0.15)
    pen.bar(line((mast, 0.3), (mast, -tall)), width=0.06, fill=p.third)
    if dice.chance(0.6):
        pen.area(rounded([(mast, -tall - 0.02), (mast - 0.3, -tall + 0.08), (mast, -tall + 0.18)], 0.02), fill=p.main)
    base = dice.uniform(0.02, 0.1)
    bands = []
    if dice.chance(0.4):
        bands = [(box(-2, y, 2, y + 0.13, corner=0), p.main) for y in (-0.3, -0.62)]
    if rig == "square":
        sail = smooth(
            [
                (-0.5, -tall + 0.3),
                (0, -tall + 0.24),
                (0.5, -tall + 0.3),
                (0.56, -0.4),
                (0.6, base),
                (0, base - 0.1),
                (-0.6, base),
                (-0.56, -0.4),
            ]
        )
        pen.area(sail, fill=p.second, decor=bands)
    else:
        reach = dice.uniform(0.55, 0.75) * wide + 0.1
        pen.area(_sail((mast + 0.06, -tall + 0.15), (mast + 0.06, base), (mast + reach, base), bulge=0.12), fill=p.second, decor=bands)
        if rig == "sloop":
            pen.area(
                _sail((mast - 0.06, -tall + 0.3), (mast - 0.06, base), (mast - 0.85 * reach, base), bulge=-0.1), fill=lighter(p.second, 0.3)
            )
    hull = [(-wide, 0.2), (wide, 0.2), (wide * dice.uniform(0.62, 0.85), 0.62), (-wide * dice.uniform(0.62, 0.85), 0.62)]
    stripe = [(box(-2, 0.3, 2, 0.39, corner=0), p.light)] if dice.chance(0.5) else []
    pen.area(rounded(hull, [0.06, 0.06, 0.2, 0.2]), fill=p.main, decor=stripe)
    if dice.chance(0.3):
        pen.spot(*(circle(x * wide, 0.45, 0.05) for x in (-0.4, 0, 0.4)), fill=p.on(p.main))


def _sail(top: tuple[float, float], foot: tuple[float, float], clew: tuple[float, float], *, bulge: float):
    leech = curve([top, ((top[0] + clew[0]) / 2 + bulge, (top[1] + clew[1]) / 2), clew])
    return rounded([*leech[:-1:3].tolist(), clew, foot], 0.04)


def car(pen: Pen, dice: StableRng) -> None:
    """Draw a car from the side: a hatchback, a saloon, a beetle or a van."""
    pen.turn = 15
    p, kind, roof = pen.palette, dice.choice(["hatchback", "saloon", "beetle", "van"]), dice.uniform(0.42, 0.55)
    belt, low = 0.0, 0.36
    cabins = {
        "hatchback": [(-0.85, belt), (-0.72, -roof), (0.15, -roof), (0.5, belt)],
        "saloon": [(-0.62, belt), (-0.35, -roof), (0.22, -roof), (0.55, belt)],
        "beetle": [(-0.78, belt + 0.1), (-0.5, -roof), (0.3, -roof), (0.62, belt + 0.1)],
        "van": [(-0.95, belt), (-0.93, -roof - 0.15), (0.42, -roof - 0.15), (0.68, belt)],
    }
    cabin = cabins[kind]
    windows = [*cabin, (cabin[-1][0], belt + 0.15), (cabin[0][0], belt + 0.15)]
    if kind == "beetle":
        body = smooth([(-1, 0.3), (-0.92, 0), (-0.5, -0.16), (0.4, -0.12), (0.9, 0.0), (1.02, 0.3), (0.6, low), (-0.6, low)])
        pen.area(body, rounded(windows, [0.1, 0.3, 0.3, 0.1, 0.02, 0.02]), fill=p.main)
    else:
        pen.area(box(-1, belt - 0.06, 1, low, corner=0.16), rounded(windows, [0.06, 0.16, 0.16, 0.06, 0.02, 0.02]), fill=p.main)
    top = cabin[1][1] + 0.1
    split = dice.uniform(-0.2, -0.05)
    left, right = (cabin[0][0] * 0.62 + cabin[1][0] * 0.38 + 0.1, cabin[1][0] + 0.09), (cabin[2][0] - 0.06, cabin[3][0] - 0.14)
    pen.area(rounded([(left[0], belt - 0.03), (left[1], top), (split - 0.04, top), (split - 0.04, belt - 0.03)], 0.05), fill=p.light)
    pen.area(rounded([(split + 0.05, belt - 0.03), (split + 0.05, top), (right[0], top), (right[1], belt - 0.03)], 0.05), fill=p.light)
    pen.mark(line((split, belt + 0.04), (split, low - 0.05)), width=0.025, fill=darker(p.main, 0.45))
    pen.mark(line((split - 0.22, belt + 0.1), (split - 0.1, belt + 0.1)), width=0.04, fill=darker(p.main, 0.5))
    pen.area(circle(0.93, 0.1, 0.065, 0.09), fill=p.light)
    pen.area(box(0.78, 0.26, 1.08, 0.38, corner=0.06), fill=p.third)
    pen.area(box(-1.08, 0.26, -0.78, 0.38, corner=0.06), fill=p.third)
    if dice.chance(0.25):
        pen.area(box(-0.5, cabin[1][1] - 0.14, 0.1, cabin[1][1] - 0.02, corner=0.05), fill=p.second)
    radius = dice.uniform(0.21, 0.27)
    for x in (-0.55, 0.55):
        pen.area(circle(x, low, radius), fill=p.bold)
        pen.spot(circle(x, low, 0.55 * radius), fill=p.second)
        pen.spot(circle(x, low, 0.2 * radius), fill=p.on(p.second))


def aeroplane(pen: Pen, dice: StableRng) -> None:
    """Draw an aeroplane, from the side or from above."""
    if dice.chance(0.4):
        _from_above(pen, dice)
        return
    p, fat = pen.palette, dice.uniform(0.22, 0.32)
    pen.area(rounded([(-0.85, -0.1), (-1.12, -0.62), (-0.82, -0.62), (-0.42, -0.1)], 0.08), fill=p.second)
    pen.area(rounded([(0.25, -0.1), (0.0, -0.52), (-0.18, -0.52), (-0.12, -0.1)], 0.06), fill=darker(p.second, 0.25))
    body = smooth(
        [
            (1.02, 0.03),
            (0.85, -0.6 * fat),
            (0.4, -fat),
            (-0.3, -0.85 * fat),
            (-1.0, -0.62 * fat),
            (-1.08, -0.35 * fat),
            (-0.5, 0.62 * fat),
            (0.3, fat),
            (0.85, 0.75 * fat),
        ]
    )
    band = [(box(-2, 0.35 * fat, 2, 2, corner=0), p.third)] if dice.chance(0.5) else []
    pen.area(body, fill=p.main, decor=band)
    pen.area(rounded([(-0.72, -0.25 * fat), (-1.2, 0.06), (-1.0, 0.12), (-0.55, 0.02)], 0.05), fill=p.second)
    for i in range(dice.integer(3, 5)):
        pen.area(circle(0.36 - 0.23 * i, -0.28 * fat, 0.065), fill=p.light)
    pen.area(smooth([(0.62, -0.68 * fat), (0.84, -0.5 * fat), (0.9, -0.12 * fat), (0.62, -0.14 * fat)]), fill=p.light)
    pen.area(rounded([(0.22, 0.3 * fat), (-0.32, 0.78), (-0.56, 0.78), (-0.24, 0.3 * fat)], 0.08), fill=p.second)
    if dice.chance(0.4):
        pen.area(circle(1.08, -0.22, 0.06, 0.2), circle(1.08, 0.28, 0.06, 0.2), fill=p.third)
        pen.area(circle(1.06, 0.03, 0.08), fill=p.second)


def _from_above(pen: Pen, dice: StableRng) -> None:
    pen.turn = 180
    p, half, sweep, span = pen.palette, dice.uniform(0.13, 0.18), dice.uniform(0.0, 0.45), dice.uniform(0.85, 1.1)
    chord = dice.uniform(0.3, 0.4)
    wing = both_sides([(0.05, -0.28), (span, -0.28 + sweep), (span, -0.28 + sweep + 0.5 * chord), (0.05, -0.28 + chord + 0.1)])
    if dice.chance(0.6):
        for x in (-0.48 * span, 0.48 * span):
            pen.area(box(x - 0.07, -0.4 + 0.5 * sweep, x + 0.07, 0.0 + 0.5 * sweep, corner=0.07), fill=p.third)
    pen.area(rounded(wing, 0.06), fill=p.second)
    pen.area(rounded(both_sides([(0.02, 0.6), (0.4, 0.72 + 0.3 * sweep), (0.4, 0.88 + 0.3 * sweep), (0.02, 0.9)]), 0.05), fill=p.second)
    pen.area(smooth(both_sides([(0, -1.05), (0.7 * half, -0.9), (half, -0.6), (half, 0.1), (0.6 * half, 0.8), (0, 1.0)])), fill=p.main)
    pen.area(smooth(both_sides([(0, -0.86), (0.6 * half, -0.74), (0.6 * half, -0.66), (0, -0.7)])), fill=p.light)
    if dice.chance(0.5):
        pen.mark(line((0, 0.55), (0, 0.95)), width=0.06)


def bicycle(pen: Pen, dice: StableRng) -> None:
    """Draw a bicycle from the side, with town or racing handlebars."""
    pen.turn = 14
    p, radius, tyre = pen.palette, dice.uniform(0.36, 0.44), dice.uniform(0.055, 0.085)
    back, front, crank = (-0.58, 0.3), (0.6, 0.3), (-0.08, 0.34)
    seat, head = (-0.24, -0.3), (0.42, dice.uniform(-0.36, -0.28))
    for x, y in (back, front):
        spokes = [line((x, y), polar(x, y, radius, 45 * i + 11)) for i in range(8)]
        pen.mark(*spokes, width=0.02, fill=p.third)
        pen.bar(arc(x, y, radius, 0, 360), width=tyre, fill=p.bold)
        pen.spot(circle(x, y, 0.05), fill=p.third)
    if dice.chance(0.35):
        pen.bar(arc(*back, radius + 0.07, 190, 300), arc(*front, radius + 0.07, 220, 340), width=0.04, fill=p.second)
    tube, frame = dice.uniform(0.055, 0.075), [line(back, crank), line(back, seat)]
    if dice.chance(0.6):
        frame += [line(seat, head), line(crank, (head[0] + 0.03, head[1] + 0.12)), line((seat[0] - 0.05, seat[1] - 0.12), crank)]
    else:
        frame += [curve([(head[0] + 0.02, head[1] + 0.1), (0.18, 0.05), crank]), line((seat[0] - 0.05, seat[1] - 0.12), crank)]
    frame.append(line((head[0] - 0.03, head[1] - 0.14), head, front))
    pen.bar(*frame, width=tube, fill=p.main)
    top = (head[0] - 0.03, head[1] - 0.14)
    grips = {
        "town": curve([(top[0] - 0.24, top[1] + 0.02), (top[0] - 0.1, top[1] - 0.06), top, (top[0] + 0.08, top[1] - 0.04)]),
        "racing": curve(
            [(top[0] - 0.04, top[1]), (top[0] + 0.16, top[1] - 0.02), (top[0] + 0.2, top[1] + 0.14), (top[0] + 0.06, top[1] + 0.2)]
        ),
    }
    pen.bar(grips[dice.choice(["town", "town", "racing"])], width=0.07, fill=p.second)
    saddle = smooth([(-0.24, -0.21), (-0.05, -0.17), (0.14, -0.14), (-0.04, -0.08), (-0.22, -0.08)])
    pen.area(moved(saddle, *seat), fill=p.second)
    pen.bar(line((crank[0] - 0.07, crank[1] - 0.1), (crank[0] + 0.07, crank[1] + 0.12)), width=0.04, fill=p.third)
    pen.area(circle(*crank, 0.08), fill=p.third)
    if dice.chance(0.3):
        basket = rounded([(0, 0), (0.34, 0), (0.29, 0.26), (0.05, 0.26)], 0.05)
        pen.area(moved(basket, head[0] + 0.08, head[1] - 0.1), fill=p.third)
