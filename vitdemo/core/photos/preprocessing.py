"""Preprocessing: from an upright photo to a model's input tensor.

The parameters are the model's own (timm's `resolve_model_data_config`, or a Hugging Face folder's), never constants here. The numbers are
those of timm's transform to the last bit; with `resize` the crop is transformers'. This module adds the geometry of the transform, resizes
little more than the crop shows, and converts colours to sRGB if that is asked for. A gallery's photos travel to the model as pixels, a
quarter of the size of normalised numbers, and are normalised a batch at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import timm.data
import torch
from PIL import Image
from timm.data.constants import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)
from timm.data.transforms import str_to_pil_interp
from torchvision.transforms import Compose

from vitdemo.core.errors import UserError
from vitdemo.core.photos.decoding import colour
from vitdemo.core.photos.geometry import Geometry, centred

CROP_MODES = ("center", "squash", "border")
ICC = ("ignore", "convert")
INTERPOLATIONS = ("bicubic", "bilinear", "lanczos", "nearest")
STATISTICS = {
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    "inception": (IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD),
    "clip": (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD),
}
LARGEST_RESIZE = 64  # times the crop's area; where the resized photo would be larger, only the part inside the crop is resized


@dataclass(frozen=True)
class Preprocessing:
    """The parameters of a model's preprocessing.

    Attributes:
        size: (height, width) of the model's input, pixels.
        crop_pct: the crop's side as a share of the resized photo's, 0 < crop_pct ≤ 1.
        crop_mode: `center` cuts the sides off, `squash` ignores the proportions, `border` pads.
        interpolation: the resize filter's name.
        mean, std: per channel (R, G, B), on a 0 … 1 scale.
        icc: `ignore` embedded colour profiles, as timm does, or `convert` photos to sRGB by them.
        resize: (height, width) after the resize, in place of `crop_pct`, and the crop starts where transformers' does; both are the
            shortest edge where the crop mode is `center`. None for timm's own rules.
    """

    size: tuple[int, int]
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    icc: str = "ignore"
    resize: tuple[int, int] | None = None

    @classmethod
    def of(cls, model: torch.nn.Module) -> "Preprocessing":
        """Return the preprocessing of the model's own config.

        Raises: UserError where the config's preprocessing does not work.
        """
        config = timm.data.resolve_model_data_config(model)
        own = cls(
            size=tuple(config["input_size"][1:]),
            crop_pct=config["crop_pct"],
            crop_mode=config["crop_mode"],
            interpolation=config["interpolation"],
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
        )
        try:
            return own.checked()
        except Exception as error:  # a bundle's config may hold anything
            raise UserError(f"The model's config asks for preprocessing that can't be done ({error}): export the model again.") from None

    def checked(self) -> "Preprocessing":
        """Return these parameters after a trial.

        Raises: whatever Pillow, torchvision and timm raise where they do not work; ValueError where they make no numbers.
        """
        if not bool(self(Image.new("RGB", self.size)).isfinite().all()):
            raise ValueError("no numbers")
        return self

    def __call__(self, photo: Image.Image) -> torch.Tensor:
        """Return an upright RGB photo as (3, height, width) float32, equal to the output of timm's evaluation transform."""
        return self.normalised(self.crop(photo))

    def normalised(self, crop: Image.Image) -> torch.Tensor:
        """Return a crop made by `crop` as normalised numbers, (3, height, width) float32: the second half of preprocessing."""
        return _timm_steps(self)[1](crop)

    def batch(self, pixels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return crops of photos as a model's input: each as `normalised` would make it, at a third of its cost.

        Args:
            pixels: (height, width, 3) uint8 each, as `pixels_of` returns them.

        Returns: (photos, 3, height, width) float32.
        """
        images = torch.stack([*pixels]).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (self.mean, self.std))
        return images.div_(255).sub_(mean).div_(std)

    def crop(self, photo: Image.Image) -> Image.Image:
        """Return what the model sees of the photo, before normalisation: an RGB image of the input size."""
        photo = self.coloured(photo)
        resized, geometry = self._resized(photo.size), self.geometry(photo.size, patch=(1, 1))
        if 0 in resized or math.prod(resized) > LARGEST_RESIZE * math.prod(
            self.size
        ):  # timm fails on an empty resized photo, and fills the memory with a huge one
            return _resize_inside_crop(photo, geometry, self)
        if self.resize or self.crop_mode != "border":
            return _resize_and_crop(photo, geometry, self)
        return _timm_steps(self)[0](photo)

    def coloured(self, photo: Image.Image) -> Image.Image:
        """Return the photo in the colours that the model sees: converted to sRGB where `icc` asks for it."""
        return colour.to_srgb(photo) if self.icc == "convert" else photo

    def geometry(self, photo: tuple[int, int], patch: tuple[int, int]) -> Geometry:
        """Return the geometry of a photo of this (width, height), with the rounding of timm's transform, or transformers'."""
        width, height = self._resized(photo)
        return centred(photo, (max(1, width), max(1, height)), self.size[::-1], patch, floor=self.resize is not None)

    def _resized(self, photo: tuple[int, int]) -> tuple[int, int]:
        """Return width and height after timm's resize; 0 where its border mode rounds the short side of a long photo down to 0."""
        height, width = self.size
        scale_height, scale_width = self.resize or (math.floor(height / self.crop_pct), math.floor(width / self.crop_pct))
        if self.crop_mode == "squash":
            return scale_width, scale_height
        if self.crop_mode == "center" and scale_width == scale_height:
            short, long = sorted(photo)
            resized_long = int(scale_width * long / short)
            return (scale_width, resized_long) if photo[0] <= photo[1] else (resized_long, scale_width)
        pick = max if self.crop_mode == "border" else min
        ratio = pick(photo[0] / scale_width, photo[1] / scale_height)
        return round(photo[0] / ratio), round(photo[1] / ratio)

    @property
    def draft_side(self) -> int:
        """Pixels a side that a photo keeps where it is decoded at a fraction of its size: twice as many as are needed."""
        return 2 * max(self.resize or (math.floor(side / self.crop_pct) for side in self.size))

    @property
    def own_words(self) -> dict[str, Any]:
        """What timm has no words for, as entries of a config.json in timm's layout, which timm passes over."""
        words = {"icc": self.icc, "resize": self.resize}
        return {name: value for name, value in words.items() if value not in ("ignore", None)}

    def differences(self, own: "Preprocessing") -> list[str]:
        """Return the names of the fields that differ from the model's own preprocessing."""
        return [field.name for field in fields(self) if getattr(self, field.name) != getattr(own, field.name)]


def pixels_of(crop: Image.Image) -> torch.Tensor:
    """Return an RGB image as (height, width, 3) uint8."""
    return torch.from_numpy(np.array(crop))


def check_size(size: int, patch: int, largest: int) -> tuple[int, int]:
    """Check a square input size: it must lie within the limits, and the model's patches must divide it. Returns (height, width).

    Raises: UserError naming the limits or the nearest sizes that are possible.
    """
    if not patch * 2 <= size <= largest:
        raise UserError(f"The image size must lie between {patch * 2} and {largest} pixels; {size} was asked for.")
    if size % patch:
        nearest = [multiple for multiple in (size // patch * patch, (size // patch + 1) * patch) if multiple <= largest]
        raise UserError(
            f"This model cuts its input into {patch}-pixel patches, so {size} won't do: choose {' or '.join(map(str, nearest))}."
        )
    return size, size


@lru_cache(maxsize=64)
def _timm_steps(preprocessing: Preprocessing) -> tuple[Compose, Compose]:
    """Return timm's evaluation transform in two halves: resize and crop, then the conversion to normalised numbers."""
    parameters = asdict(preprocessing)
    del parameters["icc"], parameters["resize"]  # timm has no such steps
    steps = timm.data.create_transform(input_size=(3, *parameters.pop("size")), is_training=False, **parameters).transforms
    return Compose(steps[:-2]), Compose(steps[-2:])


def _resize_and_crop(photo: Image.Image, geometry: Geometry, preprocessing: Preprocessing) -> Image.Image:
    """Return the resized photo's crop. Pillow resizes rows, then columns: a wide photo is cropped in between, to the same pixels."""
    (left, top), (width, height), resized = geometry.offset, geometry.crop, geometry.resized
    resample = str_to_pil_interp(preprocessing.interpolation)
    if resized[0] > resized[1]:
        photo = photo.resize((resized[0], photo.height), resample).crop((left, 0, left + width, photo.height))
        resized, left = (width, resized[1]), 0
    return photo.resize(resized, resample).crop((left, top, left + width, top + height))


def _resize_inside_crop(photo: Image.Image, geometry: Geometry, preprocessing: Preprocessing) -> Image.Image:
    """Return the same crop, but resize only the part of the photo inside it, so that a 1×5000 photo needs no 300-megapixel copy."""
    (left, top), (crop_width, crop_height) = geometry.offset, geometry.crop
    width, height = geometry.resized
    inside = (max(left, 0), max(top, 0), min(left + crop_width, width), min(top + crop_height, height))
    scale = (photo.width / width, photo.height / height)
    box = [inside[0] * scale[0], inside[1] * scale[1], inside[2] * scale[0], inside[3] * scale[1]]
    # Pillow stores the box in single precision, so the pixels that the filter reaches are cut out first: the box's numbers are then small
    reach = [math.ceil(3 * max(factor, 1)) + 1 for factor in scale]
    cut = (
        max(0, math.floor(box[0]) - reach[0]),
        max(0, math.floor(box[1]) - reach[1]),
        min(photo.width, math.ceil(box[2]) + reach[0]),
        min(photo.height, math.ceil(box[3]) + reach[1]),
    )
    near = photo.crop(cut)
    piece = near.resize(
        (inside[2] - inside[0], inside[3] - inside[1]),
        str_to_pil_interp(preprocessing.interpolation),
        box=(box[0] - cut[0], box[1] - cut[1], min(box[2] - cut[0], near.width), min(box[3] - cut[1], near.height)),
    )
    fill = tuple(round(255 * value) for value in preprocessing.mean) if preprocessing.crop_mode == "border" else 0
    canvas = Image.new("RGB", (crop_width, crop_height), fill)
    canvas.paste(piece, (inside[0] - left, inside[1] - top))
    return canvas
