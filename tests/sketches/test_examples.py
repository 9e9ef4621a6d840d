"""The pictures that the app ships are what the drawing code draws."""

import numpy as np
from PIL import Image

from vitdemo.core.config import ASSETS
from vitdemo.sketches import examples


def test_the_shipped_pictures_are_drawn_again(tmp_path, subtests):
    examples.write(tmp_path)
    drawn = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.jpg"))
    assert drawn == sorted(path.relative_to(ASSETS / "examples") for path in (ASSETS / "examples").rglob("*.jpg"))
    for name in drawn:
        with subtests.test(picture=str(name)), Image.open(tmp_path / name) as new, Image.open(ASSETS / "examples" / name) as shipped:
            apart = np.abs(np.asarray(new, float) - np.asarray(shipped, float))
            assert apart.mean() < 0.5  # JPEG's own rounding on another processor
            assert apart.max() < 60
