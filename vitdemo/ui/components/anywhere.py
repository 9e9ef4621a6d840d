"""Photos that are dropped or pasted anywhere on the page: one becomes the current photo, several go to a gallery."""

from typing import Any

import gradio as gr

from vitdemo.ui.server.gradio_internals import event_payload, get_upload_folder
from vitdemo.ui.server.upload import is_file_in
from vitdemo.ui.templating import html, script

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}


def build(photo: gr.Image) -> None:
    """Lay out the veil, and hear the photos that its script has uploaded."""
    page = gr.HTML(html("page/anywhere"), elem_id="anywhere", apply_default_css=False, js_on_load=script("page/anywhere"))
    page.upload(given_photo, None, photo, trigger_mode="multiple", queue=False, **QUIET)


def given_photo(event: gr.EventData) -> str:
    """The path of the file that a script has uploaded, to be the current photo. Raises: gr.Error for anything else."""
    path = event_payload(event).get("path")
    if not is_file_in(path, get_upload_folder()):
        raise gr.Error("Send the photo as an uploaded file.", print_exception=False)
    return str(path)
