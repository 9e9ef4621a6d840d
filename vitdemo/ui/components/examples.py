"""A row of sample pictures: a click makes a picture the current photo. Those that suit the model come first."""

import gradio as gr
from PIL import Image

from vitdemo.core.photos.samples import samples
from vitdemo.ui.components.samples import served
from vitdemo.ui.server.gradio_internals import event_payload
from vitdemo.ui.templating import data_uri, html, script

THUMBNAIL_PIXELS = 112  # of the longer side


def build(photo: gr.Image, elem_id: str = "examples", lead: str = "Sample images") -> None:
    """Lay out the row. gr.Examples would do, but its buttons have no names for a screen reader."""
    by_name = {sample.name: sample for sample in samples()}
    pictures = [(sample, data_uri(_thumbnail(sample.path), "JPEG")) for sample in by_name.values()]
    row = gr.HTML(
        html("components/examples", pictures=pictures, lead=lead),
        elem_id=elem_id,
        apply_default_css=False,
        js_on_load=script("components/examples"),
    )

    def choose(event: gr.EventData) -> str:
        sample = by_name.get(str(event_payload(event).get("name")))
        return served(sample) if sample else gr.skip()

    row.select(choose, None, photo, trigger_mode="multiple", queue=False, show_progress="hidden", api_visibility="private")


def _thumbnail(path) -> Image.Image:
    with Image.open(path) as image:
        image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        return image.convert("RGB")
