"""Draw any number of pictures of everyday things, each with its label and exact mask. A seed gives the same pictures everywhere."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops

from vitdemo.sketches.backgrounds import background
from vitdemo.sketches.canvas import Canvas
from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.finish import finish, shadow
from vitdemo.sketches.look import pick_look
from vitdemo.sketches.palette import pick_palette
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.things import THINGS

LABELS = (
    "house", "tree", "sailboat", "car", "aeroplane", "fish",
    "cat", "flower", "mushroom", "cup", "umbrella", "key",
    "clock", "star", "moon", "sun", "heart", "bicycle",
    "lamp", "chair", "butterfly",
)  # fmt: skip
"""The classes that the demo model is trained on, in the order of its outputs."""

UNSEEN = ("anchor", "snowman", "guitar")
"""Classes that the demo model is never trained on, for fine-tuning."""


@dataclass(frozen=True)
class Sketch:
    """A picture with its label and exact mask."""

    label: str
    image: Image.Image  # RGB
    mask: Image.Image  # L: 255 on the thing and its outline, 0 elsewhere; shadow and clutter count as elsewhere


def sketch(label: str, seed: int, size: int = 224) -> Sketch:
    """Draw a picture of one thing, size × size pixels. The same seed gives the same picture in any size.

    Raises: KeyError for a label that is neither in LABELS nor in UNSEEN, ValueError for a seed below 0.
    """
    dice = StableRng(seed, label)
    palette, look = pick_palette(dice), pick_look(dice)
    if look.fill == "paper":
        palette = palette.uncoloured()
    pen = Pen(palette)
    THINGS[label](pen, dice)
    painting = Canvas(size, look).paint(pen, dice)
    picture = background(size, palette, dice)
    if look.border or dice.chance(0.25):
        picture = shadow(picture, painting.cover, dice)
    clear = ImageChops.invert(painting.cover)
    picture = ImageChops.add(ImageChops.multiply(picture, Image.merge("RGB", [clear] * 3)), painting.image)
    return Sketch(label, finish(picture, dice), painting.cover.point([255 * (level >= 128) for level in range(256)]))


def sketches(count: int, seed: int, labels: Sequence[str] = LABELS, size: int = 224) -> Iterator[Sketch]:
    """Draw `count` pictures, equally many of each label (±1), in an order that the seed shuffles."""
    dice = StableRng(seed, "order")
    rounds = [dice.shuffled(labels) for _ in range(-(-count // len(labels)))]
    for index, label in enumerate([label for order in rounds for label in order][:count]):
        yield sketch(label, seed * 1_000_003 + index, size)


def write(count: int, seed: int, folder: Path, size: int = 224, suffix: str = "png") -> Iterator[int]:
    """Write images/<class>/NNNNN.<suffix>, masks/<class>/NNNNN.png and labels.csv (image, mask, label).

    Args:
        size: pixels a side.
        suffix: of the images, `png` or `jpg`.

    Yields: the number done after each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["image", "mask", "label"])
        for index, drawn in enumerate(sketches(count, seed, size=size)):
            paths = [f"images/{drawn.label}/{index:05}.{suffix}", f"masks/{drawn.label}/{index:05}.png"]
            for path, picture in zip(paths, (drawn.image, drawn.mask), strict=True):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                picture.save(folder / path, quality=90)  # of a JPEG; a PNG has none
            rows.writerow([*paths, drawn.label])
            yield index + 1
