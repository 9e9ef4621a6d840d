"""Maps of large collections: made a page of their own for the command line, and opened in the Embeddings tab where the operator keeps some.

A visitor chooses such a page from the list of those in the operator's folder, by its number: no path comes from the browser.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageOps

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.prefetch import photos_ahead
from vitdemo.core.photos.remote import is_url
from vitdemo.embeddings.map_command import LargeMap
from vitdemo.embeddings.maps.nearest import outliers
from vitdemo.ui.packing import pack
from vitdemo.ui.tabs.embeddings.downloads import page_of

MAX_POINTS = 200_000  # points of a page
PICTURE_PIXELS = 64  # pixels a side
MAX_PAGE_BYTES = 200 << 20  # bytes of a page that the tab opens


def page(drawn: LargeMap, pictures: int, settings: Settings) -> str:
    """The map as one HTML page that needs nothing else.

    Args:
        pictures: how many photos, spread evenly, have a small picture in it; those that can't be read any more have none.
    """
    collection, atlas = drawn.collection, drawn.drawn.atlas
    count = len(collection.paths)
    shown = np.sort(np.random.default_rng(atlas.options.seed).permutation(count)[:MAX_POINTS])
    with_picture = set(shown[np.linspace(0, len(shown) - 1, min(pictures, len(shown))).round().astype(int)].tolist()) if pictures else set()
    made = _pictures([collection.paths[place] for place in sorted(with_picture)], settings)
    jpegs = dict(zip(sorted(with_picture), made, strict=True))
    small = [jpegs.get(place, b"") for place in shown.tolist()]
    thumbnails, sections = pack(
        {"starts": np.cumsum([0, *map(len, small)], dtype=np.uint32), "bytes": np.frombuffer(b"".join(small), np.uint8)}
    )
    numbers, map_sections = pack(
        {
            "positions": atlas.positions[shown],
            "clusters": atlas.clusters[shown],
            "membership": atlas.membership[shown],
            "remote": drawn.remote[shown].astype(np.float32),
            "outlying": outliers(drawn.remote)[shown].astype(np.uint8),
        }
    )
    labels, about = collection.labels, collection.about
    layer = about["layer"] if about["layer"] == "final" else int(about["layer"])
    rows = [
        {
            "id": place,
            "name": collection.paths[place],
            "folder": labels[place],
            "label": collection.predictions[place],
            "probability": float(collection.probabilities[place]) if collection.predictions[place] else None,
            "duplicate": None,
        }
        for place in shown.tolist()
    ]
    told = {
        "model": about["model"],
        "pool": about["pooling"],
        "layer": layer,
        "note": drawn.said + ("" if len(shown) == count else f"; {len(shown):,} of them, drawn at random, are on show"),
        "rows": rows,
        "thumbnails": {"data": base64.b64encode(thumbnails).decode(), "sections": sections},
        "maps": [
            {
                "layer": layer,
                "data": base64.b64encode(numbers).decode(),
                "sections": map_sections,
                "names": drawn.names,
                "dimensions": atlas.options.dimensions,
                "trust": atlas.trust,
            }
        ],
    }
    return page_of(f"{count:,} photos as {about['model']} sees them", told)


def _pictures(paths: Sequence[str], settings: Settings) -> list[bytes]:
    """Small square JPEGs, empty where a photo is not to be had."""

    def small(photo: Photo) -> bytes:
        file = io.BytesIO()
        ImageOps.fit(photo.image, (PICTURE_PIXELS, PICTURE_PIXELS)).save(file, "JPEG", quality=75)
        return file.getvalue()

    items = [Item(Path(path), path, url=path if is_url(path) else "") for path in paths]
    made: list[bytes] = []
    for each in photos_ahead(items, small, settings, ahead=64):
        made.append(made[each.first] if each.first is not None else each.made or b"")
    return made


def kept_pages(folder: Path | None) -> list[Path]:
    """The pages that lie in the operator's folder, by name."""
    return sorted(folder.glob("*.html")) if folder else []


def kept(folder: Path | None, asked: dict) -> dict:
    """One of these pages. Raises: UserError for none of them."""
    pages, number = kept_pages(folder), asked.get("number")
    if type(number) is not int or not 0 <= number < len(pages):
        raise UserError("There is no such map here: reload the page.")
    try:
        if pages[number].stat().st_size > MAX_PAGE_BYTES:
            raise UserError(f"This map has more than {MAX_PAGE_BYTES >> 20} MB: tell the operator to draw it with fewer --pictures.")
        return {"page": pages[number].read_text("utf-8")}
    except (OSError, UnicodeDecodeError):
        raise UserError("This map can't be read any more: tell the operator.") from None
