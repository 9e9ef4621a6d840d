"""What a visitor sent, before anything has opened it.

Gradio decodes an image before a handler sees it, and answers an unreadable one with a message of its own. So the events that take a photo
run with `preprocess=False`: the handler gets the raw payload, this page makes an Upload of it, and `core.photos` alone opens the file.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.utils import is_in_or_equal

from vitdemo.core.errors import UserError
from vitdemo.core.photos.photo import shown_name


@dataclass(frozen=True)
class Upload:
    """A file that a visitor sent: where it lies, and what it was called."""

    path: Path
    name: str


def upload_of(payload: dict | None, component: gr.Image | gr.File) -> Upload | None:
    """The uploaded file that a component's raw payload names; None where there is no photo.

    Raises: UserError for a payload that names anything but a file uploaded here.
    """
    if payload is None:
        return None
    path = payload.get("path") if isinstance(payload, dict) else None
    if not isinstance(path, str) or not path or "\0" in path or not is_in_or_equal(path, component.GRADIO_CACHE):
        raise UserError("Send the photo as an uploaded file.")
    with contextlib.suppress(OSError):  # what is used is kept
        os.utime(path)
    return Upload(Path(path), shown_name(str(payload.get("orig_name") or Path(path).name)))
