"""Downloads of the Attention tab: the overlay, all layers, an animation, the numbers, and a Python snippet for the same map."""

import io
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from vitdemo.core.errors import UserError
from vitdemo.core.memory import Budget
from vitdemo.core.names import file_name
from vitdemo.ui.tabs.attention.sessions import AttentionSession, AttentionSessions

if TYPE_CHECKING:
    import torch

    from vitdemo.attention.drawing.render import OverlayStyle
    from vitdemo.attention.question import Question
    from vitdemo.core.inference.trace import Trace
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.geometry import Geometry
    from vitdemo.core.photos.photo import Photo

KINDS = {"png": "overlay.png", "layers": "layers.png", "gif": "layers.gif", "webp": "layers.webp", "npz": "maps.npz", "python": ""}

_pixel_budget = Budget(64_000_000, most=8)  # pixels drawn on at the same time; each takes ten bytes or more meanwhile


@dataclass
class Made:
    """A file's path and the name to save it under, or the text of a snippet."""

    path: str = ""
    name: str = ""
    text: str = ""


def download(sessions: AttentionSessions, session: AttentionSession, asked: dict[str, Any], kind: str) -> Made:
    """Make a file of one of KINDS for the map on show, or its snippet.

    Args:
        asked: the map and the style in which the page draws it.

    Raises: UserError for an unknown kind, and where a file of this session or too many files are being made.
    """
    import torch

    from vitdemo.attention.drawing.render import without_peaks
    from vitdemo.attention.files import npz_of, numbers_of
    from vitdemo.attention.question import OF_A_CLASS, Question, title
    from vitdemo.attention.snippet import snippet
    from vitdemo.core.models.snippet import weights_of

    question = Question.parse(asked)
    if kind not in KINDS:
        raise UserError(f"There is no such download: choose {', '.join(KINDS)}.")
    vit = sessions.vit(session)
    trace = sessions.trace(session, vit)
    if kind == "python":
        weights = weights_of(session.model, vit, sessions.store.settings)
        return Made(text=snippet(question, trace, vit, session.preprocessing, photo=session.upload.name, off=session.off, **weights))
    heats = sessions.heats(session, vit, question)
    if asked.get("artefacts") is not True and question.method not in OF_A_CLASS and kind != "npz":
        heats = _without_artefacts(heats, trace)
    if asked.get("even") and not question.signed and kind != "npz":
        heats = torch.from_numpy(without_peaks(heats.numpy()))
    style, caption = style_of(asked, question.signed), title(question, trace, vit)
    without = f"without {len(session.off)} head{'s' * (len(session.off) > 1)}" if session.off else ""
    caption = ", ".join(filter(None, (caption, without)))
    locked = asked.get("locked") is True
    with _one_at_a_time(session), drawing(session.geometry):
        if kind == "npz":
            data = npz_of(numbers_of(question, heats, trace, vit, sessions.store.engine, session.geometry, session.off))
        else:
            data = picture_of(kind, question, heats, trace, session.geometry, sessions.photo(session), style, caption, locked=locked)
    words = (session.upload.name.rsplit(".", 1)[0], vit.full_title, *_words_of(question, trace, vit, kind), without)
    return Made(session.write(KINDS[kind], data), f"{file_name(*words)}-{KINDS[kind]}")


def _words_of(question: "Question", trace: "Trace", vit: "Vit", kind: str) -> Iterator[str]:
    """What tells this map from the others of the photo, for a file's name: method, class or patch, head, and the layer of an overlay."""
    from vitdemo.attention.question import OF_A_CLASS, OF_A_GRADIENT, OF_A_PATCH

    yield question.method
    if question.method in OF_A_CLASS:
        if question.method in OF_A_GRADIENT and question.gradient == "plain":
            yield "plain"
        yield vit.labels[int(trace.logits.argmax()) if question.target is None else question.target].short
        if question.other is not None:
            yield f"minus {vit.labels[question.other].short}"
    else:
        if question.method in OF_A_PATCH and question.patch:
            yield "row {} column {}".format(*(place + 1 for place in question.patch))
        if question.head != "mean":
            yield f"head {question.head}" if isinstance(question.head, int) else question.head
    if kind == "png":
        yield f"layer {question.layer or trace.layers}"


def _without_artefacts(heats: "torch.Tensor", trace: "Trace") -> "torch.Tensor":
    """The maps, (layers, rows, columns), as the page shows them by default."""
    import torch

    from vitdemo.attention.methods.artefacts import Artefacts, without_artefacts
    from vitdemo.ui.tabs.attention.page_data import artefacts_by_layer

    masks = artefacts_by_layer(trace)[-len(heats) :]
    return torch.stack([without_artefacts(heat, Artefacts(0, mask)) for heat, mask in zip(heats, masks, strict=True)])


def drawing(geometry: "Geometry") -> AbstractContextManager[None]:
    """Reserve memory to open a photo at full size and draw on it. Raises: UserError where too many wait for memory."""
    return _pixel_budget.room_for(math.prod(geometry.photo))


@contextmanager
def _one_at_a_time(session: AttentionSession) -> Iterator[None]:
    """Allow one file of a session at a time. Raises: UserError where another file is being made."""
    if not session.drawing.acquire(blocking=False):
        raise UserError("A file of this photo is being made: wait for it, then ask again.")
    try:
        yield
    finally:
        session.drawing.release()


def picture_of(
    kind: str,
    question: "Question",
    heats: "torch.Tensor",
    trace: "Trace",
    geometry: "Geometry",
    photo: "Photo",
    look: "OverlayStyle",
    words: str,
    *,
    locked: bool = False,
) -> bytes:
    """Make one picture of the requested map.

    Args:
        kind: one of KINDS, except npz and python.
        heats: the question's maps, (layers, rows, columns).
        photo: the upright original.
        words: the title of the sheet with all layers.
        locked: whether the colours have one span for all layers, as in the sheet and the animation of a difference.
    """
    from vitdemo.attention.drawing import figures, render

    place, signed = question.place(trace), question.signed
    file = io.BytesIO()
    drawn = heats.numpy()
    spanned = drawn[place] if kind == "png" and not locked else drawn
    span = render.even_span(spanned) if signed else render.span_of(spanned) if locked else None
    if kind == "png":
        render.overlay(photo.image, drawn[place], geometry, look, span=span).save(file, "PNG", compress_level=1)
    elif kind == "layers":
        sheet = figures.all_layers(photo.image, drawn, geometry, look, title=words, first_layer=question.first_layer, span=span)
        sheet.save(file, "PNG")
    else:
        frames = figures.layer_frames(photo.image, drawn, geometry, look, first_layer=question.first_layer, span=span)
        return figures.animation(frames, cast(Literal["gif", "webp"], kind))
    return file.getvalue()


def style_of(asked: dict[str, Any], signed: bool = False) -> "OverlayStyle":
    """The style in which the page draws the map. Raises: UserError for an invalid opacity or colour map."""
    from vitdemo.attention.drawing.render import DIFFERENCE, OverlayStyle

    opacity = asked.get("opacity", OverlayStyle.opacity)
    if isinstance(opacity, bool) or not isinstance(opacity, int | float):
        raise UserError("The opacity must be a number from 0 to 1.")
    colours = DIFFERENCE if signed else str(asked.get("colours", "inferno"))
    return OverlayStyle(colours, float(opacity), bool(asked.get("smooth", True)), bool(asked.get("flat", False)))
