"""Pages with maps of large collections: made by the command line, and opened in the Embeddings tab if the operator keeps some.

A visitor selects a page by its number in the list of the operator's folder, so that no path comes from the browser.
"""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageOps

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.encode import encode
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.prefetch import photos_ahead
from vitdemo.core.photos.remote import is_url
from vitdemo.embeddings.map_command import LargeMap
from vitdemo.embeddings.maps.nearest import outliers
from vitdemo.ui.packing import pack
from vitdemo.ui.tabs.embeddings.downloads import page_of

MAX_POINTS = 200_000  # points on a page
PICTURE_PIXELS = 64  # side of a small picture
MAX_PAGE_BYTES = 200 << 20  # largest page that the tab opens


def page(drawn: LargeMap, pictures: int, settings: Settings) -> str:
    """The map as one self-contained HTML page.

    Args:
        pictures: number of small pictures in the page, of evenly spaced photos; a photo that can't be read any more has none.
    """
    collection, atlas = drawn.collection, drawn.drawn.atlas
    count = len(collection.paths)
    shown = np.sort(np.random.default_rng(atlas.options.seed).permutation(count)[:MAX_POINTS])
    with_picture = set(shown[np.linspace(0, len(shown) - 1, min(pictures, len(shown))).round().astype(int)].tolist()) if pictures else set()
    made_jpegs = _pictures([collection.paths[place] for place in sorted(with_picture)], settings)
    jpegs = dict(zip(sorted(with_picture), made_jpegs, strict=True))
    jpeg_of_point = [jpegs.get(place, b"") for place in shown.tolist()]
    thumbnails, sections = pack(
        {"starts": np.cumsum([0, *map(len, jpeg_of_point)], dtype=np.uint32), "bytes": np.frombuffer(b"".join(jpeg_of_point), np.uint8)}
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
    page_content = {
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
    return page_of(f"{count:,} photos as {about['model']} sees them", page_content)


def _pictures(paths: Sequence[str], settings: Settings) -> list[bytes]:
    """Small square JPEGs of photos; empty for a photo that can't be read."""

    def small(photo: Photo) -> bytes:
        return encode(ImageOps.fit(photo.image, (PICTURE_PIXELS, PICTURE_PIXELS)), "JPEG", quality=75)

    items = [Item(Path(path), path, url=path if is_url(path) else "") for path in paths]
    jpegs: list[bytes] = []
    for photo in photos_ahead(items, small, settings, ahead=64):
        jpegs.append(jpegs[photo.first] if photo.first is not None else photo.made or b"")
    return jpegs


def kept_pages(folder: Path | None) -> list[Path]:
    """The pages in the operator's folder, sorted by name."""
    return sorted(folder.glob("*.html")) if folder else []


def kept(folder: Path | None, number: int) -> str:
    """A page of the list. Raises: UserError for an unknown number, or a page that is too large or unreadable."""
    pages = kept_pages(folder)
    if not 0 <= number < len(pages):
        raise UserError("There is no such map here: reload the page.")
    try:
        if pages[number].stat().st_size > MAX_PAGE_BYTES:
            raise UserError(f"This map has more than {MAX_PAGE_BYTES >> 20} MB: tell the operator to draw it with fewer --pictures.")
        return pages[number].read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError("This map can't be read any more: tell the operator.") from None
