"""Whether a model knows the app's drawings, so that they suit it better than photographs."""

from functools import lru_cache

from vitdemo.core.models.labels import ClassNames, Label
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.samples import DRAWN_CLASSES


def suit_drawings(vit: Vit) -> bool:
    """Whether a model knows all the drawn things."""
    return _know_drawings(vit.labels)


@lru_cache
def _know_drawings(labels: tuple[Label, ...]) -> bool:
    names = ClassNames(labels)
    return all(names.meant(folder.name) for folder in DRAWN_CLASSES.iterdir() if folder.is_dir())
