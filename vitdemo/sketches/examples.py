"""The pictures that this app ships: `python -m vitdemo.sketches.examples` draws them into assets/examples, always the same.

They are five single pictures for the first click, a gallery in folders by class, and three classes that the demo model was not trained on.
"""

from pathlib import Path

from vitdemo.core.config import ASSETS
from vitdemo.sketches.draw import LABELS, UNSEEN, Sketch, sketch, sketches

SINGLES = {"umbrella": 113, "cat": 111, "sailboat": 111, "clock": 113, "butterfly": 113}  # label → seed, picked by eye
GALLERY = 6 * len(LABELS)  # pictures
UNSEEN_EACH = 12  # pictures per unseen class
SEED = 2718281


def write(folder: Path) -> None:
    """Draw all pictures into a folder: the single pictures directly, the others in gallery/<class>/ and unseen/<class>/."""
    for label, seed in SINGLES.items():
        _save(sketch(label, seed, 448), folder / f"{label}.jpg")
    for index, drawn in enumerate(sketches(GALLERY, SEED)):
        _save(drawn, folder / "gallery" / drawn.label / f"{index:03}.jpg")
    for index, drawn in enumerate(sketches(UNSEEN_EACH * len(UNSEEN), SEED, UNSEEN)):
        _save(drawn, folder / "unseen" / drawn.label / f"{index:03}.jpg")


def _save(drawn: Sketch, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.image.save(path, quality=90)


if __name__ == "__main__":
    write(ASSETS / "examples")
