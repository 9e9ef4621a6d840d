"""The endpoint `/classify` for programs: the page's answers as JSON."""

import asyncio

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.ui.errors import LEAVING, user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.upload import upload_of
from vitdemo.ui.sessions.model_loading import arrived
from vitdemo.ui.sessions.photo_queue import PhotoQueue
from vitdemo.ui.tabs.classify.sessions import ClassifyJobs

POLL_SECONDS = 0.2  # between two polls of a running gallery


def build(store: ModelStore, jobs: ClassifyJobs, photo_queue: PhotoQueue) -> None:
    """Register `/classify`."""
    with gr.Row(visible=False):
        inputs = [
            component := gr.Image(label="photo", type="filepath", image_mode=None),
            gr.Textbox("", label="model"),
            gr.Number(5, label="top", precision=0),
            gallery := gr.File([], label="photos", file_count="multiple"),
        ]
        answer = gr.JSON(label="answer")
        trigger = gr.Button()

    async def endpoint(photo: dict | None, model: str, top: int, photos: list[dict] | None, request: gr.Request) -> dict:
        """The top classes of one photo, or of many.

        Give `photo`, or `photos`: a list of photos and zips. `model` is a name from the catalogue; empty for the server's own. One photo is
        answered by {model, seconds, predictions: [{index, label, synset, probability}, …], unfamiliar}, likeliest first (none where the
        model refuses an unfamiliar photo); photos by {model, seconds, rows: [{photo, predictions} or {photo, error}, …]}, sorted by name,
        each row with the other keys of the downloads as well. The first call may wait for the model to load.
        """
        try:
            if isinstance(top, bool) or not isinstance(top, int | float) or top != int(top) or not 1 <= top <= 1000:
                raise UserError("top must be a whole number from 1 to 1000.")
            if photos:
                uploads = [upload_of(payload, gallery) for payload in photos]
                return await _gallery([file for file in uploads if file], model, int(top), client_of(request))
            if (upload := upload_of(photo, component)) is None:
                raise UserError("There is no photo: send one.")
            visitor = request.session_hash or ""
            vit = await arrived(store, model, visitor)
            return await photo_queue.put(lambda: _one(upload, vit, int(top)), client_of(request)).result
        except Exception as error:
            raise gr.Error(user_message(error), print_exception=False) from None

    def _one(upload, vit, top: int) -> dict:
        from vitdemo.classify.photo import classify  # imports torch, which the model has imported by now
        from vitdemo.core.photos.photo import open_photo

        photo = open_photo(upload.path, store.settings, name=upload.name)
        result = classify(photo.image, vit, store.engine, top=top)
        predictions = [prediction.as_row() for prediction in result.predictions]
        return {"model": vit.id, "seconds": result.seconds, "predictions": predictions, "unfamiliar": result.unfamiliar}

    async def _gallery(uploads, model: str, top: int, client: str) -> dict:
        from vitdemo.core.photos.search import uploaded_items

        files = [(upload.name, upload.path) for upload in uploads]
        items = await asyncio.to_thread(
            uploaded_items, files, store.settings
        )  # unpacking zips is slow, and this thread serves other visitors
        job = jobs.start(items, store.allowed(model or None), "", client, top=max(top, 5), thumbnails=False)
        try:
            while not jobs.get(job.id).over:  # `get` marks the gallery as seen, because a client waits for it
                await asyncio.sleep(POLL_SECONDS)
        finally:  # a client that has gone needs no answer, and no other client knows the id
            jobs.drop(job)
        if job.state != "done":
            raise UserError(job.error or LEAVING)
        rows = await asyncio.to_thread(lambda: [_row(row.first(top).as_json(job.model_name)) for row in job.rows])
        return {"model": job.model_name, "seconds": job.ended - job.began, "rows": rows, "notes": job.notes}

    trigger.click(endpoint, inputs, answer, api_name="classify", concurrency_limit=None, preprocess=False)


def _row(row: dict) -> dict:
    """A row of the downloads, but with the key `photo`: gradio_client mistakes an object with a `path` for a file to fetch."""
    return {"photo": row.pop("path")} | row
