"""What the model sees of a photo, drawn: the photo with its crop and patch grid, and the input as it arrives."""

from dataclasses import dataclass

import torch
from PIL import Image

from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.geometry import Geometry
from vitdemo.core.photos.preprocessing import Preprocessing
from vitdemo.ui.templating import data_uri

MAX_PIXELS = 1000  # pixels of the preview's longer side
MAX_ASPECT = 5  # a photo this many times longer than wide is shown around its crop only


@dataclass(frozen=True)
class Picture:
    """An image with the place it takes on the photo, in pixels of the photo."""

    uri: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class View:
    """What the template needs. `window` is the part of the photo's plane that is shown: left, top, width, height in pixels of the photo."""

    preview: Picture
    window: tuple[float, float, float, float]
    geometry: Geometry
    arrived: str
    part: bool

    @property
    def outline(self) -> str:
        left, top, right, bottom = self.geometry.box
        return f"M{left:.4f} {top:.4f}H{right:.4f}V{bottom:.4f}H{left:.4f}Z"

    @property
    def outside(self) -> str:
        left, top, width, height = self.window
        return f"M{left:.4f} {top:.4f}h{width:.4f}v{height:.4f}h{-width:.4f}Z{self.outline}"

    @property
    def lines(self) -> str:
        """The inner lines of the patch grid."""
        rows, columns = self.geometry.grid
        left, top, right, bottom = self.geometry.box
        across = "".join(f"M{left:.4f} {top + (bottom - top) * row / rows:.4f}H{right:.4f}" for row in range(1, rows))
        down = "".join(f"M{left + (right - left) * column / columns:.4f} {top:.4f}V{bottom:.4f}" for column in range(1, columns))
        return across + down


def view_of(photo: Image.Image, tensor: torch.Tensor, preprocessing: Preprocessing, vit: Vit) -> View:
    """Everything the page shows of one photo and its model input.

    Args:
        tensor: what the model received, (3, height, width). It is drawn with the model's own statistics, so that numbers made with other
            ones look as wrong as they are.
    """
    geometry = preprocessing.geometry(photo.size, vit.patch)
    left, top, right, bottom = geometry.box
    part = max(photo.size) > MAX_ASPECT * min(photo.size)
    reach = max(right - left, bottom - top) / 2 if part else max(photo.size)
    seen = (  # the photo's pixels that are shown
        max(0, int(left - reach)) if part else 0,
        max(0, int(top - reach)) if part else 0,
        min(photo.width, int(right + reach) + 1) if part else photo.width,
        min(photo.height, int(bottom + reach) + 1) if part else photo.height,
    )
    window = (min(left, seen[0]), min(top, seen[1]), max(right, seen[2]), max(bottom, seen[3]))
    width, height = seen[2] - seen[0], seen[3] - seen[1]
    shrink = min(1, MAX_PIXELS / max(width, height))
    preview = photo.resize((max(1, round(width * shrink)), max(1, round(height * shrink))), box=seen, reducing_gap=2)
    own = vit.preprocessing
    mean, std = torch.tensor(own.mean).view(3, 1, 1), torch.tensor(own.std).view(3, 1, 1)
    arrived = ((tensor * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()  # (height, width, 3)
    return View(
        preview=Picture(data_uri(preview, "JPEG"), seen[0], seen[1], width, height),
        window=(window[0], window[1], window[2] - window[0], window[3] - window[1]),
        geometry=geometry,
        arrived=data_uri(Image.fromarray(arrived), "PNG"),
        part=part,
    )
