"""The Fine-tune tab: upload photos in folders, check the classes, start, and use the fine-tuned model.

The page's script uploads the photos, polls the status, and draws the curves. HTML with text from visitors comes from templates, which
escape the text.
"""

from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.finetune.recipe import PRESETS, Recipe
from vitdemo.ui.components import gallery_upload, model_picker
from vitdemo.ui.components.model_picker import ModelPicker
from vitdemo.ui.server.gradio_internals import event_payload
from vitdemo.ui.templating import html, script

TAB = "finetune"  # the tab's id
AUTOMATIC = {"batch_size": "auto (8, or 32 on a GPU)", "accumulate": "auto (32 photos an update)"}  # what the page says in place of 0


def build(store: ModelStore, header: ModelPicker) -> None:
    """Lay out the tab and connect its events."""
    panel = gr.HTML(
        {"limits": gallery_upload.limits(store.settings, "finetune")},
        html_template=html("finetune/finetune", presets=PRESETS, switches=_switches()),
        js_on_load=script("finetune/finetune"),
        apply_default_css=False,
        elem_id="finetune",
    )

    async def use(request: gr.Request, event: gr.EventData) -> AsyncIterator[tuple]:
        """Select a fine-tuned model, {name, title}, as the visitor's model in every tab."""
        payload = event_payload(event)
        name, title = str(payload.get("name")), str(payload.get("title"))
        try:
            own = name.startswith("own:") and store.allowed(name) == name
        except UserError:
            own = False
        if not own:  # the picker offers no other name than a fine-tuned model's
            yield gr.skip(), gr.skip()
            return
        yield gr.update(choices=[(title, name), *model_picker.choices(store.settings, store.parts_of(name)[1])], value=name), gr.skip()
        async for waiting in model_picker.watch(store, name, request.session_hash or ""):
            yield gr.skip(), waiting.status

    panel.select(
        use,
        None,
        [header.picker, header.status],
        trigger_mode="multiple",
        concurrency_limit=None,
        show_progress="hidden",
        api_visibility="private",
        preprocess=False,
    )


def _switches() -> list[dict]:
    """The recipe's fields, as the template needs them."""
    return [
        {
            "name": field.name,
            "title": field.metadata["title"],
            "unit": field.metadata["unit"],
            "meaning": field.metadata["meaning"],
            "words": getattr(field.metadata["parse"], "words", None) or (("1", "0") if isinstance(field.default, bool) else None),
            "values": {name: _plain(field.name, getattr(preset.recipe, field.name)) for name, preset in PRESETS.items()},
        }
        for field in fields(Recipe)
    ]


def _plain(name: str, value: Any) -> str:
    if name in AUTOMATIC and value == 0:
        return AUTOMATIC[name]
    return str(int(value)) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
