"""Data of an embedded gallery for the page and the downloads: photos, maps and thumbnails, as arrays and JSON."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.core.names import one_spelling, shown_path
from vitdemo.embeddings.maps.atlas import MapOptions
from vitdemo.ui.packing import pack
from vitdemo.ui.server import served_files
from vitdemo.ui.tabs.embeddings.maps import FinishedMap, MapKey
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJob

if TYPE_CHECKING:
    from vitdemo.embeddings.vectors.gallery import EmbeddingRow


def key_of(job: EmbeddingJob, asked: dict) -> MapKey:
    """The key of the requested map.

    Raises: UserError for an unknown layer or pooling, options that are not valid numbers, or a gallery whose work has not begun.
    """
    layers, pools = job.embedded().layers, job.embedded().pools
    layer: Any = asked.get("layer")
    pool: Any = asked.get("pool")
    if layer not in layers or isinstance(layer, bool):
        raise UserError(f"Choose a layer from 1 to {layers[-2]}, or {layers[-1]}.")
    if pool not in pools:
        raise UserError(f"Vectors are pooled by {' or '.join(pools)} with this model.")
    numbers: dict[str, Any] = {name: asked.get(name) for name in ("dimensions", "neighbours", "min_dist", "seed")}
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in numbers.values()):
        raise UserError("The map's settings must be numbers: correct the empty one.")
    integers = {name: int(value) for name, value in numbers.items() if name != "min_dist" and value == value and abs(value) < 2**53}
    if any(value != numbers[name] for name, value in integers.items()):
        raise UserError("Neighbours and seed are whole numbers: correct the one that is not.")
    if len(integers) < 3 or numbers["min_dist"] != numbers["min_dist"]:
        raise UserError("The map's settings must be numbers: correct the empty one.")
    return MapKey(layer, pool, MapOptions(min_dist=float(numbers["min_dist"]), metric=str(asked.get("metric")), **integers))


def map_file(job: EmbeddingJob, drawn: FinishedMap) -> dict:
    """Write a map's numbers to a file. Returns: the file's path and sections, and the map's other data for the page.

    Raises: UserError where the disk has no room for the file.
    """
    data, sections = pack(map_numbers(drawn))
    options = drawn.key.options
    trust = drawn.atlas.trust
    name = f"map-{drawn.key.layer}-{drawn.key.pool}-{abs(hash(options)):x}.bin"
    return {"path": write(job, name, data), "sections": sections, "names": drawn.names, "dimensions": options.dimensions, "trust": trust}


def map_numbers(drawn: FinishedMap) -> dict[str, np.ndarray]:
    """The map as arrays, row for row: positions, clusters (−1 for unclustered), membership, outlier scores and outliers."""
    atlas = drawn.atlas
    return {
        "positions": atlas.positions.astype(np.float32),
        "clusters": atlas.clusters.astype(np.int32),
        "membership": atlas.membership.astype(np.float32),
        "remote": drawn.remote,
        "outlying": drawn.outlying.astype(np.uint8),
    }


def photos_file(job: EmbeddingJob) -> dict:
    """Write the rows and the thumbnails of all photos to two files, once. Returns: the files' paths and sections.

    Raises: UserError where the disk has no room for the files.
    """
    if job.photos is None:
        thumbnails, sections = pack(thumbnail_numbers(job.mapped().rows))
        job.photos = {
            "rows": write(job, "photos.json", json.dumps(photo_rows(job)).encode()),
            "thumbnails": write(job, "thumbnails.bin", thumbnails),
            "sections": sections,
        }
    return job.photos


def photo_rows(job: EmbeddingJob) -> list[dict]:
    """The photos with vectors as JSON, each with its number in the gallery as `id`."""
    numbers = [number for number, row in enumerate(job.embedded().rows) if row.at is not None]
    return [_photo_row(number, row, job.title(row.folder)) for number, row in zip(numbers, job.mapped().rows, strict=False)]


def _photo_row(number: int, row: "EmbeddingRow", folder: str) -> dict:
    best = row.predictions[0] if row.predictions else None
    return {
        "id": number,
        "name": shown_path(row.path),
        "folder": one_spelling(folder),  # the page has one colour for each
        "label": best.label.short if best else "",
        "probability": best.probability if best else None,
        "duplicate": row.duplicate_of,
    }


def thumbnail_numbers(rows: "list[EmbeddingRow]") -> dict[str, np.ndarray]:
    """All thumbnails in one array of bytes, and the position where each starts; a duplicate has a copy of the first photo's."""
    thumbnails = [row.thumbnail or b"" for row in rows]
    starts = np.cumsum([0, *map(len, thumbnails)], dtype=np.uint32)
    return {"starts": starts, "bytes": np.frombuffer(b"".join(thumbnails), np.uint8)}


def write(job: EmbeddingJob, name: str, data: bytes) -> str:
    """Write a file for the page. Returns: the file's path. Raises: UserError where the disk has no room for the file."""
    return served_files.write(job.folder, name, data, job.settings)
