"""A row of sample pictures: a click makes a picture the current photo. Those that suit the model come first."""

import gradio as gr
from PIL import Image

from vitdemo.core.photos.samples import samples
from vitdemo.ui.components.samples import served
from vitdemo.ui.server.gradio_internals import event_payload
from vitdemo.ui.templating import data_uri, html, script

THUMBNAIL_PIXELS = 112  # of the longer side


def build(photo: gr.Image) -> None:
    """Lay out the row. gr.Examples would do, but its buttons have no names for a screen reader."""
    row = gr.HTML(markup(), elem_id="examples", apply_default_css=False, js_on_load=script("components/examples"))
    row.select(chosen, None, photo, trigger_mode="multiple", queue=False, show_progress="hidden", api_visibility="private")


def markup() -> str:
    """The row as HTML; a script tells Python the data-name of the one that is clicked."""
    pictures = [(sample, data_uri(_thumbnail(sample.path), "JPEG")) for sample in samples()]
    return html("components/examples", pictures=pictures)


def chosen(event: gr.EventData) -> str:
    """The path of the sample that was clicked."""
    name = event_payload(event).get("name")
    return next((served(sample) for sample in samples() if sample.name == name), gr.skip())


def _thumbnail(path) -> Image.Image:
    with Image.open(path) as image:
        image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        return image.convert("RGB")
