"""The sample pictures on the page: copies that may be served, and what is said where one does not suit the model."""

import contextlib
import hashlib
import os
import secrets
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from vitdemo.core.config import DEFAULT_MODEL, DEMO_MODEL, Settings
from vitdemo.core.models import catalogue
from vitdemo.core.photos.samples import Sample, samples
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.templating import data_uri

if TYPE_CHECKING:
    from vitdemo.core.models.vit import Vit

OPENING_PIXELS = 800  # of the longer side


def served(sample: Sample) -> str:
    """The path of a copy that may be served: a package's folder is nobody's business."""
    return served_copy(sample.path, sample.path.name)


def served_copy(path: Path, name: str) -> str:
    """The path of a copy of a picture that may be served, under another name."""
    copy = Path(get_upload_folder(), f"sample-{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}", name)
    if copy.is_file():
        with contextlib.suppress(OSError):
            os.utime(copy)  # files in use are kept
    else:
        copy.parent.mkdir(parents=True, exist_ok=True)
        partial = copy.with_name(f".{secrets.token_hex(8)}")
        shutil.copyfile(path, partial)
        partial.replace(copy)  # nobody reads half a picture
    return str(copy)


def suit_drawings(vit: "Vit") -> bool:
    """Whether drawings suit a model better than photographs."""
    from vitdemo.core.models import drawings  # imports torch, which the model has imported by now

    return drawings.suit_drawings(vit)


def first_sample(vit: "Vit") -> Sample:
    """The first sample that suits a model."""
    drawn = suit_drawings(vit)
    return next(sample for sample in samples() if sample.drawn == drawn)


def opening_picture(settings: Settings) -> str:
    """The sample on which the page opens, as a data: URI, to be seen while the model is loading; empty where the model decides which."""
    name = settings.model
    entry = catalogue.find(DEFAULT_MODEL)
    if name.startswith("local-dir:") or (name == "auto" and not (entry and catalogue.is_here(entry))):
        return ""
    sample = next((sample for sample in samples() if sample.drawn == (name == DEMO_MODEL)), None)
    if sample is None:
        return ""
    with Image.open(sample.path) as image:
        image.thumbnail((OPENING_PIXELS, OPENING_PIXELS))
        return data_uri(image.convert("RGB"), "JPEG")


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


@cache
def _drawn_by_id() -> dict[str, bool]:
    return {sample.id: sample.drawn for sample in samples()}
