"""What the Embeddings tab's script asks of the server: progress, maps, scores, one photo and its patches, files to take away."""

import base64
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.core.gallery import clean_name
from vitdemo.embeddings.atlas import MapOptions
from vitdemo.ui import served
from vitdemo.ui.embedding_maps import Drawn, MapKey
from vitdemo.ui.embedding_runs import EmbeddingRun, EmbeddingRuns
from vitdemo.ui.guard import bound
from vitdemo.ui.packing import pack

if TYPE_CHECKING:
    from PIL import Image

    from vitdemo.embeddings.gallery import Row

ERRORS = 200  # photos that can't be read, whose reasons are sent
NEIGHBOURS = 8  # of a photo, on show
TOGETHER = 12  # photos whose patches are looked at together
LONGEST = 640  # pixels of an opened photo's longer side
CROP = 448  # pixels of the model's crop of it, a side
PHASES = {
    "waiting": "Waiting for another gallery's map",
    "starting": "Starting the map's process (once; the first time ever it takes half a minute)",
    "neighbours": "Finding every photo's neighbours",
    "map": "Laying out the map",
    "clusters": "Looking for clusters",
}


def functions(runs: EmbeddingRuns) -> list[Callable[[dict], dict]]:
    """For `giving.build`: what the script may call."""
    asked = (_poll, _stop, _map, _scores, _photo, _colours, _alike, _download)
    return [bound(each, runs) for each in asked]


def _poll(runs: EmbeddingRuns, asked: dict) -> dict:
    """How far a gallery is; at the end, where the page finds its photos."""
    run = runs.get(asked.get("run"))
    over = run.over  # before the rows are counted
    rows = list(run.embedding.rows) if run.embedding else []
    told = {
        "state": run.state,
        "text": run.error or runs.said(run),
        "model": runs.title(run),
        "total": len(run.items),
        "done": run.done,
        "wrong": sum(row.error is not None for row in rows),
        "speed": run.speed,
    }
    if over:
        told["errors"] = [{"name": row.path, "error": row.error} for row in rows if row.error][:ERRORS]
    if over and run.maps:
        told |= {"layers": run.embedding.layers, "pools": run.embedding.pools, "photos": photos_file(run)}
    return told


def _stop(runs: EmbeddingRuns, asked: dict) -> dict:
    """Keep what is done and do no more: of the photos, or then of the map."""
    run = runs.get(asked.get("run"))
    if run.over and run.maps:
        run.maps.stop()
    run.stopping.set()
    return {}


def _map(runs: EmbeddingRuns, asked: dict) -> dict:
    """A map, or how far it is."""
    run = runs.get(asked.get("run"))
    found = run.mapped().ask(key_of(run, asked))
    if isinstance(found, str):
        raise UserError(found)
    if isinstance(found, Drawn):
        return {"map": map_file(run, found)}
    share = found.done / found.total if found.total and found.phase == "map" else None
    return {"text": PHASES.get(found.phase, found.phase), "share": share, "left": found.left if found.phase == "map" else None}


def key_of(run: EmbeddingRun, asked: dict) -> MapKey:
    """The map that is asked for. Raises: UserError for one that can't be drawn."""
    layer, pool = asked.get("layer"), asked.get("pool")
    if layer not in run.embedding.layers or isinstance(layer, bool):
        raise UserError(f"Choose a layer from 1 to {run.embedding.layers[-2]}, or {run.embedding.layers[-1]}.")
    if pool not in run.embedding.pools:
        raise UserError(f"Vectors are pooled by {' or '.join(run.embedding.pools)} with this model.")
    numbers = {name: asked.get(name) for name in ("dimensions", "neighbours", "min_dist", "seed")}
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers.values()):
        raise UserError("The map's settings must be numbers: correct the empty one.")
    whole = {name: int(each) for name, each in numbers.items() if name != "min_dist" and each == each and abs(each) < 2**53}
    if any(each != numbers[name] for name, each in whole.items()):
        raise UserError("Neighbours and seed are whole numbers: correct the one that is not.")
    if len(whole) < 3 or numbers["min_dist"] != numbers["min_dist"]:
        raise UserError("The map's settings must be numbers: correct the empty one.")
    return MapKey(layer, pool, MapOptions(min_dist=float(numbers["min_dist"]), metric=str(asked.get("metric")), **whole))


def map_file(run: EmbeddingRun, drawn: Drawn) -> dict:
    """A map's numbers in a file, and what else the page says of it."""
    data, sections = pack(map_numbers(drawn))
    options = drawn.key.options
    trust = drawn.atlas.trust
    name = f"map-{drawn.key.layer}-{drawn.key.pool}-{abs(hash(options)):x}.bin"
    return {"path": write(run, name, data), "sections": sections, "names": drawn.names, "dimensions": options.dimensions, "trust": trust}


def map_numbers(drawn: Drawn) -> dict[str, np.ndarray]:
    """Row for row: positions, clusters (−1 for none), membership and outlier score."""
    atlas = drawn.atlas
    return {
        "positions": atlas.positions.astype(np.float32),
        "clusters": atlas.clusters.astype(np.int32),
        "membership": atlas.membership.astype(np.float32),
        "remote": drawn.remote,
        "outlying": drawn.outlying.astype(np.uint8),
    }


def photos_file(run: EmbeddingRun) -> dict:
    """What is known of all photos, and their small pictures, in two files; written once."""
    if run.photos is None:
        thumbnails, sections = pack(thumbnail_numbers(run.maps.rows))
        run.photos = {
            "rows": write(run, "photos.json", json.dumps(photo_rows(run)).encode()),
            "thumbnails": write(run, "thumbnails.bin", thumbnails),
            "sections": sections,
        }
    return run.photos


def photo_rows(run: EmbeddingRun) -> list[dict]:
    """The photos that have vectors, each with its number in the gallery."""
    numbers = [number for number, row in enumerate(run.embedding.rows) if row.at is not None]
    return [_photo_row(number, row) for number, row in zip(numbers, run.maps.rows, strict=False)]


def _photo_row(number: int, row: "Row") -> dict:
    best = row.predictions[0] if row.predictions else None
    return {
        "id": number,
        "name": row.path,
        "folder": row.folder,
        "label": best.label.name.split(",")[0] if best else "",
        "probability": best.probability if best else None,
        "duplicate": row.duplicate_of,
    }


def thumbnail_numbers(rows: "list[Row]") -> dict[str, np.ndarray]:
    """The small pictures one after the other, and where each begins; a duplicate has none of its own bytes but the first one's."""
    pictures = [row.thumbnail or b"" for row in rows]
    starts = np.cumsum([0, *map(len, pictures)], dtype=np.uint32)
    return {"starts": starts, "bytes": np.frombuffer(b"".join(pictures), np.uint8)}


def _scores(runs: EmbeddingRuns, asked: dict) -> dict:
    """What is known of each layer."""
    run = runs.get(asked.get("run"))
    key, maps = key_of(run, asked), run.mapped()
    trust = {drawn.key.layer: drawn.atlas.trust for drawn in maps.drawn(key.pool, key.options)}
    scores = maps.scores(key.pool)
    rows = [
        {"layer": layer, "accuracy": each and each.accuracy, "silhouette": each and each.silhouette, "trust": trust.get(layer)}
        for layer, each in zip(run.embedding.layers, scores, strict=True)
    ]
    return {"scores": rows, "complete": None not in scores and maps.idle}


def _photo(runs: EmbeddingRuns, asked: dict) -> dict:
    """One photo at a readable size, what the model says of it, and its neighbours among the vectors."""
    from vitdemo.embeddings.nearest import NEAR_DUPLICATE, similarities

    run = runs.get(asked.get("run"))
    number = asked.get("id")
    row, _ = run.row(number)
    key, maps = key_of(run, asked), run.mapped()
    photo = runs.photo(run, number)
    vit = runs.vit(run)
    geometry = vit.preprocessing.geometry(photo.image.size, vit.patch)
    numbers = [each["id"] for each in photo_rows(run)]
    place = numbers.index(number)
    vectors = run.embedding.vectors(key.layer, key.pool)
    alike = similarities(vectors, vectors[place])
    alike[place] = -np.inf
    deepest = run.embedding.vectors(run.embedding.layers[-1], key.pool)
    near = similarities(deepest, deepest[place]) >= NEAR_DUPLICATE
    nearest = np.argsort(-alike, kind="stable")[: min(NEIGHBOURS, len(alike) - 1)]
    crop = photo.image.crop(tuple(map(round, geometry.box)))
    crop.thumbnail((CROP, CROP))
    photo.image.thumbnail((LONGEST, LONGEST))
    return {
        "name": row.path,
        "folder": row.folder,
        "duplicate": row.duplicate_of,
        "photo": write(run, f"photo-{number}.jpg", _jpeg(photo.image)),
        "crop": write(run, f"crop-{number}.jpg", _jpeg(crop)),
        "grid": geometry.grid[::-1],
        "notes": photo.notes,
        "predictions": [{"name": each.label.name.split(",")[0], "probability": each.probability} for each in row.predictions],
        "neighbours": [{"id": numbers[each], "similarity": float(alike[each])} for each in nearest],
        "same": [numbers[each] for each, other in enumerate(maps.rows) if other.sha256 == row.sha256 and each != place],
        "almost": [numbers[each] for each, other in enumerate(maps.rows) if near[each] and other.sha256 != row.sha256],
    }


def original(runs: EmbeddingRuns, id: object, number: object) -> str:
    """The path of a photo's file as it was given, under its own name."""
    run = runs.get(id)
    _, item = run.row(number)
    data = item.read(runs.settings)
    return write(run, f"{number}/{clean_name(item.shown).replace('/', '')}", data)


def _colours(runs: EmbeddingRuns, asked: dict) -> dict:
    """The patches of one photo, or of several together, as colours: (photos, rows, columns, 3) uint8 and the foreground, in base64."""
    from vitdemo.embeddings.patches import patch_colours

    tokens = _tokens(runs, asked)
    colours, foreground = patch_colours(tokens)
    return {
        "shape": tokens.shape[:3],
        "colours": _base64((255 * colours).round().astype(np.uint8)),
        "foreground": _base64(foreground.astype(np.uint8)),
    }


def _alike(runs: EmbeddingRuns, asked: dict) -> dict:
    """How alike every patch of some photos is to one patch of the first of them: (photos, rows, columns) float32 in base64."""
    from vitdemo.embeddings.patches import correspondence

    tokens = _tokens(runs, asked)
    place = asked.get("row"), asked.get("column")
    if any(type(each) is not int or not 0 <= each < side for each, side in zip(place, tokens.shape[1:3], strict=True)):
        raise UserError("There is no such patch in this photo.")
    return {"shape": tokens.shape[:3], "heats": _base64(correspondence(tokens, 0, *place).astype("<f4"))}


def _tokens(runs: EmbeddingRuns, asked: dict) -> np.ndarray:
    run, ids = runs.get(asked.get("run")), asked.get("ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= TOGETHER:
        raise UserError(f"Choose from 1 to {TOGETHER} photos to look at together.")
    if asked.get("layer") not in run.embedding.layers:
        raise UserError("There is no such layer in this model.")
    return runs.patch_tokens(run, ids, asked["layer"])


def _download(runs: EmbeddingRuns, asked: dict) -> dict:
    """The path of a file to take away."""
    from vitdemo.ui.embedding_downloads import download

    run = runs.get(asked.get("run"))
    return download(runs, run, key_of(run, asked), str(asked.get("kind")), asked.get("ids"))


def write(run: EmbeddingRun, name: str, data: bytes) -> str:
    """Write a file for the page. Returns its path. Raises: UserError where there is no room for it."""
    return served.write(run.folder, name, data, run.settings)


def _jpeg(image: "Image.Image") -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def _base64(numbers: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()
