"""Draw what the model sees of a photo: the photo with its crop, patch grid and maps, and the model input as an image."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from PIL import Image

from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.geometry import Geometry
from vitdemo.core.photos.preprocessing import Preprocessing
from vitdemo.ui.templating import data_uri

MAX_PIXELS = 1000  # of the preview's longer side
MAP_PIXELS = 320  # of a map's longer side
MAX_ASPECT = 5  # longer side ÷ shorter side; a photo above this is shown around its crop only


@dataclass(frozen=True)
class Picture:
    """An image and its position on the photo.

    Attributes:
        uri: the image as a data: URI.
        left, top, width, height: in pixels of the photo.
    """

    uri: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class View:
    """What the template needs.

    Attributes:
        preview: the photo, or the part of it that is shown.
        window: the shown part of the photo's plane: left, top, width, height in pixels of the photo.
        geometry: the resize and crop.
        arrived: the model input as a data: URI.
        part: whether only a part of the photo is shown.
        maps: a map for each layer, to lay over the crop, as data: URIs.
    """

    preview: Picture
    window: tuple[float, float, float, float]
    geometry: Geometry
    arrived: str
    part: bool
    maps: tuple[str, ...] = ()

    @property
    def outline(self) -> str:
        """The crop's outline as an SVG path."""
        left, top, right, bottom = self.geometry.box
        return f"M{left:.4f} {top:.4f}H{right:.4f}V{bottom:.4f}H{left:.4f}Z"

    @property
    def lines(self) -> str:
        """The inner lines of the patch grid as an SVG path."""
        rows, columns = self.geometry.grid
        left, top, right, bottom = self.geometry.box
        across = "".join(f"M{left:.4f} {top + (bottom - top) * row / rows:.4f}H{right:.4f}" for row in range(1, rows))
        down = "".join(f"M{left + (right - left) * column / columns:.4f} {top:.4f}V{bottom:.4f}" for column in range(1, columns))
        return across + down


def view_of(photo: Image.Image, tensor: torch.Tensor, preprocessing: Preprocessing, vit: Vit, heats: Iterable[torch.Tensor] = ()) -> View:
    """Everything the page shows of one photo and its model input.

    Args:
        tensor: the model input, (3, height, width). It is drawn with the model's own mean and std, so that an input made with other
            statistics looks as wrong as it is.
        heats: a map for each layer, (rows, columns), if there are any.
    """
    from vitdemo.attention.drawing.render import light

    geometry = preprocessing.geometry(photo.size, vit.patch)
    left, top, right, bottom = geometry.box
    part = max(photo.size) > MAX_ASPECT * min(photo.size)
    reach = max(right - left, bottom - top) / 2 if part else max(photo.size)
    shown = (  # the shown part of the photo: left, top, right, bottom
        max(0, int(left - reach)) if part else 0,
        max(0, int(top - reach)) if part else 0,
        min(photo.width, int(right + reach) + 1) if part else photo.width,
        min(photo.height, int(bottom + reach) + 1) if part else photo.height,
    )
    window = (min(left, shown[0]), min(top, shown[1]), max(right, shown[2]), max(bottom, shown[3]))
    width, height = shown[2] - shown[0], shown[3] - shown[1]
    shrink = min(1, MAX_PIXELS / max(width, height))
    preview = photo.resize((max(1, round(width * shrink)), max(1, round(height * shrink))), box=shown, reducing_gap=2)
    longest = max(geometry.crop)
    map_size = (max(1, round(geometry.crop[0] * MAP_PIXELS / longest)), max(1, round(geometry.crop[1] * MAP_PIXELS / longest)))
    own = vit.preprocessing
    mean, std = torch.tensor(own.mean).view(3, 1, 1), torch.tensor(own.std).view(3, 1, 1)
    arrived = ((tensor * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()  # (height, width, 3)
    return View(
        preview=Picture(data_uri(preview, "JPEG"), shown[0], shown[1], width, height),
        window=(window[0], window[1], window[2] - window[0], window[3] - window[1]),
        geometry=geometry,
        arrived=data_uri(Image.fromarray(arrived), "PNG"),
        part=part,
        maps=tuple(data_uri(light(heat, map_size), "WEBP") for heat in heats),
    )
