"""The named endpoint `/finetune`: photos in, the report and the model out."""

import asyncio

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.outputs import read_json
from vitdemo.finetune.recipe import PRESETS, Recipe
from vitdemo.ui.errors import LEAVING, user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.upload import upload_of
from vitdemo.ui.sessions.model_loading import arrived
from vitdemo.ui.tabs.finetune.downloads import pack
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions

POLL_SECONDS = 0.2  # seconds between two looks at a lesson


def build(sessions: FinetuneSessions) -> None:
    """Register `/finetune`."""
    with gr.Row(visible=False):
        inputs = [
            component := gr.File(label="photos"),
            gr.Textbox("", label="model"),
            gr.Textbox("quick", label="preset"),
            gr.JSON({}, label="settings"),
        ]
        outputs = [gr.JSON(label="report"), gr.File(label="model")]
        trigger = gr.Button()

    async def endpoint(photos: dict | None, model: str, preset: str, settings: dict | None, request: gr.Request):
        """Teach the model the classes of a zip with one folder of photos for each.

        `model` is a name from the catalogue, empty for the server's own; `preset` is quick, careful or everything; `settings` are those of
        the page's “Every setting” by name, with underscores. Answers with the report and a zip of the model in timm's layout.
        """
        session = None
        try:
            if str(preset) not in PRESETS:
                raise UserError(f"preset must be one of {', '.join(PRESETS)}.")
            recipe = Recipe.read(settings or {}, PRESETS[preset].recipe)
            if (upload := upload_of(photos, component)) is None:
                raise UserError("There are no photos: send a zip of them.")
            from vitdemo.core.photos.gallery import uploaded_items

            items = await asyncio.to_thread(uploaded_items, [(upload.name, upload.path)], sessions.settings)
            session = sessions.give(items)
            while sessions.get(session.id).state == "reading":  # asked for, since somebody waits for it
                await asyncio.sleep(POLL_SECONDS)
            if session.state == "failed":
                raise UserError(session.error)
            await arrived(sessions.store, model)
            await asyncio.to_thread(sessions.start, session, sessions.store.allowed(model or None), recipe, client_of(request))
            while not sessions.get(session.id).job.over:
                await asyncio.sleep(POLL_SECONDS)
            if session.job.state != "done":
                raise UserError(session.job.error or LEAVING)
            report = read_json(session.result / "report.json")
            rows = [row | {"photo": session.items[session.number_of(row)].name} for row in report["photos"]]
            return report | {"photos": rows}, str(await asyncio.to_thread(pack, sessions, session))
        except Exception as error:
            raise gr.Error(user_message(error), print_exception=False) from None
        finally:  # a caller that has gone needs no answer
            if session and session.job and not session.job.over:
                sessions.jobs.stop(session.job)

    trigger.click(endpoint, inputs, outputs, api_name="finetune", concurrency_limit=None, preprocess=False)
