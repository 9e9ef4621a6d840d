"""The friendly face on some of the things."""

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.palette import Colour, mix
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.shapes import arc, circle


def face(pen: Pen, dice: StableRng, *, x: float, y: float, width: float, skin: Colour) -> None:
    """Draw two eyes, a smile and sometimes rosy cheeks; `width` is the distance between the eyes."""
    ink = pen.palette.on(skin)
    asleep = dice.chance(0.3)
    for side in (-1, 1):
        at = x + side * width / 2
        if asleep:
            pen.mark(arc(at, y - 0.03 * width, 0.17 * width, 20, 160), width=0.08 * width, fill=ink)
        else:
            pen.spot(circle(at, y, 0.105 * width, 0.14 * width), fill=ink)
    if dice.chance(0.5):
        pen.spot(
            *(circle(x + side * width * 0.78, y + 0.3 * width, 0.17 * width, 0.12 * width) for side in (-1, 1)),
            fill=mix(skin, pen.palette.third if skin != pen.palette.third else pen.palette.second, 0.6),
        )
    pen.mark(arc(x, y + 0.12 * width, dice.uniform(0.22, 0.36) * width, 25, 155), width=0.085 * width, fill=ink)
