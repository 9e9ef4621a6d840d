"""The sample pictures for one photo: photographs that come with packages which are installed anyway, and the app's own drawings.

No photograph is shipped with the app: each is shown from where its package has it, and left out where a release lacks it.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from gradio import media

from vitdemo.core.config import ASSETS
from vitdemo.ui.server.gradio_internals import get_upload_folder

if TYPE_CHECKING:
    from vitdemo.core.models.labels import Label
    from vitdemo.core.models.vit import Vit

DRAWINGS = ASSETS / "examples"
DRAWN_CLASSES = DRAWINGS / "gallery"  # a folder for each thing that a model of drawings knows
SKLEARN_CREDIT = "photo by {} on Flickr, CC BY 2.0, with scikit-learn"


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

    def served(self) -> str:
        """The path of a copy that may be served: a package's folder is nobody's business."""
        copy = Path(get_upload_folder(), f"sample-{self.id[:32]}", self.path.name)
        if not copy.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path, copy)
        return str(copy)


@cache
def samples() -> tuple[Sample, ...]:
    """The photographs that are there, then the drawings."""
    found = []
    for name, locate, credit in _PHOTOGRAPHS:
        with contextlib.suppress(Exception):  # each package has its own error for a file that it lacks
            if (path := Path(locate())).is_file():
                found.append(Sample(name, path, credit))
    return (*found, *(Sample(path.stem, path, "drawn for this app", True) for path in sorted(DRAWINGS.glob("*.jpg"))))


def suit_drawings(vit: "Vit") -> bool:
    """Whether a model knows the drawn things, so that drawings suit it better than photographs."""
    return _know_drawings(vit.labels)


def first_sample(vit: "Vit") -> Sample:
    """The first sample that suits a model."""
    drawn = suit_drawings(vit)
    return next(sample for sample in samples() if sample.drawn == drawn)


def is_sample(photo_id: str) -> bool:
    """Whether a photo is one of the samples, by the sha256 of its file."""
    return photo_id in _drawn_by_id()


def note_on(photo_id: str, vit: "Vit") -> list[str]:
    """A sentence where a sample is no picture of the kind that the model knows."""
    drawn = _drawn_by_id().get(photo_id)
    if drawn is None or not vit.labels or drawn == suit_drawings(vit):
        return []
    if drawn:
        return ["This is a drawing, and the model learned from photographs: its answer says little. Try one of the photographs."]
    return ["This is a photograph, and the model knows drawn things alone: its answer says little. Try one of the drawings."]


@lru_cache
def _know_drawings(labels: "tuple[Label, ...]") -> bool:
    from vitdemo.core.models.labels import ClassNames

    names = ClassNames(labels)
    return all(names.meant(folder.name) for folder in DRAWN_CLASSES.iterdir() if folder.is_dir())


@cache
def _drawn_by_id() -> dict[str, bool]:
    return {sample.id: sample.drawn for sample in samples()}


def _gradios(name: str) -> Callable[[], str]:
    return lambda: media.get_image(name)


def _sklearns(name: str) -> Callable[[], str]:
    def locate() -> str:
        from importlib.resources import files

        return str(files("sklearn.datasets") / "images" / name)

    return locate


def _matplotlibs(name: str) -> Callable[[], str]:
    def locate() -> str:
        from matplotlib.cbook import get_sample_data

        return get_sample_data(name, asfileobj=False)

    return locate


_PHOTOGRAPHS = (
    ("cheetah", _gradios("cheetah.jpg"), "with Gradio, Apache 2.0"),
    ("lion", _gradios("lion.jpg"), "with Gradio, Apache 2.0"),
    ("tower", _gradios("tower.jpg"), "with Gradio, Apache 2.0"),
    ("temple", _sklearns("china.jpg"), SKLEARN_CREDIT.format("danielbuechele")),
    ("flower", _sklearns("flower.jpg"), SKLEARN_CREDIT.format("vultilion")),
    ("officer", _matplotlibs("grace_hopper.jpg"), "Grace Hopper, US Navy, public domain, with Matplotlib"),
)
