"""The panel for uploading many photos: files, a folder with its sub-folders, a zip, or the bundled drawings.

The page's script uploads the files with the names of their folders, polls the progress, and restores the panel after a reload.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from vitdemo.core.config import ASSETS, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.photos.photo import SUFFIXES
from vitdemo.ui.components.model_picker import ModelPicker
from vitdemo.ui.errors import errors_as_answer, event_payload, user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.sessions.gallery_job import GalleryJob
from vitdemo.ui.templating import html, static_text

if TYPE_CHECKING:
    from vitdemo.core.photos.gallery import Item

SAMPLE_GALLERY = ASSETS / "examples" / "gallery"


def build(
    elem_id: str,
    store: ModelStore,
    header: ModelPicker,
    *,
    lead: str,
    command: str,
    markup: str,
    scripts: list[str],
    functions: list[Callable[[dict], dict]],
    start: Callable[[list["Item"], str, str, str], GalleryJob],
    attach: Callable[[object, str], None],
) -> gr.HTML:
    """Lay out the panel and wire it.

    Args:
        lead: the reason to upload photos here.
        command: the command of `python -m vitdemo` for more photos.
        markup: HTML below the upload form.
        scripts: files of static/ that define `follow`, `tell` and `heard` (gallery_upload.js describes them).
        functions: server functions that the scripts may call, each with one object.
        start: starts a gallery's job, given the photos, the model's name, the visitor and the client.
        attach: hands a gallery, found by its id, to the new session of a visitor who has reloaded the page.
    """
    panel = gr.HTML(
        {"limits": limits(store.settings, command)},
        html_template=html("components/gallery_upload", lead=lead) + markup,
        js_on_load=static_text("components/upload.js", "components/gallery_upload.js", *scripts),
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes=["giving"],
        server_functions=[errors_as_answer(function) for function in functions],
    )

    def begin(model: str, request: gr.Request, event: gr.EventData) -> dict:
        """Start a job for the uploaded photos. Returns: the gallery's id, or an error."""
        number = event_payload(event).get("request")
        try:
            store.allowed(model)
            items = _items(event_payload(event).get("files"), store, command)
            return {"run": start(items, model, request.session_hash or "", client_of(request)).id, "request": number}
        except Exception as error:
            return {"error": user_message(error), "request": number}

    def come_back(request: gr.Request, event: gr.EventData) -> None:
        with contextlib.suppress(UserError):  # the next poll of its progress reports a gallery that is gone
            attach(event_payload(event).get("run"), request.session_hash or "")

    quiet: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "preprocess": False,
        "trigger_mode": "multiple",
        "queue": False,
    }
    panel.upload(begin, header.picker, panel, **quiet)
    panel.select(come_back, None, None, **quiet)
    return panel


def limits(settings: Settings, command: str) -> dict:
    """The limits of an upload, for upload.js, and the `command` of `python -m vitdemo` for larger galleries."""
    return {
        "photos": settings.max_gallery,
        "mb": settings.max_upload_mb,
        "zipMb": settings.max_zip_mb,
        "suffixes": SUFFIXES,
        "command": command,
    }


def _items(files: Any, store: ModelStore, command: str) -> list["Item"]:
    from vitdemo.core.photos.gallery import find_items, uploaded_items

    if files == "examples":
        return [replace(item, name=item.path.relative_to(SAMPLE_GALLERY).as_posix()) for item in find_items([SAMPLE_GALLERY])]
    return uploaded_items(uploads_of(files), store.settings, command=command)


def uploads_of(files: Any) -> list[tuple[str, Path]]:
    """The (name, path) pairs that the page sent, after a check that each path is an uploaded file's.

    Raises: UserError for anything else.
    """
    folder = get_upload_folder()
    try:
        uploads = [(str(name), Path(path)) for name, path in files]
        valid = all(isinstance(path, str) and "\0" not in path and is_in_or_equal(path, folder) for _, path in files)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise UserError("Send the photos as uploaded files.")
    return uploads
