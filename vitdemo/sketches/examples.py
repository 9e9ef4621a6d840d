"""The pictures this app ships: `python -m vitdemo.sketches.examples` draws them into assets/examples, always the same.

Five single pictures for the first click, a gallery in folders by class, and three classes that the demo model was not trained on.
"""

from pathlib import Path

from vitdemo.core.config import ASSETS
from vitdemo.sketches.draw import LABELS, UNSEEN, Sketch, sketch, sketches

SINGLES = {"umbrella": 113, "cat": 111, "sailboat": 111, "clock": 113, "butterfly": 113}  # label → seed, picked by eye
GALLERY = 6 * len(LABELS)
UNSEEN_EACH = 12
SEED = 2718281


def write(folder: Path) -> None:
    """Draw all of them into a folder: singles beside each other, gallery/<class>/ and unseen/<class>/."""
    for label, seed in SINGLES.items():
        _save(sketch(label, seed, 448), folder / f"{label}.jpg")
    for index, each in enumerate(sketches(GALLERY, SEED)):
        _save(each, folder / "gallery" / each.label / f"{index:03}.jpg")
    for index, each in enumerate(sketches(UNSEEN_EACH * len(UNSEEN), SEED, UNSEEN)):
        _save(each, folder / "unseen" / each.label / f"{index:03}.jpg")


def _save(drawn: Sketch, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.image.save(path, quality=90)


if __name__ == "__main__":
    write(ASSETS / "examples")
