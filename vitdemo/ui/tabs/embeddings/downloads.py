"""What the Embeddings tab gives to take away: vectors with their map as NPZ, CSV or Parquet, and the map as a page that opens anywhere."""

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np

from vitdemo.core.errors import UserError
from vitdemo.ui.embedding_maps import Drawn, MapKey, Maps
from vitdemo.ui.embedding_runs import EmbeddingRun, EmbeddingRuns
from vitdemo.ui.packing import pack
from vitdemo.ui.render import WEB, html

KINDS = ("npz", "csv", "parquet", "html")
NEAREST = 10  # neighbours named of each photo
SCRIPTS = (
    "map_camera",
    "map_thumbnails",
    "map_colours",
    "map_pixels",
    "map_paint",
    "map",
    "map_hand",
    "map_panel",
    "map_layers",
    "map_page",
)


def download(runs: EmbeddingRuns, run: EmbeddingRun, key: MapKey, kind: str, ids: Any = None) -> dict:
    """A file of one of KINDS, of all photos, or of those with some numbers in the gallery. Returns: {path, name}.

    Raises: UserError for another kind, no such photos, or a map that is not finished.
    """
    if kind not in KINDS:
        raise UserError(f"There is no such download: choose {', '.join(KINDS)}.")
    drawn = run.mapped().ask(key)
    if not isinstance(drawn, Drawn):
        raise UserError("This map is not finished yet: wait for it, then take it away.")
    stem = f"embeddings-{key.layer}-{key.pool}"
    if kind == "html":
        path = run.folder / f"{stem}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(runs.title(run), run, drawn), "utf-8")
    else:
        path = run.folder / f"{stem}{'' if ids is None else '-selection'}.{kind}"
        _write(path, run, run.maps, drawn, ids)
    return {"path": str(path), "name": path.name}


def _write(path, run: EmbeddingRun, maps: Maps, drawn: Drawn, ids: Any) -> None:
    from vitdemo.embeddings.files import Mapped, write_vectors
    from vitdemo.embeddings.nearest import nearest

    key, atlas = drawn.key, drawn.atlas
    vectors = run.embedding.vectors(key.layer, key.pool)[: len(maps.rows)]
    near, _ = nearest(vectors, NEAREST)
    rows = run.embedding.rows
    places = np.arange(len(maps.rows))
    if ids is not None:
        numbers = [number for number, row in enumerate(rows) if row.at is not None]
        if not isinstance(ids, list) or not (chosen := set(ids) & set(numbers)):
            raise UserError("No photos are chosen: draw a lasso or a box around some.")
        places = np.array([place for place, number in enumerate(numbers) if number in chosen])
        rows = [rows[number] for number in numbers if number in chosen]
    names = [[maps.rows[other].path for other in near[place]] for place in places]
    part = replace(atlas, positions=atlas.positions[places], clusters=atlas.clusters[places], membership=atlas.membership[places])
    write_vectors(
        path,
        rows,
        vectors[places],
        model=run.embedding.model,
        layer=key.layer,
        pooling=key.pool,
        mapped=Mapped(part, drawn.names, names),
    )


def page(model: str, run: EmbeddingRun, drawn: Drawn) -> str:
    """The map as one HTML page that needs nothing else: this app's own script, the numbers of all layers that are drawn, and the photos."""
    from vitdemo.ui.embedding_answers import map_numbers, photo_rows, thumbnail_numbers

    layers = run.maps.drawn(drawn.key.pool, drawn.key.options)
    thumbnails, sections = pack(thumbnail_numbers(run.maps.rows))
    told = {
        "model": model,
        "pool": drawn.key.pool,
        "layer": drawn.key.layer,
        "rows": photo_rows(run),
        "thumbnails": {"data": base64.b64encode(thumbnails).decode(), "sections": sections},
        "maps": [_embedded(each, map_numbers(each)) for each in layers],
    }
    return page_of(f"{len(run.maps.rows):,} photos as {model} sees them", told)


def page_of(title: str, told: dict) -> str:
    """The page that web/map_page.js makes of what it is told."""
    return html(
        "map_page",
        title=title,
        style=(WEB / "map.css").read_text("utf-8"),
        markup="\n".join((WEB / f"{name}.html").read_text("utf-8") for name in ("map", "map_layers")),
        script="\n".join((WEB / f"{name}.js").read_text("utf-8") for name in SCRIPTS),
        told=as_script(told),
    )


def _embedded(drawn: Drawn, numbers: dict[str, np.ndarray]) -> dict:
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
    """JSON that can stand inside a <script>: nothing in it ends the element or begins a comment, whatever names it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for each in "<>&\u2028\u2029":
        text = text.replace(each, f"\\u{ord(each):04x}")
    return text
