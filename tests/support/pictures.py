"""Pictures of our own making."""

from pathlib import Path

import numpy as np
from PIL import Image

from vitdemo.core.photos.encode import encode

COLOURS = {"blue": (60, 80, 190), "green": (70, 170, 80), "red": (200, 60, 60)}


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture of random pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(width: int, height: int, seed: int = 0) -> bytes:
    """The same as a PNG file."""
    return encode(noise(width, height, seed), "PNG")


def paint(folder: Path, count: int, seed: int) -> Path:
    """Noise in three colours, one folder each."""
    dice = np.random.default_rng(seed)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(dice.normal(colour, 40, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder
