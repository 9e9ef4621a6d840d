"""The named endpoint `/export`: a model in, its bundle and the figures that prove it out."""

import asyncio
from pathlib import Path

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.outputs import read_json
from vitdemo.ui.callers import caller_of
from vitdemo.ui.export_order import KINDS, Export, read_plan
from vitdemo.ui.export_runs import Exports
from vitdemo.ui.guard import sentence
from vitdemo.ui.model_header import arrived
from vitdemo.ui.upload import upload_of

TICK = 0.2  # seconds between two looks at an export


def build(exports: Exports) -> None:
    """Register `/export`."""
    with gr.Row(visible=False):
        galleries = [gr.File([], label=kind, file_count="multiple") for kind in KINDS]
        inputs = [
            gr.Textbox("", label="model"),
            gr.Textbox("onnx", label="format"),
            gr.Textbox("fp32", label="precision"),
            gr.JSON({}, label="settings"),
            *galleries,
        ]
        outputs = [gr.JSON(label="report"), gr.File(label="bundle")]
        trigger = gr.Button()

    async def endpoint(
        model: str,
        format: str,
        precision: str,
        settings: dict | None,
        photos: list[dict] | None,
        calibration: list[dict] | None,
        request: gr.Request,
    ) -> tuple[dict, str]:
        """A model as a bundle that runs elsewhere.

        `model` is a name from the catalogue, empty for the server's own; `format` is onnx, safetensors, pt2 or torchscript; `precision` is
        fp32, fp16 or int8. `settings` may hold `baked` (true: preprocessing in the graph), `extras` (features, attention), `kits` (fastapi,
        triton, kserve, ray, torchserve) and `prefer` (of the int8 recipes: fastest or smallest). `photos`, to compare on, and
        `calibration`, to find a static int8 recipe's scales with, are lists of photos and zips; with neither, the bundled drawings are
        compared on. Answers with the report and a zip of the bundle.
        """
        export = None
        try:
            plan = read_plan((settings or {}) | {"format": format, "precision": precision})
            name = exports.store.allowed(model or None)
            export = exports.begin()
            for kind, component, files in zip(KINDS, galleries, (photos, calibration), strict=True):
                uploads = [upload for each in files or [] if (upload := upload_of(each, component))]
                if uploads:
                    await asyncio.to_thread(_give, exports, export, kind, [(each.name, each.path) for each in uploads])
            await arrived(exports.store, name)
            await asyncio.to_thread(exports.start, export, name, plan, caller_of(request))
            while exports.get(export.id).busy:  # asked for, since somebody waits for it
                await asyncio.sleep(TICK)
            if not export.done:
                raise UserError(export.error or "The work was stopped.")
            return read_json(export.bundle / "report.json"), str(await asyncio.to_thread(exports.pack, export))
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from None
        finally:  # a caller that has gone needs no answer
            if export and export.busy:
                exports.jobs.stop(export.job)

    trigger.click(endpoint, inputs, outputs, api_name="export", concurrency_limit=None, preprocess=False)


def _give(exports: Exports, export: Export, kind: str, files: list[tuple[str, Path]]) -> None:
    from vitdemo.core.gallery import uploaded_items

    exports.give(export, kind, uploaded_items(files, exports.settings, command="export"))
