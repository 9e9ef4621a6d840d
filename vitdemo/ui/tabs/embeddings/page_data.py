"""What the page and the files show of an embedded gallery: its photos, its maps, and the pictures of both, as numbers and JSON."""

import io
import json
from typing import TYPE_CHECKING

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.embeddings.maps.atlas import MapOptions
from vitdemo.ui.packing import pack
from vitdemo.ui.server import served_files
from vitdemo.ui.tabs.embeddings.maps import FinishedMap, MapKey
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJob

if TYPE_CHECKING:
    from PIL import Image

    from vitdemo.embeddings.vectors.gallery import EmbeddingRow


def key_of(job: EmbeddingJob, asked: dict) -> MapKey:
    """The map that is asked for. Raises: UserError for one that can't be drawn."""
    layer, pool = asked.get("layer"), asked.get("pool")
    if layer not in job.embedding.layers or isinstance(layer, bool):
        raise UserError(f"Choose a layer from 1 to {job.embedding.layers[-2]}, or {job.embedding.layers[-1]}.")
    if pool not in job.embedding.pools:
        raise UserError(f"Vectors are pooled by {' or '.join(job.embedding.pools)} with this model.")
    numbers = {name: asked.get(name) for name in ("dimensions", "neighbours", "min_dist", "seed")}
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers.values()):
        raise UserError("The map's settings must be numbers: correct the empty one.")
    whole = {name: int(each) for name, each in numbers.items() if name != "min_dist" and each == each and abs(each) < 2**53}
    if any(each != numbers[name] for name, each in whole.items()):
        raise UserError("Neighbours and seed are whole numbers: correct the one that is not.")
    if len(whole) < 3 or numbers["min_dist"] != numbers["min_dist"]:
        raise UserError("The map's settings must be numbers: correct the empty one.")
    return MapKey(layer, pool, MapOptions(min_dist=float(numbers["min_dist"]), metric=str(asked.get("metric")), **whole))


def map_file(job: EmbeddingJob, drawn: FinishedMap) -> dict:
    """A map's numbers in a file, and what else the page says of it."""
    data, sections = pack(map_numbers(drawn))
    options = drawn.key.options
    trust = drawn.atlas.trust
    name = f"map-{drawn.key.layer}-{drawn.key.pool}-{abs(hash(options)):x}.bin"
    return {"path": write(job, name, data), "sections": sections, "names": drawn.names, "dimensions": options.dimensions, "trust": trust}


def map_numbers(drawn: FinishedMap) -> dict[str, np.ndarray]:
    """Row for row: positions, clusters (−1 for none), membership and outlier score."""
    atlas = drawn.atlas
    return {
        "positions": atlas.positions.astype(np.float32),
        "clusters": atlas.clusters.astype(np.int32),
        "membership": atlas.membership.astype(np.float32),
        "remote": drawn.remote,
        "outlying": drawn.outlying.astype(np.uint8),
    }


def photos_file(job: EmbeddingJob) -> dict:
    """What is known of all photos, and their small pictures, in two files; written once."""
    if job.photos is None:
        thumbnails, sections = pack(thumbnail_numbers(job.maps.rows))
        job.photos = {
            "rows": write(job, "photos.json", json.dumps(photo_rows(job)).encode()),
            "thumbnails": write(job, "thumbnails.bin", thumbnails),
            "sections": sections,
        }
    return job.photos


def photo_rows(job: EmbeddingJob) -> list[dict]:
    """The photos that have vectors, each with its number in the gallery."""
    numbers = [number for number, row in enumerate(job.embedding.rows) if row.at is not None]
    return [_photo_row(number, row) for number, row in zip(numbers, job.maps.rows, strict=False)]


def _photo_row(number: int, row: "EmbeddingRow") -> dict:
    best = row.predictions[0] if row.predictions else None
    return {
        "id": number,
        "name": row.path,
        "folder": row.folder,
        "label": best.label.name.split(",")[0] if best else "",
        "probability": best.probability if best else None,
        "duplicate": row.duplicate_of,
    }


def thumbnail_numbers(rows: "list[EmbeddingRow]") -> dict[str, np.ndarray]:
    """The small pictures one after the other, and where each begins; a duplicate has none of its own bytes but the first one's."""
    pictures = [row.thumbnail or b"" for row in rows]
    starts = np.cumsum([0, *map(len, pictures)], dtype=np.uint32)
    return {"starts": starts, "bytes": np.frombuffer(b"".join(pictures), np.uint8)}


def write(job: EmbeddingJob, name: str, data: bytes) -> str:
    """Write a file for the page. Returns its path. Raises: UserError where there is no room for it."""
    return served_files.write(job.folder, name, data, job.settings)


def jpeg(image: "Image.Image") -> bytes:
    """A photo for the page."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()
