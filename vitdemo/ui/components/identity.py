"""Tell the page's scripts what only Gradio knows: the page's session, and the name of the selected model."""

import gradio as gr

from vitdemo.ui.components.model_picker import ModelPicker


def build(page: gr.Blocks, header: ModelPicker) -> None:
    """Write both to the attributes `data-visitor` and `data-model` of the page's <html>, and keep the second up to date."""
    visitor = gr.Textbox(visible="hidden", label="visitor")

    def session(request: gr.Request) -> str:
        return request.session_hash or ""

    page.load(session, None, visitor, show_progress="hidden", api_visibility="private", queue=False)
    for attribute, component, events in (
        ("visitor", visitor, [visitor.change]),
        ("model", header.picker, [header.picker.change, page.load]),
    ):
        script = f"(value) => {{ document.documentElement.dataset.{attribute} = value ?? ''; }}"
        gr.on(events, None, component, None, js=script, api_visibility="private")
