"""A visitor's uploaded file, before anything has opened it.

Gradio decodes an image before a handler sees it, and answers an unreadable image with its own message. So the events that take a photo run
with `preprocess=False`: the handler gets the raw payload, this module makes an Upload of that, and only `core.photos` opens the file.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.ui.server.gradio_internals import upload_folder_of


@dataclass(frozen=True)
class Upload:
    """A file that a visitor uploaded: its path here, and its original name."""

    path: Path
    name: str


def upload_of(payload: dict | None, component: gr.Image | gr.File) -> Upload | None:
    """The uploaded file that a component's raw payload names; None where the payload is empty.

    Raises: UserError for a payload that names anything but a file uploaded here.
    """
    if payload is None:
        return None
    path = payload.get("path") if isinstance(payload, dict) else None
    if not path or not is_file_in(path, upload_folder_of(component)):
        raise UserError("Send the photo as an uploaded file.")
    with contextlib.suppress(OSError):  # restarts the age of the file: files in use are kept
        os.utime(path)
    return Upload(Path(path), str(payload.get("orig_name") or Path(path).name))


def is_file_in(path: object, folder: str) -> bool:
    """Whether a value that a page or a program sent is the path of something in a folder, or of the folder, with no link that leads out."""
    try:
        return isinstance(path, str) and Path(os.path.abspath(path)).resolve().is_relative_to(Path(folder).resolve())
    except ValueError:  # a NUL, or half a character
        return False
