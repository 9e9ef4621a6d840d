"""Server functions that the Embeddings tab's script calls: progress, maps, scores, one photo and its patches, downloads."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import clean_name
from vitdemo.ui.errors import named_partial
from vitdemo.ui.tabs.embeddings.downloads import download
from vitdemo.ui.tabs.embeddings.maps import FinishedMap
from vitdemo.ui.tabs.embeddings.page_data import jpeg, key_of, map_file, photo_rows, photos_file, write
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJobs

MAX_ERRORS = 200  # error sentences sent to the page
NEIGHBOURS = 8  # shown per photo
MAX_TOGETHER = 12  # photos in one patch comparison
MAX_PIXELS = 640  # longer side of an opened photo
CROP_PIXELS = 448  # longer side of the photo's crop
PHASE_TEXTS = {
    "waiting": "Waiting for another gallery's map",
    "starting": "Preparing the map (first time only)",
    "neighbours": "Finding nearest neighbours",
    "map": "Laying out the map",
    "clusters": "Finding clusters",
}


def functions(jobs: EmbeddingJobs) -> list[Callable[[dict], dict]]:
    """The server functions that the page's script may call, for `gallery_upload.build`."""
    handlers = (_poll, _stop, _map, _scores, _photo, _colours, _alike, _download)
    return [named_partial(handler, jobs) for handler in handlers]


def _poll(jobs: EmbeddingJobs, payload: dict) -> dict:
    """The progress of a gallery; at the end, also its errors and the files with its photos."""
    job = jobs.get(payload.get("run"))
    is_over = job.over  # read before the rows, so that the final status has all of them
    rows = list(job.embedding.rows) if job.embedding else []
    status: dict[str, Any] = {
        "state": job.state,
        "text": job.error or jobs.status_text(job),
        "model": jobs.title(job),
        "total": len(job.items),
        "done": job.done,
        "wrong": sum(row.error is not None for row in rows),
        "speed": job.speed,
    }
    if is_over:
        status["errors"] = [{"name": row.path, "error": row.error} for row in rows if row.error][:MAX_ERRORS]
    if is_over and job.maps:
        embedding = job.maps.embedding
        status |= {"layers": embedding.layers, "pools": embedding.pools, "photos": photos_file(job)}
    return status


def _stop(jobs: EmbeddingJobs, payload: dict) -> dict:
    """Stop the gallery and keep the finished photos; after the photos, stop the map."""
    job = jobs.get(payload.get("run"))
    if job.over and job.maps:
        job.maps.stop()
    job.stopping.set()
    return {}


def _map(jobs: EmbeddingJobs, payload: dict) -> dict:
    """The requested map, or its progress."""
    job = jobs.get(payload.get("run"))
    result = job.mapped().ask(key_of(job, payload))
    if isinstance(result, str):
        raise UserError(result)
    if isinstance(result, FinishedMap):
        return {"map": map_file(job, result)}
    share = result.done / result.total if result.total and result.phase == "map" else None
    return {"text": PHASE_TEXTS.get(result.phase, result.phase), "share": share, "left": result.left if result.phase == "map" else None}


def _scores(jobs: EmbeddingJobs, payload: dict) -> dict:
    """The scores of each layer that are known so far."""
    job = jobs.get(payload.get("run"))
    key, maps = key_of(job, payload), job.mapped()
    trust = {drawn.key.layer: drawn.atlas.trust for drawn in maps.drawn(key.pool, key.options)}
    scores = maps.scores(key.pool)
    rows = [
        {"layer": layer, "accuracy": score and score.accuracy, "silhouette": score and score.silhouette, "trust": trust.get(layer)}
        for layer, score in zip(maps.embedding.layers, scores, strict=True)
    ]
    return {"scores": rows, "complete": None not in scores and maps.idle}


def _photo(jobs: EmbeddingJobs, payload: dict) -> dict:
    """One photo at a readable size, the model's predictions for it, and the photo's nearest neighbours and duplicates."""
    from vitdemo.embeddings.maps.nearest import NEAR_DUPLICATE, similarities

    job = jobs.get(payload.get("run"))
    number = payload.get("id")
    row, _ = job.row(number)
    key, maps = key_of(job, payload), job.mapped()
    photo = jobs.photo(job, number)
    vit = jobs.vit(job)
    geometry = vit.preprocessing.geometry(photo.image.size, vit.patch)
    numbers = [photo_row["id"] for photo_row in photo_rows(job)]
    place = numbers.index(number)
    vectors = maps.embedding.vectors(key.layer, key.pool)
    similarity = similarities(vectors, vectors[place])
    similarity[place] = -np.inf
    last_layer = maps.embedding.vectors(maps.embedding.layers[-1], key.pool)
    is_near_duplicate = similarities(last_layer, last_layer[place]) >= NEAR_DUPLICATE
    nearest = np.argsort(-similarity, kind="stable")[: min(NEIGHBOURS, len(similarity) - 1)]
    left, top, right, bottom = map(round, geometry.box)
    crop = photo.image.crop((left, top, right, bottom))
    crop.thumbnail((CROP_PIXELS, CROP_PIXELS))
    photo.image.thumbnail((MAX_PIXELS, MAX_PIXELS))
    return {
        "name": row.path,
        "folder": row.folder,
        "duplicate": row.duplicate_of,
        "photo": write(job, f"photo-{number}.jpg", jpeg(photo.image)),
        "crop": write(job, f"crop-{number}.jpg", jpeg(crop)),
        "grid": geometry.grid[::-1],
        "notes": photo.notes,
        "predictions": [{"name": best.label.name.split(",")[0], "probability": best.probability} for best in row.predictions],
        "neighbours": [{"id": numbers[other], "similarity": float(similarity[other])} for other in nearest],
        "same": [numbers[other] for other, other_row in enumerate(maps.rows) if other_row.sha256 == row.sha256 and other != place],
        "almost": [
            numbers[other] for other, other_row in enumerate(maps.rows) if is_near_duplicate[other] and other_row.sha256 != row.sha256
        ],
    }


def original(jobs: EmbeddingJobs, id: object, number: object) -> str:
    """Write a photo's original file under its own name. Returns: the file's path.

    Raises: UserError where the gallery, the photo or room on the disk is missing.
    """
    job = jobs.get(id)
    _, item = job.row(number)
    data = item.read(jobs.settings)
    return write(job, f"{number}/{clean_name(item.shown).replace('/', '')}", data)


def _colours(jobs: EmbeddingJobs, payload: dict) -> dict:
    """Patch PCA of one or several photos: colours, (photos, rows, columns, 3) uint8, and the foreground mask, in base64."""
    from vitdemo.embeddings.vectors.patches import patch_colours

    tokens = _tokens(jobs, payload)
    colours, foreground = patch_colours(tokens)
    return {
        "shape": tokens.shape[:3],
        "colours": _base64((255 * colours).round().astype(np.uint8)),
        "foreground": _base64(foreground.astype(np.uint8)),
    }


def _alike(jobs: EmbeddingJobs, payload: dict) -> dict:
    """Patch similarity of all patches to one patch of the first photo: (photos, rows, columns) float32 in base64."""
    from vitdemo.embeddings.vectors.patches import correspondence

    tokens = _tokens(jobs, payload)
    place: tuple[Any, Any] = payload.get("row"), payload.get("column")
    if any(type(index) is not int or not 0 <= index < side for index, side in zip(place, tokens.shape[1:3], strict=True)):
        raise UserError("There is no such patch in this photo.")
    return {"shape": tokens.shape[:3], "heats": _base64(correspondence(tokens, 0, *place).astype("<f4"))}


def _tokens(jobs: EmbeddingJobs, payload: dict) -> np.ndarray:
    """The patch tokens of the requested photos and layer. Raises: UserError for too many photos, or an unknown layer."""
    job, ids = jobs.get(payload.get("run")), payload.get("ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_TOGETHER:
        raise UserError(f"Choose from 1 to {MAX_TOGETHER} photos to look at together.")
    if payload.get("layer") not in job.embedded().layers:
        raise UserError("There is no such layer in this model.")
    return jobs.patch_tokens(job, ids, payload["layer"])


def _download(jobs: EmbeddingJobs, payload: dict) -> dict:
    """Write a download. Returns: the file's path and name."""
    job = jobs.get(payload.get("run"))
    return download(jobs, job, key_of(job, payload), str(payload.get("kind")), payload.get("ids"))


def _base64(numbers: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()
