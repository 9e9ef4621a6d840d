"""The drawing style of a picture: its lines, fills and edges, chosen independently of the thing that is drawn."""

from dataclasses import dataclass

from vitdemo.sketches.dice import StableRng

# names that are listed twice are twice as likely
LINES = ["clean", "clean", "wobbly", "marker", "none", "none", "tonal"]
FILLS = ["flat", "flat", "shaded", "shaded", "gradient", "hatched", "wash", "wash", "paper"]


@dataclass(frozen=True)
class SketchStyle:
    """The style of one picture's lines and fills; lengths are shares of the picture's side."""

    line: float  # width of the outlines; 0 = none
    tonal: bool  # each part is outlined in a darker shade of its own colour
    wobble: float  # how far straight lines are bent
    fill: str  # one of FILLS
    border: float  # width of a light edge round the whole thing, as on a sticker; 0 = none
    angle: float  # of hatching, in degrees
    seed: int  # of the random texture of washes


def pick_look(dice: StableRng) -> SketchStyle:
    """Pick a random style: line, fill, wobble and border."""
    style, fill = dice.choice(LINES), dice.choice(FILLS)
    if fill == "paper" and style in ("none", "tonal"):
        style = "wobbly"
    width = {"clean": dice.uniform(0.009, 0.014), "wobbly": dice.uniform(0.009, 0.014), "marker": dice.uniform(0.019, 0.027)}
    return SketchStyle(
        line={**width, "none": 0.0, "tonal": dice.uniform(0.01, 0.016)}[style],
        tonal=style == "tonal",
        wobble=dice.uniform(0.014, 0.024) if style == "wobbly" else dice.uniform(0, 0.01),
        fill=fill,
        border=dice.uniform(0.016, 0.026) if dice.chance(0.12) else 0.0,
        angle=dice.uniform(20, 70) * dice.choice([1, -1]),
        seed=dice.integer(0, 2**32),
    )
