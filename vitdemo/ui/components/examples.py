"""A row of bundled pictures: a click makes a picture the current photo."""

import gradio as gr
from PIL import Image

from vitdemo.core.config import ASSETS
from vitdemo.ui.server.gradio_internals import event_payload
from vitdemo.ui.templating import data_uri, html, script

FOLDER = ASSETS / "examples"
THUMBNAIL_PIXELS = 112  # of the longer side


def build(photo: gr.Image, elem_id: str = "examples", lead: str = "Sample images") -> None:
    """Lay out the row. gr.Examples would do, but its buttons have no names for a screen reader."""
    files = {path.stem: path for path in sorted(FOLDER.glob("*.jpg"))}
    pictures = [(name, data_uri(_thumbnail(path), "JPEG")) for name, path in files.items()]
    row = gr.HTML(
        html("components/examples", pictures=pictures, lead=lead),
        elem_id=elem_id,
        apply_default_css=False,
        js_on_load=script("components/examples"),
    )

    def choose(event: gr.EventData) -> str:
        return str(files[event_payload(event)["name"]]) if event_payload(event).get("name") in files else gr.skip()

    row.select(choose, None, photo, trigger_mode="multiple", queue=False, show_progress="hidden", api_visibility="private")


def _thumbnail(path) -> Image.Image:
    with Image.open(path) as image:
        image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        return image.convert("RGB")
