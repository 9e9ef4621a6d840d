"""The named endpoint `/export`: takes a model, returns its bundle and the report with its measurements."""

import asyncio
from pathlib import Path

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.outputs import read_json
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.upload import upload_of
from vitdemo.ui.sessions.model_loading import arrived
from vitdemo.ui.tabs.export.session import KINDS, ExportSession, read_plan
from vitdemo.ui.tabs.export.sessions import ExportSessions

POLL_SECONDS = 0.2  # between two polls of an export


def build(sessions: ExportSessions) -> None:
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
        """Export a model as a bundle that runs without this app.

        `model` is a name from the catalogue, empty for the server's own model; `format` is onnx, safetensors, pt2 or torchscript;
        `precision` is fp32, fp16 or int8. `settings` may hold `baked` (true: preprocessing in the graph), `extras` (features, attention),
        `kits` (fastapi, triton, kserve, ray, torchserve) and `prefer` (of the int8 recipes: fastest or smallest). `photos`, for the
        comparison with the original, and `calibration`, for the scales of static int8 recipes, are lists of photos and zips; with neither,
        the comparison uses the bundled drawings. Returns the report and a zip of the bundle.
        """
        session = None
        try:
            plan = read_plan((settings or {}) | {"format": format, "precision": precision})
            name = sessions.store.allowed(model or None)
            session = sessions.begin()
            for kind, component, files in zip(KINDS, galleries, (photos, calibration), strict=True):
                uploads = [upload for file in files or [] if (upload := upload_of(file, component))]
                if uploads:
                    await asyncio.to_thread(_give, sessions, session, kind, [(upload.name, upload.path) for upload in uploads])
            await arrived(sessions.store, name)
            await asyncio.to_thread(sessions.start, session, name, plan, client_of(request))
            while sessions.get(session.id).busy:  # `get` marks the export as still wanted
                await asyncio.sleep(POLL_SECONDS)
            if not session.done:
                raise UserError(session.error or "The work was stopped.")
            return read_json(session.bundle / "report.json"), str(await asyncio.to_thread(sessions.pack, session))
        except Exception as error:
            raise gr.Error(user_message(error), print_exception=False) from None
        finally:  # stop the job if the client has disconnected
            if session and session.job and session.busy:
                sessions.jobs.stop(session.job)

    trigger.click(endpoint, inputs, outputs, api_name="export", concurrency_limit=None, preprocess=False)


def _give(sessions: ExportSessions, session: ExportSession, kind: str, files: list[tuple[str, Path]]) -> None:
    from vitdemo.core.photos.search import uploaded_items

    sessions.add_photos(session, kind, uploaded_items(files, sessions.settings, command="export"))
