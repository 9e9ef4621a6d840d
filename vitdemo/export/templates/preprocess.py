"""From a photo to the model's input: the resize, crop and normalisation it was trained with. Needs numpy, Pillow, and pi-heif for HEIC."""

import json
import math
from pathlib import Path

import numpy as np
from decoding.colour import to_srgb
from decoding.decode import decode, upright_rgb
from PIL import Image

RECIPE = json.loads((Path(__file__).parent / "preprocessing.json").read_text("utf-8"))
HEIGHT, WIDTH = RECIPE["size"]
MEAN, STD = np.float32(RECIPE["mean"]), np.float32(RECIPE["std"])
FILTER = Image.Resampling[RECIPE["interpolation"].upper()]
LARGEST_RESIZE = 64  # times the crop's area: beyond it lie photos like 1×50000, which would fill the memory


class TooNarrow(ValueError):
    """A photo that would need too much memory."""


def preprocess(photo: bytes | Image.Image) -> np.ndarray:
    """One photo as the model takes it: (3, height, width) float32, or (height, width, 3) uint8 where the model normalises by itself.

    A file's bytes are better than an opened image: broken metadata is passed over, and only the formats in `decoding/formats.py` are read.

    Raises: TooNarrow for a photo that is too long and narrow; what Pillow raises for a file that is broken or no photo.
    """
    image, _ = decode(photo) if isinstance(photo, bytes) else upright_rgb(photo)
    pixels = np.asarray(crop(to_srgb(image) if RECIPE.get("icc") == "convert" else image))
    if RECIPE["input"] == "uint8":
        return pixels
    return np.ascontiguousarray(((pixels.astype(np.float32) / np.float32(255) - MEAN) / STD).transpose(2, 0, 1))


def crop(photo: Image.Image) -> Image.Image:
    """The resize and centre crop, or border, of timm's evaluation transform; of a recipe with `resize`, transformers'."""
    width, height = _resized(*photo.size)
    if min(width, height) < 1 or width * height > LARGEST_RESIZE * WIDTH * HEIGHT:
        raise TooNarrow("it is too long and narrow: cut it to the part that matters")
    if RECIPE.get("resize"):
        left, top = (width - WIDTH) // 2, (height - HEIGHT) // 2
        return photo.resize((width, height), FILTER).crop((left, top, left + WIDTH, top + HEIGHT))
    left, top = round((width - WIDTH) / 2), round((height - HEIGHT) / 2)
    if width < WIDTH or height < HEIGHT:  # the rest is border
        fill = tuple(round(255 * each) for each in RECIPE["mean"]) if RECIPE["crop_mode"] == "border" else 0
        canvas = Image.new("RGB", (max(width, WIDTH), max(height, HEIGHT)), fill)
        canvas.paste(photo.resize((width, height), FILTER), (max(0, (WIDTH - width) // 2), max(0, (HEIGHT - height) // 2)))
        return canvas.crop((max(0, left), max(0, top), max(0, left) + WIDTH, max(0, top) + HEIGHT))
    return photo.resize((width, height), FILTER).crop((left, top, left + WIDTH, top + HEIGHT))


def _resized(width: int, height: int) -> tuple[int, int]:
    """Width and height after the resize."""
    to_height, to_width = RECIPE.get("resize") or (math.floor(HEIGHT / RECIPE["crop_pct"]), math.floor(WIDTH / RECIPE["crop_pct"]))
    if RECIPE["crop_mode"] == "squash":
        return to_width, to_height
    if RECIPE["crop_mode"] == "center" and to_width == to_height:  # torchvision rounds down here, timm to the nearest elsewhere
        short, long = sorted((width, height))
        rest = int(to_width * long / short)
        return (to_width, rest) if width <= height else (rest, to_width)
    pick = max if RECIPE["crop_mode"] == "border" else min
    ratio = pick(width / to_width, height / to_height)
    return round(width / ratio), round(height / ratio)
