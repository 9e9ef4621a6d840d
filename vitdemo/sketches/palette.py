"""Harmonious colours for one picture: any thing may have any hue, and the contrast is always high enough to see it.

Colours are chosen in OKLCh (Björn Ottosson, 2020, "A perceptual color space for image processing"), where equal steps of lightness
look equal: lightness alone ensures the contrast, and the hue is free.
"""

import math
from dataclasses import dataclass, replace

from vitdemo.sketches.dice import StableRng

Colour = tuple[int, int, int]

SHADE: Colour = (24, 18, 48)  # mixed in to darken a colour: a deep violet instead of black
SCHEMES = [(0, 0), (30, -30), (40, 80), (180, 30), (180, 210), (150, 210), (120, 240), (90, 180)]  # degrees from the main hue


def oklch(lightness: float, chroma: float, hue: float) -> Colour:
    """Convert to sRGB: lightness 0 … 1, chroma 0 … about 0.3 (lowered until the colour is within sRGB), hue in degrees."""
    while True:
        a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
        long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
        medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
        short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
        linear = (
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        )
        if chroma < 0.005 or all(-0.001 <= channel <= 1.001 for channel in linear):
            red, green, blue = (round(255 * _gamma(min(1.0, max(0.0, channel)))) for channel in linear)
            return red, green, blue
        chroma *= 0.88


def _gamma(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def _fresh(lightness: float, chroma: float, hue: float) -> Colour:
    """Like `oklch`, but without muddy colours: dim yellows become lighter, dark yellows redder."""
    yellow = max(0.0, 1 - abs((hue - 95 + 180) % 360 - 180) / 50)
    if lightness > 0.5:
        return oklch(lightness + yellow * max(0.0, 0.8 - lightness), chroma, hue)
    return oklch(lightness, chroma, hue - 50 * yellow)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Mix a share of the other colour into the first one."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float = 0.2) -> Colour:
    """Mix a share of SHADE into the colour."""
    return mix(colour, SHADE, share)


def lighter(colour: Colour, share: float = 0.3) -> Colour:
    """Mix a share of warm white into the colour."""
    return mix(colour, (255, 252, 244), share)


def brightness(colour: Colour) -> float:
    """Return the colour's luma (ITU-R BT.601), 0 … 1."""
    return (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255


@dataclass(frozen=True)
class Palette:
    """The colours of one picture. Main, second, third and bold contrast with the ground; line, light and deep only with those four."""

    ground: Colour
    ground_too: Colour
    main: Colour
    second: Colour
    third: Colour
    light: Colour
    deep: Colour
    line: Colour
    bold: Colour

    def on(self, colour: Colour) -> Colour:
        """Return the one of light and deep that has more contrast with a colour."""
        return self.deep if brightness(colour) > 0.5 else self.light

    def uncoloured(self) -> "Palette":
        """Return a palette as for a colouring book: all parts have one paper colour, and only lines separate them."""
        paper = self.light if brightness(self.line) < 0.5 else self.main
        return replace(self, main=paper, second=paper, third=paper)


def pick_palette(dice: StableRng) -> Palette:
    """Pick a random palette with a light, dark or middling ground, and hues that go together."""
    hue, chroma = dice.uniform(0, 360), dice.uniform(0.1, 0.19)
    ground_hue = hue + dice.choice([0, 30, -40, 120, 180, 180, 210, 150])
    ground_kind = dice.choice(["light", "light", "light", "dark", "middling"])
    if ground_kind == "light":
        ground = dice.uniform(0.89, 0.975), dice.uniform(0.01, 0.07)
        tones, line, bold = [dice.uniform(0.53, 0.6), dice.uniform(0.63, 0.7), dice.uniform(0.71, 0.78)], dice.uniform(0.2, 0.32), 0.3
    elif ground_kind == "dark":
        ground = dice.uniform(0.27, 0.37), dice.uniform(0.04, 0.1)
        ground_hue = 190 + ground_hue % 160  # teal to plum: dark yellows and greens look like mud
        tones, line, bold = [dice.uniform(0.66, 0.72), dice.uniform(0.76, 0.84), dice.uniform(0.87, 0.93)], dice.uniform(0.13, 0.19), 0.94
        if dice.chance(0.25):  # chalk
            tones, line = [dice.uniform(0.62, 0.66), dice.uniform(0.69, 0.73), dice.uniform(0.75, 0.79)], 0.975
    else:
        ground = dice.uniform(0.68, 0.78), dice.uniform(0.07, 0.15)
        tones, line, bold = [dice.uniform(0.42, 0.48), dice.uniform(0.91, 0.94), dice.uniform(0.94, 0.96)], dice.uniform(0.17, 0.23), 0.2
    turns = (0, *dice.choice(SCHEMES))
    main, second, third = (
        _fresh(tone, chroma, hue + turn + dice.uniform(-8, 8)) for tone, turn in zip(dice.shuffled(tones), turns, strict=True)
    )
    return Palette(
        ground=_fresh(*ground, ground_hue),
        ground_too=_fresh(ground[0] + dice.choice([-0.06, 0.035]), ground[1] * 1.2, ground_hue + dice.choice([-50, -20, 20, 50, 80])),
        main=main,
        second=second,
        third=third,
        light=oklch(0.965, 0.02, hue + dice.uniform(0, 360)),
        deep=oklch(dice.uniform(0.24, 0.3), 0.05, hue),
        line=oklch(line, 0.045, hue + dice.choice([0, 0, 180])),
        bold=oklch(bold, 0.04, hue),
    )
