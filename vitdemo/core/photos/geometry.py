"""The mapping between a photo and the model's input: resize and crop as one transform, with its exact inverse.

Coordinates are continuous, x to the right and y down, in pixels: pixel i covers [i, i + 1). There are three frames: the upright photo, the
resized photo, and the crop that the model receives, which is cut into square patches.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

X = TypeVar("X", float, "np.ndarray")
Y = TypeVar("Y", float, "np.ndarray")
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Geometry:
    """How one photo became one model input.

    Attributes:
        photo: width and height of the upright photo.
        resized: width and height after the resize.
        offset: left and top corner of the crop on the resized photo; negative where the crop is padded.
        crop: width and height of the crop, which is the model's input.
        patch: width and height of a patch, in pixels of the crop.
    """

    photo: tuple[int, int]
    resized: tuple[int, int]
    offset: tuple[int, int]
    crop: tuple[int, int]
    patch: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.crop[1] // self.patch[1], self.crop[0] // self.patch[0]

    def to_photo(self, x: float, y: float) -> tuple[float, float]:
        """Map a point of the crop to the photo. Points in the padding lie outside the photo."""
        return (
            (x + self.offset[0]) * self.photo[0] / self.resized[0],
            (y + self.offset[1]) * self.photo[1] / self.resized[1],
        )

    def to_crop(self, x: X, y: Y) -> tuple[X, Y]:
        """Map a point of the photo, or arrays of coordinates, to the crop: the inverse of `to_photo`."""
        return (
            x * self.resized[0] / self.photo[0] - self.offset[0],
            y * self.resized[1] / self.photo[1] - self.offset[1],
        )

    @property
    def box(self) -> Box:
        """The crop's box on the photo; it extends beyond the photo where the crop is padded."""
        return (*self.to_photo(0, 0), *self.to_photo(*self.crop))

    def patch_box(self, row: int, column: int) -> Box:
        """Return the box of one patch on the photo."""
        left, top = column * self.patch[0], row * self.patch[1]
        return (*self.to_photo(left, top), *self.to_photo(left + self.patch[0], top + self.patch[1]))

    @property
    def seen(self) -> float:
        """The share of the photo's area that lies inside the crop, 0 … 1."""
        left, top, right, bottom = self.box
        width = min(right, self.photo[0]) - max(left, 0)
        height = min(bottom, self.photo[1]) - max(top, 0)
        return width * height / (self.photo[0] * self.photo[1])


def centred(
    photo: tuple[int, int], resized: tuple[int, int], crop: tuple[int, int], patch: tuple[int, int], *, floor: bool = False
) -> Geometry:
    """Return the geometry of a centre crop, with the rounding of torchvision and timm; with `floor`, that of transformers."""
    start = _floor_start if floor else _start
    return Geometry(photo, resized, (start(resized[0], crop[0]), start(resized[1], crop[1])), crop, patch)


def _start(length: int, crop: int) -> int:
    return round((length - crop) / 2) if crop <= length else -((crop - length) // 2)


def _floor_start(length: int, crop: int) -> int:
    return (length - crop) // 2
