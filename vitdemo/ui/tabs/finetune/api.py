"""The named endpoint `/finetune`: takes photos, returns the report and the fine-tuned model."""

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

POLL_SECONDS = 0.2  # between two polls of a fine-tuning session


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
        """Fine-tune a model on a zip of photos with one folder per class.

        `model` is a name from the catalogue, empty for the server's own model; `preset` is quick, careful or everything; `settings` are
        the settings under “Every setting” on the page, by name, with underscores. Returns the report and a zip of the model in timm's
        layout.
        """
        session = None
        try:
            if str(preset) not in PRESETS:
                raise UserError(f"preset must be one of {', '.join(PRESETS)}.")
            recipe = Recipe.read(settings or {}, PRESETS[preset].recipe)
            if (upload := upload_of(photos, component)) is None:
                raise UserError("There are no photos: send a zip of them.")
            from vitdemo.core.photos.search import uploaded_items

            items = await asyncio.to_thread(uploaded_items, [(upload.name, upload.path)], sessions.settings)
            session = sessions.create(items)
            while sessions.get(session.id).state == "reading":  # `get` marks the session as still wanted
                await asyncio.sleep(POLL_SECONDS)
            if session.state == "failed":
                raise UserError(session.error)
            await arrived(sessions.store, model)
            await asyncio.to_thread(sessions.start, session, sessions.store.allowed(model or None), recipe, client_of(request))
            while sessions.get(session.id).busy:
                await asyncio.sleep(POLL_SECONDS)
            job = session.job
            if job is None or job.state != "done":
                raise UserError((job.error if job else "") or LEAVING)
            report = read_json(session.result / "report.json")
            named = lambda rows: [row | {"photo": session.items[session.number_of(row)].name} for row in rows]  # noqa: E731
            why = [{side: named(rows) for side, rows in reasons.items()} for reasons in report["why"]]
            return report | {"photos": named(report["photos"]), "why": why}, str(await asyncio.to_thread(pack, sessions, session))
        except Exception as error:
            raise gr.Error(user_message(error), print_exception=False) from None
        finally:  # stop the job if the client has disconnected
            if session and session.job and not session.job.over:
                sessions.jobs.stop(session.job)

    trigger.click(endpoint, inputs, outputs, api_name="finetune", concurrency_limit=None, preprocess=False)
