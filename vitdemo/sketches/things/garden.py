"""Things outside: house, tree, flower, mushroom."""

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.palette import darker, lighter
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.shapes import arc, both_sides, box, circle, curve, line, moved, polar, rotated, rounded, smooth


def house(pen: Pen, dice: StableRng) -> None:
    """Draw a house with a gable, hip or barn roof, a door and windows; sometimes with a chimney."""
    pen.turn = 12
    p, wide, tall = pen.palette, dice.uniform(0.55, 0.9), dice.uniform(0.55, 0.95)
    rise, eaves = dice.uniform(0.45, 0.85), dice.uniform(0.08, 0.18)
    kind = dice.choice(["gable", "gable", "hip", "barn"])
    if dice.chance(0.65):
        at = dice.choice([-1, 1]) * dice.uniform(0.3, 0.5) * wide
        pen.area(box(at - 0.1, -rise * 0.95, at + 0.1, 0, corner=0.02), fill=p.third)
        pen.area(box(at - 0.14, -rise * 0.95 - 0.1, at + 0.14, -rise * 0.95 + 0.02, corner=0.04), fill=darker(p.third))
    pen.area(box(-wide, -0.08, wide, tall, corner=0.04), fill=p.main)
    roof = {
        "gable": [(-wide - eaves, 0), (0, -rise), (wide + eaves, 0)],
        "hip": [(-wide - eaves, 0), (-0.5 * wide, -0.8 * rise), (0.5 * wide, -0.8 * rise), (wide + eaves, 0)],
        "barn": [(-wide - eaves, 0), (-0.75 * wide, -0.6 * rise), (0, -rise), (0.75 * wide, -0.6 * rise), (wide + eaves, 0)],
    }[kind]
    tiles = []
    if dice.chance(0.35):
        step = rise / dice.integer(3, 4)
        tiles = [(box(-2, -k * step - 0.025, 2, -k * step + 0.025, corner=0.01), darker(p.second)) for k in range(1, 4)]
    pen.area(rounded(roof, 0.1), fill=p.second, decor=tiles)
    if kind != "hip" and dice.chance(0.5):
        pen.area(circle(0, -rise * 0.42, 0.13), fill=p.light)
        pen.mark(line((-0.12, -rise * 0.42), (0.12, -rise * 0.42)), line((0, -rise * 0.42 - 0.12), (0, -rise * 0.42 + 0.12)), width=0.03)
    _door_and_windows(pen, dice, wide=wide, tall=tall)


def _door_and_windows(pen: Pen, dice: StableRng, *, wide: float, tall: float) -> None:
    p, half, top = pen.palette, dice.uniform(0.14, 0.19), tall - min(dice.uniform(0.45, 0.58), tall - 0.12)
    at = dice.choice([0, 0, -0.55, 0.55]) * wide
    corner = dice.choice([0.03, half, half])
    pen.area(
        rounded([(at - half, top), (at + half, top), (at + half, tall), (at - half, tall)], [corner, corner, 0.01, 0.01]), fill=p.third
    )
    pen.spot(circle(at + 0.55 * half, (top + tall) / 2 + 0.05, 0.03), fill=p.on(p.third))
    places = [-0.6 * wide, 0.6 * wide] if at == 0 else [-at, -at * 0.1] if wide > 0.75 else [-at]
    side, round_top = dice.uniform(0.13, 0.17), dice.choice([0.03, 0.03, 0.14])
    middle = min(top + side + 0.03, tall / 2)
    rows = [middle]
    for y in rows:
        for x in places:
            if abs(x - at) < half + side + 0.04:
                continue
            pen.area(
                rounded(
                    [(x - side, y - side), (x + side, y - side), (x + side, y + side), (x - side, y + side)],
                    [round_top, round_top, 0.02, 0.02],
                ),
                fill=p.light,
            )
            pen.mark(line((x, y - side), (x, y + side)), line((x - side, y), (x + side, y)), width=0.03)


def tree(pen: Pen, dice: StableRng) -> None:
    """Draw a tree: a cloud of leaves, a round crown, a pine in tiers or a poplar; sometimes with fruit."""
    pen.turn = 15
    p, kind = pen.palette, dice.choice(["cloud", "cloud", "round", "pine", "poplar"])
    half, tall = dice.uniform(0.09, 0.14), dice.uniform(0.55, 0.8)
    trunk = both_sides([(half * 0.75, -0.5), (half * 0.85, tall * 0.6), (half * 1.1, tall * 0.85), (half * 1.9, tall)])
    pen.area(rounded(trunk, 0.05), fill=p.second)
    if kind == "pine":
        tiers, wide = dice.integer(2, 4), dice.uniform(0.55, 0.75)
        for tier in range(tiers):
            low, spread = 0.25 - tier * 1.1 / tiers, wide * (1 - 0.24 * tier)
            pen.area(rounded([(-spread, low), (0, low - 1.5 / tiers - 0.15), (spread, low)], 0.12), fill=p.main)
        return
    if kind == "cloud":
        count, reach = dice.integer(5, 8), dice.uniform(0.34, 0.44)
        puffs = [circle(*polar(0, -0.4, reach, 360 * i / count + dice.uniform(-12, 12)), dice.uniform(0.27, 0.36)) for i in range(count)]
        pen.area(circle(0, -0.4, reach), *puffs, fill=p.main)
        if dice.chance(0.5):
            curls = [arc(dice.uniform(-0.4, 0.3), dice.uniform(-0.75, -0.1), 0.12, 200, 340) for _ in range(3)]
            pen.mark(*curls, width=0.035, fill=darker(p.main, 0.35))
    else:
        round_one = dice.uniform(0.55, 0.72), dice.uniform(0.55, 0.68)
        wide, high = round_one if kind == "round" else (dice.uniform(0.4, 0.48), dice.uniform(0.7, 0.85))
        middle = 0.15 - high
        right = [(0, -high), (0.68 * wide, -0.65 * high), (wide, 0.1), (0.8 * wide, 0.7 * high), (0, high)]
        pen.area(moved(smooth(both_sides(right)), 0, middle), fill=p.main)
        if kind == "poplar" or dice.chance(0.5):
            twigs = [line((0.01, -0.05), (0.3 * wide, -0.25)), line((0, -0.2), (-0.3 * wide, -0.4))]
            pen.mark(
                curve([(0, 0.3), (0.01, 0), (0, middle - 0.2 * high)]), *twigs, width=0.05, fill=p.second if p.second != p.main else p.line
            )
    if dice.chance(0.35):
        count = dice.integer(5, 8)
        for i in range(count):
            pen.spot(circle(*polar(0, -0.4, dice.uniform(0.15, 0.36), 360 * i / count), 0.065), fill=p.third)


def flower(pen: Pen, dice: StableRng) -> None:
    """Draw a flower on a stem with leaves: petals around a centre, or a tulip."""
    p, bend, reach = pen.palette, dice.uniform(-0.15, 0.15), dice.uniform(0.98, 1.2)
    stem = curve([(0, 0), (bend, 0.5), (0, reach)])
    pen.bar(stem, width=dice.uniform(0.06, 0.09), fill=p.third)
    for side in dice.choice([(-1, 1), (1,), (-1, 1)]):
        leaf = smooth([(0, 0), (0.2, -0.14), (0.44, -0.14), (0.3, 0.04)])
        at = dice.uniform(0.68, 0.82) * reach
        pen.area(moved(leaf * (side, 1), bend * 0.7, at), fill=p.third)
    if dice.chance(0.3):
        _tulip(pen, dice)
        return
    count, outer = dice.choice([5, 5, 6, 7, 8, 10, 12]), dice.uniform(0.48, 0.58)
    heart = dice.uniform(0.17, 0.22) if count < 8 else dice.uniform(0.2, 0.28)
    half = min(0.27, 3.14 * outer * 0.62 / count * dice.uniform(1.0, 1.15))
    petal = [(0, -1.04 * outer), (0.6 * half, -0.97 * outer), (half, -0.72 * outer), (0.5 * half, -0.35 * outer), (0, 0)]
    base = smooth(both_sides(petal))
    turn = dice.uniform(0, 360)
    if dice.chance(0.35):
        for i in range(count):
            pen.area(rotated(base, turn + 360 * (i + 0.5) / count), fill=darker(p.main, 0.18))
    for i in range(count):
        pen.area(rotated(base, turn + 360 * i / count), fill=p.main)
    pen.area(circle(0, 0, heart), fill=p.second)
    if dice.chance(0.4):
        pen.spot(*(circle(*polar(0, 0, 0.55 * heart, 72 * i), 0.035) for i in range(5)), fill=p.on(p.second))


def _tulip(pen: Pen, dice: StableRng) -> None:
    p, wide = pen.palette, dice.uniform(0.3, 0.4)
    for side in (-1, 1):
        pen.area(
            smooth([(0, 0.12), (side * wide, 0), (side * wide * 1.05, -0.35), (side * wide * 0.85, -0.62), (side * 0.3 * wide, -0.4)]),
            fill=p.main,
        )
    pen.area(smooth(both_sides([(0, -0.66), (0.62 * wide, -0.3), (0.6 * wide, 0), (0, 0.14)])), fill=lighter(p.main, 0.22))


def mushroom(pen: Pen, dice: StableRng) -> None:
    """Draw a toadstool; sometimes with a smaller toadstool next to it, or with grass."""
    p = pen.palette
    if dice.chance(0.3):
        _toadstool(pen, dice, x=dice.choice([-0.75, 0.75]), y=0.35, scale=dice.uniform(0.42, 0.55))
    _toadstool(pen, dice, x=0, y=0, scale=1)
    if dice.chance(0.3):
        blades = [line((x, 0.86), (x + lean, 0.64)) for x, lean in ((-0.35, -0.06), (-0.27, 0.04), (0.3, -0.03), (0.38, 0.06))]
        pen.mark(*blades, width=0.05, fill=p.bold)


def _toadstool(pen: Pen, dice: StableRng, *, x: float, y: float, scale: float) -> None:
    p, half, tall = pen.palette, dice.uniform(0.17, 0.26), dice.uniform(0.65, 0.85)
    wide, high = dice.uniform(0.62, 0.8), dice.uniform(0.5, 0.85)
    stem = smooth(both_sides([(half * 0.85, -0.1), (half * 0.9, 0.3), (half * 1.3, tall - 0.1), (half * 0.9, tall), (0.01, tall + 0.02)]))
    pen.area(moved(stem, x, y, scale=scale), fill=p.second)
    if dice.chance(0.5):
        ring = smooth(both_sides([(half * 0.8, 0.14), (half * 1.5, 0.27), (half * 0.6, 0.3)]))
        pen.area(moved(ring, x, y, scale=scale), fill=lighter(p.second, 0.25))
    if dice.chance(0.6):
        pen.area(moved(circle(0, 0, 0.9 * wide, 0.13), x, y, scale=scale), fill=darker(p.second, 0.25))
    cap = both_sides(
        [
            (0, -high),
            (0.45 * wide, -0.9 * high),
            (0.82 * wide, -0.55 * high),
            (wide, -0.1),
            (0.92 * wide, 0.05),
            (0.45 * wide, 0.0),
            (0, -0.02),
        ]
    )
    spots = [
        (0, -0.62, 0.15),
        (-0.52, -0.45, 0.1),
        (0.5, -0.5, 0.12),
        (-0.22, -0.22, 0.09),
        (0.3, -0.18, 0.1),
        (-0.75, -0.12, 0.1),
        (0.78, -0.1, 0.1),
    ]
    decor = [(moved(circle(a * wide, b * high, r), x, y, scale=scale), p.light) for a, b, r in spots] if dice.chance(0.8) else []
    pen.area(moved(smooth(cap), x, y, scale=scale), fill=p.main, decor=decor)
