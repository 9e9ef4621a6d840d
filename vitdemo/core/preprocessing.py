"""From an upright photo to the numbers a model was trained to read.

The recipe is the model's own (timm's `resolve_model_data_config`), never a constant here. timm's transform does the work; this page adds
the geometry it implies, and a way through for photos so long that their resized copy would not fit in memory.
"""

import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache

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
from vitdemo.core.geometry import Geometry, centred

CROP_MODES = ("center", "squash", "border")
INTERPOLATIONS = ("bicubic", "bilinear", "lanczos", "nearest")
STATISTICS = {
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    "inception": (IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD),
    "clip": (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD),
}
LARGEST_RESIZE = 64  # times the crop's area; a longer photo is resized only where the crop lies


@dataclass(frozen=True)
class Preprocessing:
    """A model's way from photo to tensor.

    Attributes:
        size: (height, width) of the model's input, pixels.
        crop_pct: the crop's side as a share of the resized photo's, 0 < crop_pct ≤ 1.
        crop_mode: `center` cuts the sides off, `squash` ignores the proportions, `border` pads.
        interpolation: the resize filter's name.
        mean, std: per channel (R, G, B), on a 0 … 1 scale.
    """

    size: tuple[int, int]
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, model: torch.nn.Module) -> "Preprocessing":
        """What the model's own config asks for."""
        config = timm.data.resolve_model_data_config(model)
        return cls(
            size=tuple(config["input_size"][1:]),
            crop_pct=config["crop_pct"],
            crop_mode=config["crop_mode"],
            interpolation=config["interpolation"],
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
        )

    def __call__(self, photo: Image.Image) -> torch.Tensor:
        """An upright RGB photo as (3, height, width) float32, exactly as timm's evaluation transform gives it."""
        return _timm_steps(self)[1](self.crop(photo))

    def crop(self, photo: Image.Image) -> Image.Image:
        """What the model sees of the photo before the numbers are normalised: an RGB image of the input size."""
        geometry = self.geometry(photo.size, patch=(1, 1))
        if math.prod(geometry.resized) > LARGEST_RESIZE * math.prod(self.size) or _rounds_to_nothing(geometry):
            return _resize_inside_crop(photo, geometry, self)
        return _timm_steps(self)[0](photo)

    def geometry(self, photo: tuple[int, int], patch: tuple[int, int]) -> Geometry:
        """Where a photo of this (width, height) ends up, with the rounding of timm's transform."""
        height, width = self.size
        scale_height, scale_width = math.floor(height / self.crop_pct), math.floor(width / self.crop_pct)
        if self.crop_mode == "squash":
            resized = (scale_width, scale_height)
        elif self.crop_mode == "center" and scale_width == scale_height:
            short, long = sorted(photo)
            resized_long = int(scale_width * long / short)
            resized = (scale_width, resized_long) if photo[0] <= photo[1] else (resized_long, scale_width)
        else:
            pick = max if self.crop_mode == "border" else min
            ratio = pick(photo[0] / scale_width, photo[1] / scale_height)
            resized = (max(1, round(photo[0] / ratio)), max(1, round(photo[1] / ratio)))
        return centred(photo, resized, (width, height), patch)

    def differences(self, own: "Preprocessing") -> list[str]:
        """The names of the fields in which this is not the model's own."""
        return [each.name for each in fields(self) if getattr(self, each.name) != getattr(own, each.name)]


def check_size(size: int, patch: int, largest: int) -> tuple[int, int]:
    """A square input size that the model's patches divide.

    Raises: UserError naming the nearest sizes that would do.
    """
    if not patch * 2 <= size <= largest:
        raise UserError(f"The image size must lie between {patch * 2} and {largest} pixels; {size} was asked for.")
    if size % patch:
        below = size // patch * patch
        raise UserError(f"This model cuts its input into {patch}-pixel patches, so {size} won't do: choose {below} or {below + patch}.")
    return size, size


@lru_cache(maxsize=64)
def _timm_steps(preprocessing: Preprocessing) -> tuple[Compose, Compose]:
    """timm's evaluation transform in two halves: resize and crop, then the conversion to normalised numbers."""
    recipe = asdict(preprocessing)
    steps = timm.data.create_transform(input_size=(3, *recipe.pop("size")), is_training=False, **recipe).transforms
    return Compose(steps[:-2]), Compose(steps[-2:])


def _rounds_to_nothing(geometry: Geometry) -> bool:
    """timm's border mode fails on a photo whose short side comes out below half a pixel."""
    scale = max(geometry.resized) / max(geometry.photo)
    return min(geometry.resized) == 1 and min(geometry.photo) * scale < 1


def _resize_inside_crop(photo: Image.Image, geometry: Geometry, preprocessing: Preprocessing) -> Image.Image:
    """The same resize, of just the part that the crop keeps, so that a 1×5000 photo needs no 300-megapixel copy."""
    (left, top), (crop_width, crop_height) = geometry.offset, geometry.crop
    width, height = geometry.resized
    inside = (max(left, 0), max(top, 0), min(left + crop_width, width), min(top + crop_height, height))
    scale_x, scale_y = photo.width / width, photo.height / height
    piece = photo.resize(
        (inside[2] - inside[0], inside[3] - inside[1]),
        str_to_pil_interp(preprocessing.interpolation),
        box=(inside[0] * scale_x, inside[1] * scale_y, min(inside[2] * scale_x, photo.width), min(inside[3] * scale_y, photo.height)),
    )
    fill = tuple(round(255 * value) for value in preprocessing.mean) if preprocessing.crop_mode == "border" else 0
    canvas = Image.new("RGB", (crop_width, crop_height), fill)
    canvas.paste(piece, (inside[0] - left, inside[1] - top))
    return canvas
