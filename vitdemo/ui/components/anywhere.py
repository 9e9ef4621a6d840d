"""Photos that are dropped or pasted anywhere on the page: one becomes the current photo, several go to a gallery."""

from pathlib import Path
from typing import Any

import gradio as gr

from vitdemo.ui.server.gradio_internals import event_payload, get_upload_folder
from vitdemo.ui.server.upload import is_file_in
from vitdemo.ui.templating import html, script

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}


def build(photo: gr.Image) -> None:
    """Lay out the veil, and hear the photos that its script has uploaded."""
    page = gr.HTML(html("page/anywhere"), elem_id="anywhere", apply_default_css=False, js_on_load=script("page/anywhere"))
    page.upload(given_photo, None, photo, trigger_mode="multiple", queue=False, postprocess=False, **QUIET)


def given_photo(event: gr.EventData) -> dict:
    """The file that a script has uploaded, as the photo box holds it: Gradio itself would make another thing of an SVG file.

    Raises: gr.Error for anything else.
    """
    asked = event_payload(event)
    path, name = asked.get("path"), asked.get("name")
    if not is_file_in(path, get_upload_folder()):
        raise gr.Error("Send the photo as an uploaded file.", print_exception=False)
    return {
        "path": path,
        "orig_name": name if isinstance(name, str) and name else Path(str(path)).name,
        "meta": {"_type": "gradio.FileData"},
    }
