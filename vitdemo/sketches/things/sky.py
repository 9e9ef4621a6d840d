"""Things of the sky, and the heart: star, moon, sun, heart."""

import math

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.palette import darker, lighter, mix
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.shapes import arc, box, circle, curve, line, polar, rotated, rounded, smooth
from vitdemo.sketches.shapes import star as star_shape
from vitdemo.sketches.things.face import face


def star(pen: Pen, dice: StableRng) -> None:
    """Draw a star with five or six tips; plain, faceted, dotted or with a face."""
    p, tips = pen.palette, dice.choice([5, 5, 5, 5, 6])
    inner = dice.uniform(0.46, 0.58) if tips == 5 else dice.uniform(0.52, 0.6)
    outline = star_shape(0, 0, 1, inner, tips, corner=dice.uniform(0.08, 0.3))
    decor, kind = [], dice.choice(["plain", "inner", "facets", "face", "face", "dots"])
    if kind == "inner":
        decor = [(star_shape(0, 0, 0.66, 0.66 * inner, tips, corner=0.1), dice.choice([p.second, lighter(p.main, 0.45)]))]
    elif kind == "facets":
        for i in range(tips):
            angle = -90 + 360 * i / tips
            decor.append((rounded([(0, 0), polar(0, 0, 1.1, angle), polar(0, 0, inner, angle + 180 / tips)], 0.01), darker(p.main, 0.2)))
    elif kind == "dots":
        decor = [(circle(*polar(0, 0, 0.62, -90 + 360 * i / tips), 0.1), p.second) for i in range(tips)] + [(circle(0, 0, 0.14), p.second)]
    pen.turn = 30 if kind == "face" else 180
    pen.area(outline, fill=p.main, decor=decor)
    if kind == "face":
        face(pen, dice, x=0, y=-0.02, width=dice.uniform(0.36, 0.46), skin=p.main)


def moon(pen: Pen, dice: StableRng) -> None:
    """Draw a crescent: a disc minus another disc further to the right."""
    pen.turn = 40
    p, bite, radius = pen.palette, dice.uniform(0.42, 0.68), dice.uniform(0.78, 0.92)
    along = (1 - radius * radius + bite * bite) / (2 * bite)  # where the two circles cross
    up = math.sqrt(max(0.0, 1 - along * along))
    outer, inner = math.degrees(math.atan2(up, along)), math.degrees(math.atan2(up, along - bite))
    left = arc(0, 0, 1, outer, 360 - outer)
    right = arc(bite, 0, radius, 360 - inner, inner)
    outline = rounded([*left[::2].tolist(), *right[::2].tolist()], 0.05)
    kind = dice.choice(["craters", "craters", "face", "face", "plain"])
    middle = (bite - radius - 1) / 2
    decor = []
    if kind == "craters":
        places = [
            (middle, 0.1, 0.18 * (bite - radius + 1)),
            (-0.42, -0.62, 0.15),
            (-0.3, 0.7, 0.17),
            (-0.72, 0.46, 0.08),
            (-0.8, -0.32, 0.09),
        ]
        decor = [(circle(*place), darker(p.main, 0.2)) for place in places]
    pen.area(outline, fill=p.main, decor=decor)
    if kind == "face":
        ink, x = p.on(p.main), middle + 0.05
        pen.mark(arc(x + 0.02, -0.16, 0.13, 20, 160), width=0.05, fill=ink)
        pen.mark(arc(x + 0.1, 0.2, 0.17, 50, 150), width=0.05, fill=ink)
        pen.spot(circle(x - 0.1, 0.14, 0.1), fill=mix(p.main, p.third, 0.6))


def sun(pen: Pen, dice: StableRng) -> None:
    """Draw a sun: a disc with rays, which are triangles, bars, drops or waves."""
    p, count, kind = (
        pen.palette,
        dice.choice([8, 9, 10, 11, 12, 14, 16]),
        dice.choice(["triangles", "bars", "alternating", "drops", "waves"]),
    )
    radius, gap = dice.uniform(0.5, 0.6), dice.choice([0.0, 0.08, 0.12])
    near, far = radius + gap, dice.uniform(0.92, 1.05)
    half = min(0.19, 1.35 * near / count)
    for i in range(count):
        angle, reach = 360 * i / count, far
        if kind == "alternating" and i % 2:
            reach = near + 0.55 * (far - near)
        if kind in ("triangles", "alternating"):
            ray = rounded([(near - 0.02, -half), (reach, 0), (near - 0.02, half)], 0.04)
        elif kind == "drops":
            upper = [(near + 0.5 * (far - near), 0.75 * half), (far - 0.04, 0.6 * half)]
            ray = smooth([(near + 0.02, 0), *((x, -y) for x, y in upper), (far, 0), *reversed(upper)])
        if kind == "bars":
            pen.bar(line(polar(0, 0, near + 0.04, angle), polar(0, 0, reach, angle)), width=max(0.07, 0.8 * half), fill=p.second)
        elif kind == "waves":
            wave = curve([(near + 0.02, 0), (near + 0.33 * (far - near), 0.05), (near + 0.66 * (far - near), -0.05), (far, 0)])
            pen.bar(rotated(wave, angle), width=0.08, fill=p.second)
        else:
            pen.area(rotated(ray, angle), fill=p.second)
    swirl = dice.choice(["face", "face", "plain", "ring", "swirl"])
    pen.area(circle(0, 0, radius), fill=p.main, decor=[(circle(0, 0, 0.68 * radius), lighter(p.main, 0.4))] if swirl == "ring" else [])
    if swirl == "face":
        face(pen, dice, x=0, y=-0.06, width=dice.uniform(0.4, 0.5), skin=p.main)
    elif swirl == "swirl":
        coil = curve([polar(0, 0, radius * (0.08 + 0.085 * i), 62 * i) for i in range(9)])
        pen.mark(coil, width=0.07, fill=darker(p.main, 0.3))


def heart(pen: Pen, dice: StableRng) -> None:
    """Draw a heart; plain, striped, dotted, patched or with a face."""
    pen.turn = 35
    p, wide, low, dip = pen.palette, dice.uniform(0.88, 1.0), dice.uniform(0.85, 1.1), dice.uniform(-0.5, -0.38)
    half = curve([(0, dip), (0.28, -0.72), (0.62, -0.76), (0.92, -0.52), (0.94, -0.12), (0.6, 0.38), (0, low)])[:-1] * (wide, 1)
    tip = [(0, low)]
    outline = rounded([*half.tolist(), *tip, *((-x, y) for x, y in half[:0:-1].tolist())], 0.03)
    kind, decor = dice.choice(["plain", "shine", "inner", "stripes", "dots", "face", "patch"]), []
    if kind == "inner":
        decor = [(outline * 0.62 + (0, 0.02), dice.choice([p.second, lighter(p.main, 0.4)]))]
    elif kind == "stripes":
        decor = [(rotated(box(-2, y - 0.09, 2, y + 0.09, corner=0), 30), p.second) for y in (-0.7, -0.3, 0.1, 0.5)]
    elif kind == "dots":
        decor = [
            (circle(x, y, 0.1), p.second)
            for x, y in ((-0.5, -0.4), (0, -0.15), (0.5, -0.4), (-0.35, 0.15), (0.35, 0.15), (0, 0.5), (0.8, -0.1), (-0.8, -0.1))
        ]
    elif kind == "shine":
        decor = [(rotated(circle(-0.52, -0.44, 0.2, 0.11), -35, about=(-0.52, -0.44)), lighter(p.main, 0.65))]
    elif kind == "patch":
        decor = [(rotated(box(0.12, -0.4, 0.6, 0.05, corner=0.06), 12, about=(0.36, -0.2)), p.second)]
    pen.area(outline, fill=p.main, decor=decor)
    if kind == "face":
        face(pen, dice, x=0, y=-0.12, width=dice.uniform(0.46, 0.6), skin=p.main)
