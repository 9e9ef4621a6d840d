"""Make a session from a photo, and the data that the page draws: one forward pass of the model, then numbers in a file."""

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.photos.encode import encode
from vitdemo.ui.components.preprocessing_panel import changed_note
from vitdemo.ui.components.samples import note_on
from vitdemo.ui.packing import pack
from vitdemo.ui.server.upload import Upload
from vitdemo.ui.tabs.attention.sessions import AttentionSession, AttentionSessions

if TYPE_CHECKING:
    import torch

    from vitdemo.attention.methods.maps import Fusion
    from vitdemo.core.inference.trace import Trace
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.geometry import Geometry
    from vitdemo.core.photos.preprocessing import Preprocessing

MAX_PIXELS = 1200  # of the longer side of the photo on the page
MAX_ASPECT = 3  # longer side ÷ shorter side; a photo above this is shown around its crop only
TOP_CLASSES = 5
LENS_CLASSES = 3  # of each layer, in the table


def page_data(sessions: AttentionSessions, visitor: str, model: str, vit: "Vit", upload: Upload, preprocessing: "Preprocessing") -> dict:
    """Open the photo, run the model once, and write the files that the page needs to draw on its own.

    Returns: the object for the page's script. Raises: UserError for a bad file, or a model whose attention can't be read.
    """
    from vitdemo.attention.drawing.render import COLOURS, DIFFERENCE, lookup_table, unseen_note
    from vitdemo.core.inference.trace import check_room
    from vitdemo.core.photos.photo import open_photo

    store = sessions.store
    check_room(vit, preprocessing.size, store.settings.trace_cache_mb)  # refuses before the photo is decoded
    photo = open_photo(upload.path, store.settings, name=upload.name)
    geometry = preprocessing.geometry(photo.image.size, vit.patch)
    given = (visitor, model, upload, photo.id, preprocessing(photo.image), preprocessing, geometry, store.settings)
    session = AttentionSession(*given, vit_name=vit.id)
    trace = sessions.trace(session, vit)
    tables = {f"colours-{name}": lookup_table(name) for name in (*COLOURS, DIFFERENCE)}
    window = window_of(geometry)
    shown = _shrunk(photo.image.crop(window))
    part = (
        None if window == (0, 0, *photo.image.size) else "Here you see the crop and its surroundings; the downloads have the whole photo."
    )
    state = {
        "state": "ready",
        "photo_id": photo.id,
        "name": photo.name,
        "model": vit.full_title,
        "notes": [
            *photo.notes,
            *note_on(photo.id, vit),
            *changed_note(preprocessing, vit.preprocessing),
            *filter(None, (vit.ood.note(trace.features) if vit.ood else "", unseen_note(geometry), part)),
        ],
        "photo": session.write("photo.jpg", encode(shown, "JPEG", quality=92)),
        "geometry": placed(geometry, window),
        "layers": trace.layers,
        "heads": trace.heads,
        "prefix": trace.prefix,
        "tokens": trace.attention.shape[-1],
        "cls": trace.has_cls,
        "patch": vit.patch,
        "headsOff": bool(vit.labels),
        **answer_data(sessions, session, vit, tables),
    }
    sessions.keep(session)
    return state


def answer_data(sessions: AttentionSessions, session: AttentionSession, vit: "Vit", tables: dict[str, np.ndarray] | None = None) -> dict:
    """What changes with the heads that are off: the session's id, the file of numbers, and the leading classes.

    Args:
        tables: more arrays for the file.
    """
    trace = sessions.trace(session, vit)
    maps, sections = pack(numbers_of(trace) | (tables or {}))
    answers = _answers(sessions.store, vit, trace)
    return {"session": session.id, "maps": session.write("maps.bin", maps), "sections": sections, **answers}


def numbers_of(trace: "Trace") -> dict[str, np.ndarray]:
    """What the page draws without further requests, by name: CLS maps of all heads, rollout, each head's entropy and mean
    distance, the artefacts in each layer's attention, and every patch's attention.
    """
    import torch

    from vitdemo.attention.methods import heads, maps

    return {
        "heads": maps.cls_attention(trace).flatten(2).numpy(),  # (L, H, P)
        "rollout": maps.rollouts(trace).flatten(1).numpy(),  # (L, P)
        "entropy": heads.entropy(trace).numpy(),  # (L, H)
        "distance": heads.distance(trace).numpy(),
        "artefacts": artefacts_by_layer(trace).flatten(1).to(torch.uint8).numpy(),  # (L, P)
        **head_numbers(trace, "mean"),
    }


def artefacts_by_layer(trace: "Trace") -> "torch.Tensor":
    """The artefacts among what each layer's attention takes from, (layers, rows, columns) bool: none before they have become long."""
    import torch

    from vitdemo.attention.methods.artefacts import OUTLIER, find_artefacts
    from vitdemo.attention.methods.heads import norms

    mask, lengths = find_artefacts(trace).mask, [norms(trace, layer) for layer in range(1, trace.layers)]
    return torch.stack([torch.zeros(trace.grid, dtype=torch.bool), *(mask & (each > OUTLIER * each.median()) for each in lengths)])


def head_numbers(trace: "Trace", head: "int | Fusion") -> dict[str, np.ndarray]:
    """The attention of one head, or of all heads fused, for the page to hover over: (L, N, N) levels, and each row's minimum and scale."""
    from vitdemo.attention.methods.heads import head_levels

    attention = head_levels(trace, head)
    return {"links": attention.levels.numpy(), "low": attention.low.numpy(), "scale": attention.scale.numpy()}


def window_of(geometry: "Geometry") -> tuple[int, int, int, int]:
    """The part of the photo that the page shows: left, top, right and bottom in pixels.

    The page shows the whole photo, or of a slender photo the crop and as much again on either side.
    """
    width, height = geometry.photo
    if max(width, height) <= MAX_ASPECT * min(width, height):
        return 0, 0, width, height
    left, top, right, bottom = geometry.box
    across, down = right - left, bottom - top
    return (
        max(0, round(left - across)),
        max(0, round(top - down)),
        min(width, round(right + across)),
        min(height, round(bottom + down)),
    )


def placed(geometry: "Geometry", window: tuple[int, int, int, int]) -> dict[str, Any]:
    """The position of the crop and its patches on the shown part of the photo: as in Geometry, but from the window's corner."""
    scale = [resized / photo for resized, photo in zip(geometry.resized, geometry.photo, strict=True)]
    size = window[2] - window[0], window[3] - window[1]
    return {
        "box": [edge - window[index % 2] for index, edge in enumerate(geometry.box)],
        "grid": geometry.grid,
        "seen": geometry.seen,
        "photo": size,
        "resized": [length * factor for length, factor in zip(size, scale, strict=True)],
        "offset": [offset - corner * factor for offset, corner, factor in zip(geometry.offset, window, scale, strict=False)],
        "patch": geometry.patch,
    }


def class_row(vit: "Vit", index: int, probability: float) -> dict[str, Any]:
    """One class as the page shows it."""
    return {"index": index, "name": vit.labels[index].short, "probability": probability}


def _answers(store: ModelStore, vit: "Vit", trace: "Trace") -> dict[str, Any]:
    """The top classes, and the top class and the first few after each layer (logit lens); empty for a model without classes."""
    from vitdemo.attention.methods.heads import logit_lens

    if not vit.labels:
        return {"top": [], "lens": [], "firsts": []}
    values, indices = trace.logits.softmax(-1).topk(min(TOP_CLASSES, len(vit.labels)))
    lens = logit_lens(trace, vit, store.engine).softmax(-1).topk(min(LENS_CLASSES, len(vit.labels)))
    firsts = [_rows(vit, *layer) for layer in zip(lens.indices, lens.values, strict=True)]
    return {"top": _rows(vit, indices, values), "lens": [layer[0] for layer in firsts], "firsts": firsts}


def _rows(vit: "Vit", indices: "torch.Tensor", values: "torch.Tensor") -> list[dict]:
    return [class_row(vit, index, value) for index, value in zip(indices.tolist(), values.tolist(), strict=True)]


def _shrunk(image: Image.Image) -> Image.Image:
    scale = min(1, MAX_PIXELS / max(image.size))
    return image if scale == 1 else image.resize([max(1, round(side * scale)) for side in image.size], reducing_gap=2)
