"""A photo of the visitor's under both models: what the fine-tuned model says, beside what the original says."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.server.upload import is_file_in
from vitdemo.ui.templating import data_uri

if TYPE_CHECKING:
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.models.vit import Vit

MAX_PIXELS = 320  # longer side of the picture
TOP = 3  # classes of each model


@dataclass
class Tested:
    """A photo's answers.

    Attributes:
        picture: the photo, small, as a data: URI.
        now, before: the leading classes of the fine-tuned model and of the original, as rows of name and probability.
        unfamiliar: whether the fine-tuned model was trained on nothing like it; it has no classes then if it refuses.
    """

    picture: str
    now: list[dict]
    before: list[dict]
    unfamiliar: bool


def ask_both(path: str, name: str, old: "Vit", new: "Vit", engine: "Engine", settings: Settings) -> Tested:
    """Ask both models about an uploaded photo.

    Raises: UserError for anything but an upload, or a photo that can't be read.
    """
    from vitdemo.core.photos.photo import open_photo

    if not is_file_in(path, get_upload_folder()):
        raise UserError("Send the photo as an uploaded file.")
    image = open_photo(Path(path), settings, name=name).image
    tensor = new.preprocessing(image)[None]
    logits, features, _ = engine.logits_and_features(new, tensor)
    unfamiliar = new.ood is not None and new.ood.is_unfamiliar(features[0])
    before = _rows(old, engine.logits(old, old.preprocessing(image)[None])[0][0]) if old.labels else []
    image.thumbnail((MAX_PIXELS, MAX_PIXELS))
    now = [] if unfamiliar and new.ood and new.ood.refuses else _rows(new, logits[0])
    return Tested(data_uri(image, "JPEG"), now, before, unfamiliar)


def _rows(vit: "Vit", logits) -> list[dict]:
    values, indices = logits.softmax(-1).topk(min(TOP, len(vit.labels)))
    return [{"name": vit.labels[index].short, "probability": value} for index, value in zip(indices.tolist(), values.tolist(), strict=True)]
