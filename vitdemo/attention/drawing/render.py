"""A Heat drawn back onto the original photo, at any size, through the inverse of resize and crop.

A pixel takes the colour of the map where its centre lies on the patch grid. Work goes in bands of rows, so that a photo of any size needs
little more memory than itself.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from vitdemo.core.errors import UserError
from vitdemo.core.photos.geometry import Geometry

COLOURS = ("inferno", "viridis", "magma", "cividis")
"""Perceptually uniform: as even to the eye as the numbers are."""
DIFFERENCE = "coolwarm"
"""For maps with a sign; grey is 0 where the span is `even`."""

MOSTLY_UNSEEN = 0.5  # share of the photo below which the crop is worth a sentence
DIMMED = 0.45  # brightness of what lies outside the crop
ORDINARY = 0.95  # share of the patches that `without_peaks` leaves as they are
BAND = 16  # rows: what is worked on stays in the processor's cache
Span = tuple[float, float]


@dataclass(frozen=True)
class OverlayStyle:
    """How a map is drawn.

    Attributes:
        colours: one of COLOURS, or DIFFERENCE.
        opacity: of the map over the photo, 0 … 1.
        smooth: interpolated between the patches' centres; else each patch one colour.
    """

    colours: str = "inferno"
    opacity: float = 0.6
    smooth: bool = True

    def __post_init__(self):
        if self.colours not in (*COLOURS, DIFFERENCE):
            raise UserError(f"There is no colour map “{self.colours}”: choose {', '.join((*COLOURS, DIFFERENCE))}.")
        if not 0 <= self.opacity <= 1:
            raise UserError(f"The opacity must lie between 0 and 1; {self.opacity:g} was asked for.")


@lru_cache
def lookup_table(colours: str) -> np.ndarray:
    """(256, 3) uint8: the colour map, from the lowest value to the highest. The page and the downloads share it."""
    from matplotlib import colormaps

    table = colormaps[colours](np.arange(256), bytes=True)[:, :3].copy()
    table.flags.writeable = False
    return table


def span_of(heats: np.ndarray) -> Span:
    """The lowest and highest value of one map or more: what the ends of the colour map stand for."""
    heats = np.asarray(heats)
    return float(heats.min()), float(heats.max())


def even_span(heats: np.ndarray) -> Span:
    """As far below 0 as above, so that the middle of a DIFFERENCE is no difference."""
    reach = max(map(abs, span_of(heats)))
    return -reach, reach


def without_peaks(heats: np.ndarray) -> np.ndarray:
    """(…, rows, columns): each map cut off at its 95th percentile, so that a few patches as hot as artefacts don't darken all others."""
    heats = np.asarray(heats, np.float32)
    flat = np.sort(heats.reshape(*heats.shape[:-2], -1), -1)
    return np.minimum(heats, flat[..., int(ORDINARY * (flat.shape[-1] - 1)), None, None])


def overlay(
    photo: Image.Image, heat: np.ndarray, geometry: Geometry, look: OverlayStyle | None = None, *, span: Span | None = None
) -> Image.Image:
    """The photo under its map, what the model did not see dimmed, and the crop outlined.

    Args:
        photo: the upright original, or a copy of it at any size: the result has its size.
        heat: (rows, columns), a numpy array or a tensor on the CPU.
        geometry: how the original became the model's input.
        span: the values that the ends of the colour map stand for; the heat's own by default.
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
    seen = pixels[top:bottom, left:right]
    for outside in (pixels[:top], pixels[bottom:], pixels[top:bottom, :left], pixels[top:bottom, right:]):
        for start in range(0, len(outside), BAND):
            outside[start : start + BAND] = (outside[start : start + BAND].astype(np.uint16) * round(256 * DIMMED)) >> 8
    scale = 255 / (high - low) if high > low else 0  # a map of one value is all at the lower end
    across = across @ ((heat.T - low) * scale)  # (w, rows)
    alpha = round(256 * look.opacity)
    colours = lookup_table(look.colours).astype(np.uint16) * alpha + 128  # (256, 3); 128 rounds
    for start in range(0, bottom - top, BAND):
        levels = (down[start : start + BAND] @ across.T).round().clip(0, 255).astype(np.uint8)  # (band, w)
        band = seen[start : start + BAND]
        band[:] = (colours[levels] + band * np.uint16(256 - alpha)) >> 8
    return _outline(Image.fromarray(pixels), geometry)


def sampling(position: np.ndarray, count: int, smooth: bool) -> np.ndarray:
    """(points, count) float32: how much each of `count` patches in a line gives to each point; every row sums to 1.

    Smooth is Keys's cubic convolution (1981), which passes through the patches' own values at their centres; the outermost are repeated.

    Args:
        position: in patches; patch i covers [i, i + 1).
    """
    if not smooth:
        return np.eye(count, dtype=np.float32)[np.floor(position).astype(int).clip(0, count - 1)]
    first = np.floor(position - 0.5).astype(int)
    offset = position - 0.5 - first  # from the centre before the point, 0 … 1
    shares = np.zeros((len(position), count), np.float32)
    for step in (-1, 0, 1, 2):
        away = np.abs(offset - step)
        near, far = (1.5 * away - 2.5) * away**2 + 1, ((-0.5 * away + 2.5) * away - 4) * away + 2
        np.add.at(shares, (np.arange(len(position)), (first + step).clip(0, count - 1)), np.where(away <= 1, near, far))
    return shares


def crop_pixels(geometry: Geometry) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the photo's pixels whose centres lie in the crop."""
    width, height = geometry.photo
    left, top, right, bottom = (max(0, round(edge)) for edge in geometry.box)
    return left, top, min(right, width), min(bottom, height)


def unseen_note(geometry: Geometry) -> str | None:
    """What to say of a photo that lies mostly outside its crop; None for others."""
    if geometry.seen >= MOSTLY_UNSEEN:
        return None
    return f"The model sees {geometry.seen:.0%} of this photo, inside the frame: crop it yourself to choose another part."


def _outline(image: Image.Image, geometry: Geometry) -> Image.Image:
    """A white frame with a dark one inside it, to be seen on any photo; none where nothing is cut off."""
    left, top, right, bottom = crop_pixels(geometry)
    if (left, top, right, bottom) != (0, 0, *image.size):
        line = max(1, round(min(image.size) / 300))
        draw = ImageDraw.Draw(image)
        for inset, colour in ((0, "white"), (line, "black")):
            if right - left > 4 * line and bottom - top > 4 * line:
                draw.rectangle((left + inset, top + inset, right - 1 - inset, bottom - 1 - inset), outline=colour, width=line)
    return image
