"""The named endpoint `/embed`: the tab's vectors, maps and files for programs."""

import asyncio

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.ui.errors import LEAVING, user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.upload import upload_of
from vitdemo.ui.tabs.embeddings.downloads import KINDS, download
from vitdemo.ui.tabs.embeddings.maps import FinishedMap
from vitdemo.ui.tabs.embeddings.page_data import key_of, photo_rows
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJob, EmbeddingJobs

POLL_SECONDS = 0.2  # between two polls of a running gallery


def build(store: ModelStore, jobs: EmbeddingJobs) -> None:
    """Register `/embed`."""
    with gr.Row(visible=False):
        inputs = [
            gallery := gr.File([], label="photos", file_count="multiple"),
            gr.Textbox("", label="model"),
            gr.Textbox("final", label="layer"),
            gr.Textbox("cls", label="pool"),
            gr.Number(2, label="dimensions", precision=0),
            gr.Number(15, label="neighbours", precision=0),
            gr.Number(0.1, label="min_dist"),
            gr.Textbox("cosine", label="metric"),
            gr.Number(0, label="seed", precision=0),
            gr.Textbox("", label="file"),
        ]
        outputs = [gr.JSON(label="answer"), gr.File(label="file")]
        trigger = gr.Button()

    async def endpoint(
        photos: list[dict] | None,
        model: str,
        layer: str,
        pool: str,
        dimensions: float,
        neighbours: float,
        min_dist: float,
        metric: str,
        seed: float,
        file: str,
        request: gr.Request,
    ) -> tuple[dict, str | None]:
        """Embed photos as vectors, and draw their map.

        `photos` is a list of photos and zips; `model` a name from the catalogue, empty for the server's own model; `layer` a number from
        1, or final; `pool` cls or mean. `dimensions` (2 or 3), `neighbours`, `min_dist`, `metric` (cosine, euclidean or correlation) and
        `seed` are options of the map. Returns {model, layer, pool, trust, clusters, rows: [{photo, label, prediction, probability,
        position, cluster} or {photo, error}, …]}, sorted by name; cluster −1 means unclustered. `file` requests a file as well: npz, csv,
        parquet or html (the map as a page). The first call may wait for the model to load.
        """
        try:
            if file and str(file) not in KINDS:
                raise UserError(f"file must be {', '.join(KINDS)}, or empty.")
            uploads = [upload for photo in photos or [] if (upload := upload_of(photo, gallery))]
            if not uploads:
                raise UserError("There are no photos: send some.")
            options = {"layer": int(layer) if layer.isdecimal() else layer, "pool": pool, "dimensions": dimensions}
            options |= {"neighbours": neighbours, "min_dist": min_dist, "metric": metric, "seed": seed}
            return await _embed(store, jobs, uploads, model, options, file, client_of(request))
        except Exception as error:
            raise gr.Error(user_message(error), print_exception=False) from None

    trigger.click(endpoint, inputs, outputs, api_name="embed", concurrency_limit=None, preprocess=False)


async def _embed(
    store: ModelStore, jobs: EmbeddingJobs, uploads: list, model: str, options: dict, file: str, client: str
) -> tuple[dict, str | None]:
    """Embed a gallery, draw its map, and drop the gallery. Returns: the answer, and the path of the requested file."""
    from vitdemo.core.photos.search import uploaded_items

    files = [(upload.name, upload.path) for upload in uploads]
    items = await asyncio.to_thread(uploaded_items, files, store.settings, command="embed")
    job = jobs.start(items, store.allowed(model or None), "", client, ahead=file == "html")
    file_path = None
    try:
        while not jobs.get(job.id).over:  # `get` marks the gallery as still wanted
            await asyncio.sleep(POLL_SECONDS)
        if job.state != "done":
            raise UserError(job.error or LEAVING)
        maps, key = job.mapped(), key_of(job, options)
        while not isinstance(map_or_progress := maps.ask(key), FinishedMap):
            if isinstance(map_or_progress, str):
                raise UserError(map_or_progress)
            await asyncio.sleep(POLL_SECONDS)
        answer = await asyncio.to_thread(_answer, job, map_or_progress)
        if file:
            file_path = str(await asyncio.to_thread(download, jobs, job, key, file))
        return answer, file_path
    finally:  # no other client knows the gallery; the file stays for the caller until uploads are swept
        jobs.drop(job, keep_files=file_path is not None)


def _answer(job: EmbeddingJob, drawn: FinishedMap) -> dict:
    """The answer as JSON: the map's data, and one row per file."""
    embedding, atlas, key = job.embedded(), drawn.atlas, drawn.key
    rows_by_number = {
        row["id"]: {
            "photo": embedding.rows[row["id"]].path,
            "label": embedding.rows[row["id"]].folder,
            "prediction": row["label"] or None,
            "probability": row["probability"],
            "position": position,
            "cluster": cluster,
        }
        for row, position, cluster in zip(photo_rows(job), atlas.positions.tolist(), atlas.clusters.tolist(), strict=True)
    }
    rows = [rows_by_number.get(number, {"photo": row.path, "error": row.error}) for number, row in enumerate(embedding.rows)]
    answer = {"model": embedding.model, "layer": key.layer, "pool": key.pool, "trust": atlas.trust, "clusters": drawn.names}
    return answer | {"rows": rows, "notes": job.notes}
