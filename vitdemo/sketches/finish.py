"""Finishing effects that make a drawing look photographed or printed: grain, blur, darker corners."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from vitdemo.sketches.dice import StableRng


def finish(picture: Image.Image, dice: StableRng) -> Image.Image:
    """Apply no, one or several mild effects at random."""
    if dice.chance(0.15):
        picture = picture.filter(ImageFilter.GaussianBlur(dice.uniform(0.3, 0.65) * picture.width / 224))
    if dice.chance(0.2):
        picture = ImageChops.multiply(picture, _vignette(picture.width, dice.integer(1, 4)))
    if dice.chance(0.35):
        strength = dice.integer(3, 9)
        grain = dice.bytes(picture.height, picture.width).astype(np.int16) * strength // 128 - strength  # (h, w): −strength … strength
        picture = Image.fromarray(np.clip(np.asarray(picture, np.int16) + grain[..., None], 0, 255).astype(np.uint8))
    return picture


def shadow(picture: Image.Image, cover: Image.Image, dice: StableRng) -> Image.Image:
    """Draw a soft shadow of the thing that `cover` shows onto the picture, before the thing itself is added."""
    side = picture.width
    layer = Image.new("L", (side, side))
    layer.paste(cover, (round(side * dice.uniform(0.008, 0.025)), round(side * dice.uniform(0.01, 0.03))))
    layer = layer.filter(ImageFilter.BoxBlur(side * dice.uniform(0.006, 0.02)))
    strength = dice.uniform(0.15, 0.4)
    picture.paste((20, 16, 40), (0, 0), layer.point([round(strength * level) for level in range(256)]))
    return picture


@lru_cache(maxsize=16)
def _vignette(side: int, strength: int) -> Image.Image:
    """Return a picture that is white in the middle and darker towards the corners, to multiply with."""
    across = (np.arange(side) * 2 + 1 - side) / side
    distance = across[:, None] ** 2 + across[None] ** 2  # (h, w): 0 in the middle, 2 in the corners
    levels = (255 * (1 - 0.04 * strength * distance)).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(levels)] * 3)
