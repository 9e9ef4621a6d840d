"""Two small HEIC photos. What the app installs only decodes HEIC, so the files lie beside this one.

`python -m tests.support.heic` made them, once, with pillow-heif 1.8.1, which is no requirement of this project.
"""

from pathlib import Path

import numpy as np
from PIL import Image

DRAWN = Path(__file__).with_name("drawn.heic")
TURNED = Path(__file__).with_name("turned.heic")  # stored on its side; both the container and the EXIF data say so


def drawn() -> Image.Image:
    """The picture in both: four patches of colour, 96×64."""
    pixels = np.empty((64, 96, 3), np.uint8)
    pixels[:32, :48], pixels[:32, 48:], pixels[32:, :48], pixels[32:, 48:] = (200, 40, 30), (40, 160, 60), (30, 60, 190), (230, 220, 200)
    return Image.fromarray(pixels)


def write() -> None:
    """Write both files."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    drawn().save(DRAWN, quality=90, chroma=444)
    exif = Image.Exif()
    exif[0x0112] = 6
    drawn().transpose(Image.Transpose.ROTATE_90).save(TURNED, quality=90, chroma=444, exif=exif.tobytes())


if __name__ == "__main__":
    write()
