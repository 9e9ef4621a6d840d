"""The photo input: Gradio's image component, without its decoder.

gr.Image opens every upload before our code sees it, and answers an unreadable one with a message of its own. Here the path is handed on as
it is, and `core.photos` alone opens it.
"""

from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData
from gradio.utils import is_in_or_equal

from vitdemo.core.errors import UserError
from vitdemo.core.photos import shown_name


@dataclass(frozen=True)
class Upload:
    """A file that a visitor sent: where it lies, and what it was called."""

    path: Path
    name: str

from gradio.events import Dependency

class PhotoInput(gr.Image):
    """Drop, paste, take with the webcam or pick a photo. Hands on an Upload, or None where there is no photo."""

    is_template = True  # the page shows it as gr.Image

    def preprocess(self, payload: ImageData | None) -> Upload | None:
        if payload is None:
            return None
        if not payload.path or not is_in_or_equal(payload.path, self.GRADIO_CACHE):
            raise gr.Error("Send the photo as an uploaded file.", print_exception=False)
        return Upload(Path(payload.path), shown_name(payload.orig_name or Path(payload.path).name))
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


def need(upload: Upload | None) -> Upload:
    """Raises: UserError where no photo was given."""
    if upload is None:
        raise UserError("There is no photo yet: drop one, paste it or pick a file.")
    return upload