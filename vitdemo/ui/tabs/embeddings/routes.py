"""What the Embeddings tab's script asks of the server: progress, maps, scores, one photo and its patches, files to take away."""

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

MAX_ERRORS = 200  # photos that can't be read, whose reasons are sent
NEIGHBOURS = 8  # of a photo, on show
MAX_TOGETHER = 12  # photos whose patches are looked at together
MAX_PIXELS = 640  # pixels of an opened photo's longer side
CROP_PIXELS = 448  # pixels of the model's crop of it, a side
PHASE_TEXTS = {
    "waiting": "Waiting for another gallery's map",
    "starting": "Starting the map's process (once; the first time ever it takes half a minute)",
    "neighbours": "Finding every photo's neighbours",
    "map": "Laying out the map",
    "clusters": "Looking for clusters",
}


def functions(jobs: EmbeddingJobs) -> list[Callable[[dict], dict]]:
    """For `giving.build`: what the script may call."""
    asked = (_poll, _stop, _map, _scores, _photo, _colours, _alike, _download)
    return [named_partial(each, jobs) for each in asked]


def _poll(jobs: EmbeddingJobs, asked: dict) -> dict:
    """How far a gallery is; at the end, where the page finds its photos."""
    job = jobs.get(asked.get("run"))
    over = job.over  # before the rows are counted
    rows = list(job.embedding.rows) if job.embedding else []
    told = {
        "state": job.state,
        "text": job.error or jobs.said(job),
        "model": jobs.title(job),
        "total": len(job.items),
        "done": job.done,
        "wrong": sum(row.error is not None for row in rows),
        "speed": job.speed,
    }
    if over:
        told["errors"] = [{"name": row.path, "error": row.error} for row in rows if row.error][:MAX_ERRORS]
    if over and job.maps:
        told |= {"layers": job.embedding.layers, "pools": job.embedding.pools, "photos": photos_file(job)}
    return told


def _stop(jobs: EmbeddingJobs, asked: dict) -> dict:
    """Keep what is done and do no more: of the photos, or then of the map."""
    job = jobs.get(asked.get("run"))
    if job.over and job.maps:
        job.maps.stop()
    job.stopping.set()
    return {}


def _map(jobs: EmbeddingJobs, asked: dict) -> dict:
    """A map, or how far it is."""
    job = jobs.get(asked.get("run"))
    found = job.mapped().ask(key_of(job, asked))
    if isinstance(found, str):
        raise UserError(found)
    if isinstance(found, FinishedMap):
        return {"map": map_file(job, found)}
    share = found.done / found.total if found.total and found.phase == "map" else None
    return {"text": PHASE_TEXTS.get(found.phase, found.phase), "share": share, "left": found.left if found.phase == "map" else None}


def _scores(jobs: EmbeddingJobs, asked: dict) -> dict:
    """What is known of each layer."""
    job = jobs.get(asked.get("run"))
    key, maps = key_of(job, asked), job.mapped()
    trust = {drawn.key.layer: drawn.atlas.trust for drawn in maps.drawn(key.pool, key.options)}
    scores = maps.scores(key.pool)
    rows = [
        {"layer": layer, "accuracy": each and each.accuracy, "silhouette": each and each.silhouette, "trust": trust.get(layer)}
        for layer, each in zip(job.embedding.layers, scores, strict=True)
    ]
    return {"scores": rows, "complete": None not in scores and maps.idle}


def _photo(jobs: EmbeddingJobs, asked: dict) -> dict:
    """One photo at a readable size, what the model says of it, and its neighbours among the vectors."""
    from vitdemo.embeddings.maps.nearest import NEAR_DUPLICATE, similarities

    job = jobs.get(asked.get("run"))
    number = asked.get("id")
    row, _ = job.row(number)
    key, maps = key_of(job, asked), job.mapped()
    photo = jobs.photo(job, number)
    vit = jobs.vit(job)
    geometry = vit.preprocessing.geometry(photo.image.size, vit.patch)
    numbers = [each["id"] for each in photo_rows(job)]
    place = numbers.index(number)
    vectors = job.embedding.vectors(key.layer, key.pool)
    alike = similarities(vectors, vectors[place])
    alike[place] = -np.inf
    deepest = job.embedding.vectors(job.embedding.layers[-1], key.pool)
    near = similarities(deepest, deepest[place]) >= NEAR_DUPLICATE
    nearest = np.argsort(-alike, kind="stable")[: min(NEIGHBOURS, len(alike) - 1)]
    crop = photo.image.crop(tuple(map(round, geometry.box)))
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
        "predictions": [{"name": each.label.name.split(",")[0], "probability": each.probability} for each in row.predictions],
        "neighbours": [{"id": numbers[each], "similarity": float(alike[each])} for each in nearest],
        "same": [numbers[each] for each, other in enumerate(maps.rows) if other.sha256 == row.sha256 and each != place],
        "almost": [numbers[each] for each, other in enumerate(maps.rows) if near[each] and other.sha256 != row.sha256],
    }


def original(jobs: EmbeddingJobs, id: object, number: object) -> str:
    """The path of a photo's file as it was given, under its own name."""
    job = jobs.get(id)
    _, item = job.row(number)
    data = item.read(jobs.settings)
    return write(job, f"{number}/{clean_name(item.shown).replace('/', '')}", data)


def _colours(jobs: EmbeddingJobs, asked: dict) -> dict:
    """The patches of one photo, or of several together, as colours: (photos, rows, columns, 3) uint8 and the foreground, in base64."""
    from vitdemo.embeddings.vectors.patches import patch_colours

    tokens = _tokens(jobs, asked)
    colours, foreground = patch_colours(tokens)
    return {
        "shape": tokens.shape[:3],
        "colours": _base64((255 * colours).round().astype(np.uint8)),
        "foreground": _base64(foreground.astype(np.uint8)),
    }


def _alike(jobs: EmbeddingJobs, asked: dict) -> dict:
    """How alike every patch of some photos is to one patch of the first of them: (photos, rows, columns) float32 in base64."""
    from vitdemo.embeddings.vectors.patches import correspondence

    tokens = _tokens(jobs, asked)
    place = asked.get("row"), asked.get("column")
    if any(type(each) is not int or not 0 <= each < side for each, side in zip(place, tokens.shape[1:3], strict=True)):
        raise UserError("There is no such patch in this photo.")
    return {"shape": tokens.shape[:3], "heats": _base64(correspondence(tokens, 0, *place).astype("<f4"))}


def _tokens(jobs: EmbeddingJobs, asked: dict) -> np.ndarray:
    job, ids = jobs.get(asked.get("run")), asked.get("ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_TOGETHER:
        raise UserError(f"Choose from 1 to {MAX_TOGETHER} photos to look at together.")
    if asked.get("layer") not in job.embedding.layers:
        raise UserError("There is no such layer in this model.")
    return jobs.patch_tokens(job, ids, asked["layer"])


def _download(jobs: EmbeddingJobs, asked: dict) -> dict:
    """The path of a file to take away."""
    job = jobs.get(asked.get("run"))
    return download(jobs, job, key_of(job, asked), str(asked.get("kind")), asked.get("ids"))


def _base64(numbers: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()
