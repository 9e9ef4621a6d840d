"""Classes that the demo model is never trained on, for fine-tuning: anchor, snowman, guitar."""

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.palette import darker, lighter
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.shapes import arc, both_sides, box, circle, curve, line, polar, rounded, smooth


def anchor(pen: Pen, dice: StableRng) -> None:
    """Draw an anchor: ring, stock, shank and two flukes; sometimes with a rope."""
    p, width, wide = pen.palette, dice.uniform(0.13, 0.18), dice.uniform(0.6, 0.75)
    top, low = dice.uniform(-0.75, -0.65), 0.85
    ring = dice.uniform(0.13, 0.17)
    stock = dice.uniform(0.36, 0.46)
    arms = arc(0, 0.2, wide, 20, 160, height=low - 0.2)
    flukes = [rounded([(side * (wide + 0.22), 0.42), (side * (wide - 0.02), 0.1), (side * (wide - 0.26), 0.45)], 0.05) for side in (1, -1)]
    bars = [
        (line((0, top + ring), (0, low)), width),
        (arms, width),
        (line((-stock, top + 0.38), (stock, top + 0.38)), width * 0.9),
        (arc(0, top, ring, 0, 360), width * 0.6),
    ]
    pen.piece(areas=flukes, bars=bars, fill=p.main)
    if dice.chance(0.5):
        rope = curve([(0.0, top + 0.05), (0.3, top + 0.1), (0.2, -0.1), (-0.2, 0.15), (0.1, 0.45), (0.45, 0.4)])
        pen.bar(rope, width=0.07, fill=p.second)


def snowman(pen: Pen, dice: StableRng) -> None:
    """Draw a snowman of two or three balls, with a hat or a cap."""
    pen.turn = 12
    p, three = pen.palette, dice.chance(0.5)
    snow = dice.choice([lighter(p.main, 0.55), p.main, p.second])
    balls = [(0.62, 0.6), (-0.08, 0.42), (-0.62, 0.32)] if three else [(0.55, 0.66), (-0.4, 0.42)]
    reach = balls[1][0] if three else 0.15
    for side in (-1, 1):
        tip = (side * 0.95, reach - dice.uniform(0.1, 0.35))
        pen.mark(line((side * 0.3, reach), tip), line((side * 0.75, reach - 0.14), (side * 0.9, reach + 0.05)), width=0.055, fill=p.bold)
    for y, radius in balls:
        pen.area(circle(0, y, radius, radius * 0.94), fill=snow)
    y, radius = balls[-1]
    for x in (-0.36 * radius, 0.36 * radius):
        pen.spot(circle(x, y - 0.15 * radius, 0.12 * radius), fill=p.on(snow))
    pen.area(rounded([(0, y + 0.02), (0, y + 0.14), (radius * 0.95, y + 0.12)], 0.04), fill=p.third)
    pen.mark(arc(0, y + 0.18 * radius, 0.5 * radius, 50, 140), width=0.04, fill=p.on(snow))
    body = balls[-2][0]
    pen.spot(*(circle(0, body + dy, 0.055) for dy in (-0.02, 0.17)), fill=p.on(snow))
    if dice.chance(0.7):
        pen.area(
            box(-0.78 * radius, y + 0.72 * radius, 0.78 * radius, y + 1.1 * radius, corner=0.07),
            fill=p.main if snow != p.main else p.second,
        )
        pen.area(
            box(0.25 * radius, y + 0.8 * radius, 0.25 * radius + 0.15, y + 2.0 * radius, corner=0.05),
            fill=p.main if snow != p.main else p.second,
        )
    top = y - 0.72 * radius
    if dice.chance(0.6):
        pen.area(
            box(-0.75 * radius, top - 1.0 * radius, 0.75 * radius, top + 0.02, corner=0.05),
            fill=p.third,
            decor=[(box(-1, top - 0.3, 1, top - 0.1, corner=0), p.second)],
        )
        pen.area(box(-1.15 * radius, top - 0.1, 1.15 * radius, top + 0.05, corner=0.06), fill=p.third)
    else:
        pen.area(rounded([polar(0, top + 0.05, 0.8 * radius, a) for a in range(180, 361, 20)], 0.03), fill=p.third)
        pen.area(circle(0, top - 0.8 * radius, 0.11), fill=p.second)
        pen.area(box(-0.88 * radius, top - 0.05, 0.88 * radius, top + 0.1, corner=0.06), fill=p.second)


def guitar(pen: Pen, dice: StableRng) -> None:
    """Draw a guitar, acoustic or electric."""
    pen.turn = 60
    p, low, top = pen.palette, dice.uniform(0.46, 0.56), dice.uniform(-1.25, -1.0)
    pen.area(rounded([(-0.07, top), (0.07, top), (0.09, 0.3), (-0.09, 0.3)], 0.02), fill=p.third)
    head = rounded([(-0.13, top - 0.34), (0.13, top - 0.34), (0.1, top + 0.02), (-0.1, top + 0.02)], 0.05)
    for y in (-0.26, -0.16, -0.06):
        pen.spot(*(circle(side * 0.17, top + y, 0.04) for side in (-1, 1)), fill=p.bold)
    pen.area(head, fill=p.second)
    waist = dice.uniform(0.26, 0.32)
    if dice.chance(0.7):
        body = smooth(both_sides([(0, -0.3), (0.3, -0.26), (0.38, -0.02), (waist, 0.22), (low, 0.5), (0.42, 0.88), (0, 0.98)]))
        pen.area(body, fill=p.main)
        pen.area(circle(0, 0.12, 0.15), fill=p.deep)
    else:
        body = smooth(
            [
                (0.12, -0.1),
                (0.35, -0.42),
                (0.42, -0.2),
                (0.32, 0.15),
                (low, 0.5),
                (0.36, 0.92),
                (0, 0.94),
                (-0.36, 0.92),
                (-low, 0.5),
                (-0.32, 0.15),
                (-0.44, -0.3),
                (-0.26, -0.46),
                (-0.12, -0.12),
            ]
        )
        guard = smooth([(-0.16, 0.1), (0.2, 0.1), (0.26, 0.5), (0, 0.78), (-0.2, 0.5)])
        pen.area(body, fill=p.main, decor=[(guard, p.second)])
    pen.area(rounded([(-0.07, top), (0.07, top), (0.085, 0.02), (-0.085, 0.02)], 0.02), fill=p.third)
    pen.area(box(-0.2, 0.6, 0.2, 0.7, corner=0.03), fill=darker(p.third, 0.2))
    pen.mark(*(line((x * 0.7, top - 0.05), (x, 0.64)) for x in (-0.05, 0, 0.05)), width=0.016, fill=p.on(p.third))
