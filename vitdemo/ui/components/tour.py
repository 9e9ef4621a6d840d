"""The guided tour through all tabs. Its script shows and says everything; any element with `data-tour` starts it."""

import gradio as gr

from vitdemo.ui.templating import html, script


def build() -> None:
    """Lay out its card, which is hidden until it starts."""
    gr.HTML(html("page/tour/tour"), elem_id="tour", apply_default_css=False, js_on_load=script("page/tour/tour"))
