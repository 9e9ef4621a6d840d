"""Downloads of the Embeddings tab: vectors with their map as NPZ, CSV or Parquet, and the map as a self-contained HTML page."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.ui.packing import pack
from vitdemo.ui.tabs.embeddings.maps import FinishedMap, GalleryMaps, MapKey
from vitdemo.ui.tabs.embeddings.page_data import map_numbers, photo_rows, thumbnail_numbers
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJob, EmbeddingJobs
from vitdemo.ui.templating import bundled, html, static_text

KINDS = ("npz", "csv", "parquet", "html")
NEAREST = 10  # neighbours per photo in the files


def download(jobs: EmbeddingJobs, job: EmbeddingJob, key: MapKey, kind: str, ids: Any = None) -> Path:
    """Write a download of one of KINDS. Returns: the file's path.

    Args:
        ids: the numbers of the selected photos in the gallery; None for all photos.

    Raises: UserError for an unknown kind, a selection without photos, or a map that is not finished.
    """
    if kind not in KINDS:
        raise UserError(f"There is no such download: choose {', '.join(KINDS)}.")
    drawn = job.mapped().ask(key)
    if not isinstance(drawn, FinishedMap):
        raise UserError("This map is not finished yet: wait for it, then download it.")
    parts = ["selection" if kind != "html" and ids is not None else "", "embeddings"]
    path = job.folder / f"{_file_name(jobs, job, key, *parts)}.{kind}"
    if kind == "html":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(jobs.title(job), job, drawn), "utf-8")
    else:
        _write(path, job, job.mapped(), drawn, ids)
    return path


def picture_name(jobs: EmbeddingJobs, job: EmbeddingJob, key: MapKey) -> str:
    """The name, without its suffix, of a picture that the page makes of a map."""
    return _file_name(jobs, job, key, "map")


def _file_name(jobs: EmbeddingJobs, job: EmbeddingJob, key: MapKey, *parts: str) -> str:
    return job.file_name(jobs.title(job), f"layer-{key.layer}", key.pool, *parts)


def _write(path, job: EmbeddingJob, maps: GalleryMaps, drawn: FinishedMap, ids: Any) -> None:
    from vitdemo.embeddings.files import Mapped, write_vectors
    from vitdemo.embeddings.maps.nearest import nearest

    embedding, key, atlas = job.embedded(), drawn.key, drawn.atlas
    vectors = embedding.vectors(key.layer, key.pool)[: len(maps.rows)]
    neighbours, distances = nearest(vectors, NEAREST)
    rows = embedding.rows
    places = np.arange(len(maps.rows))
    if ids is not None:
        numbers = [number for number, row in enumerate(rows) if row.at is not None]
        if not isinstance(ids, list) or not (selected := set(ids) & set(numbers)):
            raise UserError("No photos are selected: draw a lasso or a box around some.")
        places = np.array([place for place, number in enumerate(numbers) if number in selected])
        rows = [rows[number] for number in numbers if number in selected]
    names = [[maps.rows[other].path for other in neighbours[place]] for place in places]
    selected_atlas = replace(atlas, positions=atlas.positions[places], clusters=atlas.clusters[places], membership=atlas.membership[places])
    write_vectors(
        path,
        rows,
        vectors[places],
        model=embedding.model,
        layer=key.layer,
        pooling=key.pool,
        mapped=Mapped(selected_atlas, drawn.names, names, distances[places]),
    )


def page(model: str, job: EmbeddingJob, drawn: FinishedMap) -> str:
    """The map as one self-contained HTML page, with the app's own script, the finished maps of all layers, and the thumbnails."""
    maps = job.mapped()
    layers = maps.drawn(drawn.key.pool, drawn.key.options)
    thumbnails, sections = pack(thumbnail_numbers(maps.rows))
    page_content = {
        "model": model,
        "pool": drawn.key.pool,
        "layer": drawn.key.layer,
        "rows": photo_rows(job),
        "thumbnails": {"data": base64.b64encode(thumbnails).decode(), "sections": sections},
        "maps": [_embedded(layer_map, map_numbers(layer_map)) for layer_map in layers],
    }
    return page_of(f"{len(maps.rows):,} photos as {model} sees them", page_content)


def page_of(title: str, told: dict) -> str:
    """The HTML page that static/photo_map/page.js fills with `told`, the data of the page as JSON."""
    return html(
        "photo_map/page",
        title=title,
        style=static_text("photo_map/map.css"),
        markup=static_text("photo_map/map.html", "photo_map/layers.html"),
        script=bundled("photo_map/page"),
        told=as_script(told),
    )


def _embedded(drawn: FinishedMap, numbers: dict[str, np.ndarray]) -> dict:
    """One layer's map as JSON, with its numbers in base64."""
    data, sections = pack(numbers)
    options = drawn.key.options
    return {
        "layer": drawn.key.layer,
        "data": base64.b64encode(data).decode(),
        "sections": sections,
        "names": drawn.names,
        "dimensions": options.dimensions,
        "trust": drawn.atlas.trust,
    }


def as_script(value: Any) -> str:
    """JSON that is safe inside a <script>: no file name in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
