"""Draw a Heat onto the original photo, at any size, by inverting resize and crop.

Each pixel takes the map's colour at the point of the patch grid where the pixel's centre lies. The photo is processed in bands of rows, so
that drawing needs little more memory than the photo itself.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.core.photos.geometry import Geometry

if TYPE_CHECKING:
    import torch

COLOURS = ("inferno", "viridis", "magma", "cividis")
"""Perceptually uniform colour maps: equal steps of the values look like equal steps of colour."""
DIFFERENCE = "coolwarm"
"""Diverging colour map for signed maps; grey is 0 if the span comes from `even_span`."""

MOSTLY_UNSEEN = 0.5  # visible share of the photo below which the page shows a note about the crop
LUMA = (77, 150, 29)  # weights of red, green and blue in 256ths, by ITU-R BT.601
LIGHT_EXPONENT = 0.7  # of the normalised value, in the opacity of a map that is painted with light
DIMMED = 0.45  # brightness of the pixels outside the crop, under a flat map
ORDINARY = 0.95  # share of the patches that `without_peaks` leaves unchanged
BAND = 16  # rows per band, few enough to stay in the processor's cache
Span = tuple[float, float]


@dataclass(frozen=True)
class OverlayStyle:
    """How a map is drawn.

    Attributes:
        colours: one of COLOURS, or DIFFERENCE.
        opacity: opacity of the map over the photo where it is highest, 0 … 1.
        smooth: whether colours are interpolated between patch centres; otherwise each patch has one colour.
        flat: whether the whole map has this opacity; otherwise it is painted with light: the opacity follows the value, cold patches stay
            clear, and so does 0 with DIFFERENCE.

    Raises: UserError for an unknown colour map or an opacity out of range.
    """

    colours: str = "inferno"
    opacity: float = 0.85
    smooth: bool = True
    flat: bool = False

    def __post_init__(self):
        if self.colours not in (*COLOURS, DIFFERENCE):
            raise UserError(f"There is no colour map “{self.colours}”: choose {', '.join((*COLOURS, DIFFERENCE))}.")
        if not 0 <= self.opacity <= 1:
            raise UserError(f"The opacity must lie between 0 and 1; {self.opacity:g} was asked for.")

    def alphas(self) -> np.ndarray:
        """The opacity of each of the colour map's 256 levels, in 256ths, (256,) uint16."""
        level = np.arange(256)
        strength = (np.abs(2 * level - 255) - 1) / 254 if self.colours == DIFFERENCE else level / 255  # 0 has two middle levels
        return np.round(256 * self.opacity * (np.ones(256) if self.flat else strength**LIGHT_EXPONENT)).astype(np.uint16)


@lru_cache
def lookup_table(colours: str) -> np.ndarray:
    """The colour map as (256, 3) uint8, from the lowest value to the highest. The page and the downloads share this table."""
    from matplotlib import colormaps

    table = colormaps[colours](np.arange(256), bytes=True)[:, :3].copy()
    table.flags.writeable = False
    return table


def span_of(heats: np.ndarray) -> Span:
    """The lowest and highest value of one or more maps: the values at the two ends of the colour map."""
    heats = np.asarray(heats)
    return float(heats.min()), float(heats.max())


def even_span(heats: np.ndarray) -> Span:
    """The smallest span symmetric around 0 that holds all values, so that the middle colour of DIFFERENCE stands for 0."""
    reach = max(map(abs, span_of(heats)))
    return -reach, reach


def without_peaks(heats: np.ndarray) -> np.ndarray:
    """Clip each map, (…, rows, columns), at its 95th percentile, so that a few artefact patches don't darken all others."""
    heats = np.asarray(heats, np.float32)
    flat = np.sort(heats.reshape(*heats.shape[:-2], -1), -1)
    return np.minimum(heats, flat[..., int(ORDINARY * (flat.shape[-1] - 1)), None, None])


def overlay(
    photo: Image.Image,
    heat: "np.ndarray | torch.Tensor",
    geometry: Geometry,
    look: OverlayStyle | None = None,
    *,
    span: Span | None = None,
) -> Image.Image:
    """Draw the map over the photo, make the part outside the model's crop grey (darker under a flat map), and outline the crop.

    Args:
        photo: the upright original, or a copy of it at any size; the result has the same size.
        heat: (rows, columns), a numpy array or a tensor on the CPU.
        geometry: how the original became the model's input.
        span: the values at the ends of the colour map; by default the heat's lowest and highest value.

    Raises: ValueError where the heat does not fit the geometry's patch grid.
    """
    look, heat = look or OverlayStyle(), np.asarray(heat, np.float32)
    (low, high), geometry = span or span_of(heat), replace(geometry, photo=photo.size)
    if heat.shape != geometry.grid:
        raise ValueError(f"a heat of {heat.shape} on a grid of {geometry.grid}")
    pixels = np.array(photo)  # (height, width, 3) uint8
    left, top, right, bottom = crop_pixels(geometry)
    x, y = (np.arange(left, right) + 0.5), (np.arange(top, bottom) + 0.5)
    across = sampling(geometry.to_crop(x, 0)[0] / geometry.patch[0], heat.shape[1], look.smooth)  # (w, columns)
    down = sampling(geometry.to_crop(0, y)[1] / geometry.patch[1], heat.shape[0], look.smooth)  # (h, rows)
    visible = pixels[top:bottom, left:right]
    for outside in (pixels[:top], pixels[bottom:], pixels[top:bottom, :left], pixels[top:bottom, right:]):
        for start in range(0, len(outside), BAND):
            band = outside[start : start + BAND]
            grey = (band @ np.array(LUMA, np.uint16) >> 8)[..., None]
            band[:] = (band.astype(np.uint16) * round(256 * DIMMED)) >> 8 if look.flat else grey
    scale = 255 / (high - low) if high > low else 0  # a constant map takes the lowest colour everywhere
    across = across @ ((heat.T - low) * scale)  # (w, rows)
    alphas = look.alphas()[:, None]  # (256, 1)
    colours = lookup_table(look.colours).astype(np.uint16) * alphas + 128  # (256, 3); + 128 makes the shift below round to nearest
    for start in range(0, bottom - top, BAND):
        levels = (down[start : start + BAND] @ across.T).round().clip(0, 255).astype(np.uint8)  # (band, w)
        band = visible[start : start + BAND]
        band[:] = (colours[levels] + band * (256 - alphas)[levels]) >> 8
    return _outline(Image.fromarray(pixels), geometry)


def light(heat: "np.ndarray | torch.Tensor", size: tuple[int, int], look: OverlayStyle | None = None) -> Image.Image:
    """A map's colours and opacities alone, as RGBA of this width and height, to lay over the crop."""
    look, heat = look or OverlayStyle(), np.asarray(heat, np.float32)
    (low, high), (rows, columns) = span_of(heat), heat.shape
    across = sampling((np.arange(size[0]) + 0.5) * columns / size[0], columns, look.smooth)  # (w, columns)
    down = sampling((np.arange(size[1]) + 0.5) * rows / size[1], rows, look.smooth)  # (h, rows)
    scale = 255 / (high - low) if high > low else 0
    levels = (down @ ((heat - low) * scale) @ across.T).round().clip(0, 255).astype(np.uint8)  # (h, w)
    alphas = (look.alphas() * 255 / 256).round().astype(np.uint8)
    return Image.fromarray(np.dstack([lookup_table(look.colours)[levels], alphas[levels]]), "RGBA")


def sampling(position: np.ndarray, count: int, smooth: bool) -> np.ndarray:
    """Interpolation weights along one axis, (points, count) float32: the share of each of `count` patches in each point. Rows sum to 1.

    Smooth weights follow Keys's cubic convolution (1981), which keeps the patches' own values at their centres. Edge patches are repeated.

    Args:
        position: each point's position in patches; patch i covers [i, i + 1).
        smooth: cubic weights; otherwise each point takes the patch that it lies in.
    """
    if not smooth:
        return np.eye(count, dtype=np.float32)[np.floor(position).astype(int).clip(0, count - 1)]
    first = np.floor(position - 0.5).astype(int)
    offset = position - 0.5 - first  # distance from the previous patch centre, 0 … 1
    weights = np.zeros((len(position), count), np.float32)
    for step in (-1, 0, 1, 2):
        away = np.abs(offset - step)
        near, far = (1.5 * away - 2.5) * away**2 + 1, ((-0.5 * away + 2.5) * away - 4) * away + 2
        np.add.at(weights, (np.arange(len(position)), (first + step).clip(0, count - 1)), np.where(away <= 1, near, far))
    return weights


def crop_pixels(geometry: Geometry) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the block of photo pixels whose centres lie inside the crop."""
    width, height = geometry.photo
    left, top, right, bottom = (max(0, round(edge)) for edge in geometry.box)
    return left, top, min(right, width), min(bottom, height)


def unseen_note(geometry: Geometry) -> str | None:
    """A note for a photo that lies mostly outside its crop; None for other photos."""
    if geometry.seen >= MOSTLY_UNSEEN:
        return None
    return f"The model sees {percent(geometry.seen, 0)} of this photo, inside the frame: crop it yourself to choose another part."


def _outline(image: Image.Image, geometry: Geometry) -> Image.Image:
    """Draw a white frame with a black one inside it, visible on any photo; draw nothing where the crop is the whole photo."""
    left, top, right, bottom = crop_pixels(geometry)
    if (left, top, right, bottom) != (0, 0, *image.size):
        line = max(1, round(min(image.size) / 300))
        draw = ImageDraw.Draw(image)
        for inset, colour in ((0, "white"), (line, "black")):
            if right - left > 4 * line and bottom - top > 4 * line:
                draw.rectangle((left + inset, top + inset, right - 1 - inset, bottom - 1 - inset), outline=colour, width=line)
    return image
