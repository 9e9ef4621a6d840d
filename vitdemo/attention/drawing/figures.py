"""Pictures to download: a map with its colour bar, all layers on one sheet, and an animation through the layers."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from vitdemo.attention.drawing.render import OverlayStyle, Span, lookup_table, overlay, span_of
from vitdemo.core.photos.encode import encode
from vitdemo.core.photos.geometry import Geometry

GAP = 12  # pixels between the parts of a picture
BAR = 20  # pixels, width of the colour bar
TEXT = 14  # pixels, font size of the bar's numbers and of the titles
INK, PAPER = "#1a1a1a", "white"
LARGEST_FRAME = 640  # pixels, longer side of an animation frame
FIRST_LAYER, LAST_LAYER = 500, 1500  # milliseconds that a frame is shown


def with_bar(image: Image.Image, colours: str, span: Span) -> Image.Image:
    """Add a colour bar to the right of the image, labelled with the values at its ends."""
    return _with_bar(image, colours, [number(value) for value in span])


def all_layers(
    photo: Image.Image,
    heats: np.ndarray,
    geometry: Geometry,
    look: OverlayStyle | None = None,
    *,
    title: str = "",
    first_layer: int = 1,
    columns: int = 4,
    side: int = 320,
    span: Span | None = None,
) -> Image.Image:
    """Draw the maps of all layers on one sheet.

    Args:
        photo: the upright original.
        heats: (layers, rows, columns).
        title: a line of text above the maps.
        first_layer: the layer number of the first map.
        columns: maps per row of the sheet.
        side: the longer side of each picture, in pixels.
        span: the values at the ends of the colour map, for all layers; without it each layer has its own span, printed above its map.
    """
    look, heats = look or OverlayStyle(), np.asarray(heats, np.float32)
    pictures = _pictures(photo, heats, geometry, look, side, span)
    width, height = pictures[0].size
    titles = [f"layer {first_layer + index}" for index in range(len(heats))]
    if span is None:
        titles = [f"{text}: {' to '.join(map(number, span_of(heat)))}" for text, heat in zip(titles, heats, strict=True)]
    width = max(width, *(round(_font(TEXT).getlength(text)) for text in titles))
    columns = min(columns, len(pictures))
    rows, line = -(-len(pictures) // columns), TEXT + GAP
    above = line + GAP if title else 0
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + line + GAP) - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (text, picture) in enumerate(zip(titles, pictures, strict=True)):
        left, top = index % columns * (width + GAP), index // columns * (height + line + GAP)
        draw.text((left, top), text, INK, _font(TEXT))
        sheet.paste(picture, (left, top + line))
    barred = _with_bar(sheet, look.colours, [number(value) for value in span] if span else ["lowest", "highest"])
    framed = Image.new("RGB", (barred.width + 2 * GAP, barred.height + above + 2 * GAP), PAPER)
    framed.paste(barred, (GAP, GAP + above))
    ImageDraw.Draw(framed).text((GAP, GAP), title, INK, _font(TEXT + 4))
    return framed


def layer_frames(
    photo: Image.Image,
    heats: np.ndarray,
    geometry: Geometry,
    look: OverlayStyle | None = None,
    *,
    first_layer: int = 1,
    span: Span | None = None,
) -> list[Image.Image]:
    """Draw one picture per layer, with its number and a colour bar. Arguments as `all_layers`."""
    look, heats = look or OverlayStyle(), np.asarray(heats, np.float32)
    frames = []
    for index, picture in enumerate(_pictures(photo, heats, geometry, look, LARGEST_FRAME, span)):
        frame = Image.new("RGB", (picture.width, picture.height + TEXT + GAP), PAPER)
        ImageDraw.Draw(frame).text((0, 0), f"layer {first_layer + index}", INK, _font(TEXT))
        frame.paste(picture, (0, TEXT + GAP))
        frames.append(with_bar(frame, look.colours, span or span_of(heats[index])))
    width = max(frame.width for frame in frames)  # the numbers next to the bar differ in length
    return [ImageOps.pad(frame, (width, frame.height), color=PAPER, centering=(0, 0)) for frame in frames]


def animation(frames: Sequence[Image.Image], kind: Literal["gif", "webp"]) -> bytes:
    """Encode the frames as an endlessly looping GIF or WebP file; the last frame is shown longest."""
    durations = [FIRST_LAYER] * (len(frames) - 1) + [LAST_LAYER]
    return encode(frames[0], kind.upper(), save_all=True, append_images=list(frames[1:]), duration=durations, loop=0)


def number(value: float) -> str:
    """Format a value with three significant digits: 0.0123, −4.56e-05."""
    return f"{value:.3g}".replace("-", "−", 1) if value < 0 else f"{value:.3g}"


def _with_bar(image: Image.Image, colours: str, ends: Sequence[str]) -> Image.Image:
    texts = ends[::-1]
    bar_width = BAR + 2 * GAP + round(max(_font(TEXT).getlength(text) for text in texts)) + GAP
    sheet = Image.new("RGB", (image.width + bar_width, max(image.height, 4 * TEXT)), PAPER)
    sheet.paste(image)
    bar = Image.fromarray(lookup_table(colours)[::-1, None]).resize((BAR, sheet.height), Image.Resampling.NEAREST)
    sheet.paste(bar, (image.width + GAP, 0))
    draw, left = ImageDraw.Draw(sheet), image.width + BAR + 2 * GAP
    for text, y, anchor in zip(texts, (0, sheet.height), ("la", "ld"), strict=True):
        draw.text((left, y), text, INK, _font(TEXT), anchor)
    return sheet


def _pictures(
    photo: Image.Image, heats: np.ndarray, geometry: Geometry, look: OverlayStyle, side: int, span: Span | None
) -> list[Image.Image]:
    scale = min(1, side / max(photo.size))
    small = photo.resize([max(1, round(length * scale)) for length in photo.size], reducing_gap=2)
    return [overlay(small, heat, geometry, look, span=span) for heat in heats]


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which ships with matplotlib and covers most alphabets."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
