"""The named endpoint `/finetune`: photos in, the report and the model out."""

import asyncio

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.outputs import read_json
from vitdemo.finetune.recipe import PRESETS, Recipe
from vitdemo.ui.callers import caller_of
from vitdemo.ui.finetune_runs import Lessons
from vitdemo.ui.finetune_tab import pack
from vitdemo.ui.guard import LEAVING, sentence
from vitdemo.ui.model_header import arrived
from vitdemo.ui.upload import upload_of

TICK = 0.2  # seconds between two looks at a lesson


def build(lessons: Lessons) -> None:
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
        lesson = None
        try:
            if str(preset) not in PRESETS:
                raise UserError(f"preset must be one of {', '.join(PRESETS)}.")
            recipe = Recipe.read(settings or {}, PRESETS[preset].recipe)
            if (upload := upload_of(photos, component)) is None:
                raise UserError("There are no photos: send a zip of them.")
            from vitdemo.core.gallery import uploaded_items

            items = await asyncio.to_thread(uploaded_items, [(upload.name, upload.path)], lessons.settings)
            lesson = lessons.give(items)
            while lessons.get(lesson.id).state == "reading":  # asked for, since somebody waits for it
                await asyncio.sleep(TICK)
            if lesson.state == "failed":
                raise UserError(lesson.error)
            await arrived(lessons.store, model)
            await asyncio.to_thread(lessons.start, lesson, lessons.store.allowed(model or None), recipe, caller_of(request))
            while not lessons.get(lesson.id).job.over:
                await asyncio.sleep(TICK)
            if lesson.job.state != "done":
                raise UserError(lesson.job.error or LEAVING)
            report = read_json(lesson.result / "report.json")
            rows = [row | {"photo": lesson.items[lesson.number_of(row)].name} for row in report["photos"]]
            return report | {"photos": rows}, str(await asyncio.to_thread(pack, lessons, lesson))
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from None
        finally:  # a caller that has gone needs no answer
            if lesson and lesson.job and not lesson.job.over:
                lessons.jobs.stop(lesson.job)

    trigger.click(endpoint, inputs, outputs, api_name="finetune", concurrency_limit=None, preprocess=False)
