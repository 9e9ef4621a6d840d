"""The Fine-tune tab: upload photos in folders, check the classes, start, and use the fine-tuned model.

The page's script uploads the photos, polls the status, and draws the curves. HTML with text from visitors comes from templates, which
escape the text.
"""

import secrets
from dataclasses import fields
from typing import Any

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.finetune.recipe import PRESETS, Recipe
from vitdemo.ui.components import gallery_upload, model_picker
from vitdemo.ui.components.model_picker import ModelPicker
from vitdemo.ui.errors import event_payload, user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.tabs.finetune import routes
from vitdemo.ui.tabs.finetune.downloads import NOTHING_YET, report_of
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions
from vitdemo.ui.templating import html, static_text

TAB = "finetune"  # the tab's id


def build(store: ModelStore, header: ModelPicker, sessions: FinetuneSessions) -> None:
    """Lay out the tab and connect its events."""
    settings = store.settings
    panel = gr.HTML(
        {"limits": gallery_upload.limits(settings, "finetune")},
        html_template=html("finetune/finetune", presets=PRESETS, switches=_switches()),
        js_on_load=static_text("components/upload.js", "finetune/finetune.js"),
        apply_default_css=False,
        elem_id="finetune",
        server_functions=routes.functions(sessions),
    )
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}

    def start(model: str, request: gr.Request, event: gr.EventData) -> dict:
        """Start fine-tuning with the selected settings. Returns: {begun}, or {error}."""
        payload = event_payload(event)
        try:
            preset = PRESETS.get(payload.get("preset", ""), PRESETS["quick"])
            recipe_values = payload.get("recipe")
            recipe_values = recipe_values if isinstance(recipe_values, dict) else {}
            recipe = Recipe.read(recipe_values, preset.recipe, title="“{}”")
            session = sessions.get(payload.get("lesson"))
            sessions.start(session, model, recipe, client_of(request))
            session.asked = {"preset": next(name for name, other in PRESETS.items() if other is preset), "recipe": recipe_values}
            return {"begun": True, "request": payload.get("request")}
        except Exception as error:
            return {"error": user_message(error), "request": payload.get("request")}

    async def use(request: gr.Request, event: gr.EventData):
        """Select the fine-tuned model as the visitor's model in every tab."""
        try:
            session = sessions.get(event_payload(event).get("lesson"))
            report = report_of(session)
            if report is None:
                raise UserError(NOTHING_YET)
            name = f"own:{secrets.token_urlsafe(18)}"
            store.add(name, session.result)
        except Exception as error:
            yield gr.skip(), gr.skip(), {"error": user_message(error), "request": event_payload(event).get("request")}
            return
        title = f"Your model · {len(report['classes'])} classes · {report['accuracy']:.0%} accuracy"
        selection = gr.update(choices=[(title, name), *model_picker.choices(store.settings.model)], value=name)
        yield selection, gr.skip(), gr.skip()
        async for _, _, status in model_picker.watch(store, name, request.session_hash or ""):
            yield gr.skip(), status, gr.skip()
        yield gr.skip(), gr.skip(), {"used": True, "request": event_payload(event).get("request")}

    panel.upload(start, header.picker, panel, trigger_mode="multiple", queue=False, **quiet)
    panel.select(use, None, [header.picker, header.status, panel], trigger_mode="multiple", concurrency_limit=None, **quiet)


def _switches() -> list[dict]:
    """The recipe's fields, as the template needs them."""
    return [
        {
            "name": field.name,
            "title": field.name.replace("_", " "),
            "meaning": field.metadata["meaning"],
            "words": getattr(field.metadata["parse"], "words", None) or (("1", "0") if isinstance(field.default, bool) else None),
            "values": {name: _plain(getattr(preset.recipe, field.name)) for name, preset in PRESETS.items()},
        }
        for field in fields(Recipe)
    ]


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
