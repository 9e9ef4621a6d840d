"""The sample pictures: photographs that come with packages which are installed anyway, and the app's own drawings.

No photograph is shipped with the app: each is read from where its package has it, and left out where a release lacks it. The packages are
found without an import, which takes a second for some.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from vitdemo.core.config import ASSETS
from vitdemo.core.photos.gallery import Gallery, Item
from vitdemo.core.photos.search import find_items

DRAWINGS = ASSETS / "examples"
DRAWN_CLASSES = DRAWINGS / "gallery"  # a folder for each thing that a model of drawings knows
DRAWN = "drawn for this app"
SKLEARN_CREDIT = "photo by {} on Flickr, CC BY 2.0, with scikit-learn"
PHOTOGRAPHS = (  # name, package, file in the package, credit
    ("cheetah", "gradio", "media_assets/images/cheetah.jpg", "with Gradio, Apache 2.0"),
    ("lion", "gradio", "media_assets/images/lion.jpg", "with Gradio, Apache 2.0"),
    ("tower", "gradio", "media_assets/images/tower.jpg", "with Gradio, Apache 2.0"),
    ("temple", "sklearn", "datasets/images/china.jpg", SKLEARN_CREDIT.format("danielbuechele")),
    ("flower", "sklearn", "datasets/images/flower.jpg", SKLEARN_CREDIT.format("vultilion")),
    ("officer", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "Grace Hopper, US Navy, public domain, with Matplotlib"),
)


@dataclass(frozen=True)
class Sample:
    """A picture to try.

    Attributes:
        name: what is on it.
        path: the file, where its package has it.
        credit: where it comes from, and its licence.
        drawn: whether it is a drawing.
    """

    name: str
    path: Path
    credit: str
    drawn: bool = False

    @property
    def id(self) -> str:
        """The sha256 of the file, as of a decoded photo."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@cache
def samples() -> tuple[Sample, ...]:
    """The photographs that are there, then the drawings."""
    found = []
    for name, package, file, credit in PHOTOGRAPHS:
        spec = find_spec(package)
        if spec and spec.origin and (path := Path(spec.origin).parent / file).is_file():
            found.append(Sample(name, path, credit))
    return (*found, *(Sample(path.stem, path, DRAWN, drawn=True) for path in sorted(DRAWINGS.glob("*.jpg"))))


def photographs() -> Gallery:
    """The photographs as a gallery, by their own names."""
    return Gallery(Item(sample.path, f"{sample.name}{sample.path.suffix}") for sample in samples() if not sample.drawn)


def drawings() -> Gallery:
    """The drawings as a gallery, in the folders of their classes."""
    return Gallery(Item(item.path, item.path.relative_to(DRAWN_CLASSES).as_posix(), item.folder) for item in find_items([DRAWN_CLASSES]))
