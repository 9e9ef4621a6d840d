"""Augmentation for training: random crop, mirroring and colours, all determined by the seed, the epoch and the photo.

torchvision's functional operations do the work. Its random transforms share one generator among all threads, so no run could be repeated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from timm.data.transforms import str_to_pil_interp
from torchvision.transforms import functional

from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.preprocessing import Preprocessing

RATIO = (3 / 4, 4 / 3)  # lowest and highest width / height of a crop


@dataclass(frozen=True)
class Variation:
    """How strongly photos are augmented.

    Attributes:
        smallest: smallest share of the photo's area in a crop.
        colour: largest relative change of brightness, contrast and saturation, 0 … 1.
        grey, erase: probability that a photo turns grey, or that a rectangle of it is erased.
    """

    smallest: float
    colour: float = 0.0
    grey: float = 0.0
    erase: float = 0.0


VARIATIONS = {"light": Variation(0.6), "standard": Variation(0.4, 0.2), "strong": Variation(0.2, 0.4, 0.1, 0.25)}


def varied(preprocessing: Preprocessing, augment: str, *seed: int) -> Callable[[Photo], torch.Tensor]:
    """Return a function from a photo to an augmented model input, (3, height, width) float32; the same seed and photo give the same input.

    Args:
        augment: a name of VARIATIONS, or `none` for the photo unchanged.
    """
    if augment == "none":
        return lambda photo: preprocessing(photo.image)
    variation = VARIATIONS[augment]

    def prepare(photo: Photo) -> torch.Tensor:
        rng = np.random.default_rng([*seed, int(photo.id[:16], 16)])
        image = _crop(preprocessing.coloured(photo.image), preprocessing, variation.smallest, rng)
        if rng.random() < 0.5:
            image = functional.hflip(image)
        if variation.colour:
            for change in (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation):
                image = change(image, float(rng.uniform(1 - variation.colour, 1 + variation.colour)))
        if rng.random() < variation.grey:
            image = functional.rgb_to_grayscale(image, 3)
        tensor = preprocessing.normalised(image)
        if rng.random() < variation.erase:
            height, width = (int(side * rng.uniform(0.15, 0.5)) for side in tensor.shape[1:])
            top, left = int(rng.integers(tensor.shape[1] - height + 1)), int(rng.integers(tensor.shape[2] - width + 1))
            tensor = functional.erase(tensor, top, left, height, width, torch.zeros(3, 1, 1))
        return tensor

    return prepare


def _crop(photo: Image.Image, preprocessing: Preprocessing, smallest: float, rng: np.random.Generator) -> Image.Image:
    """Resize a random crop of the photo to the model's input size, as in Szegedy et al. (2014, arXiv:1409.4842)."""
    area = photo.width * photo.height * rng.uniform(smallest, 1)
    ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
    width = min(photo.width, max(1.0, math.sqrt(area * ratio)))
    height = min(photo.height, max(1.0, math.sqrt(area / ratio)))
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    box = (left, top, left + width, top + height)
    return photo.resize(preprocessing.size[::-1], str_to_pil_interp(preprocessing.interpolation), box, reducing_gap=None)
