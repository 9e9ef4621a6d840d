"""Sessions of the Attention tab: one photo under one model, with the files that the page fetches and the data for later requests.

A session keeps no decoded photo and no attention: the trace lies in a cache of limited bytes and is computed again after its eviction, and
a download opens the upload again. So twenty photos take no more memory than three.
"""

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.fair_slots import FairSlots
from vitdemo.ui.server import served_files
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.server.upload import Upload

if TYPE_CHECKING:  # the page opens without torch
    import torch

    from vitdemo.attention.evaluation.table import Table
    from vitdemo.attention.methods.ablation import Head
    from vitdemo.attention.methods.faithfulness import Curve
    from vitdemo.attention.question import Question
    from vitdemo.core.inference.trace import Trace
    from vitdemo.core.inference.trace_cache import TraceCache
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.gallery import Item
    from vitdemo.core.photos.geometry import Geometry
    from vitdemo.core.photos.photo import Photo
    from vitdemo.core.photos.preprocessing import Preprocessing

MAX_PER_VISITOR = 3  # the session on show, its photo's first, and the session that it replaces
MAX_SESSIONS = 200  # of all visitors together
MAX_MAPS = 48  # of classes by a method, which a session keeps, a few kilobytes each
COMPARISONS = 2  # of methods, at work at a time in the whole app
MAX_COPIES = 8  # of a model without some heads; each keeps its traces valid in the cache


@dataclass(eq=False)
class AttentionSession:
    """One photo under one model, with all heads or without some.

    Attributes:
        visitor: the Gradio session of the page.
        model: the selected name, under which the store finds the model again.
        upload: the photo's file.
        photo_id: sha256 of the photo's file.
        tensor: the model input, (3, height, width).
        preprocessing, geometry: how the photo became the tensor.
        off: the heads that are switched off, in order.
        vit_name: the model's full name: `auto` may stand for another model later.
        id: finds the session again; can't be guessed.
        maps: method, gradient and class → (layers, rows, columns), for those used last.
        curves: question → its erase test.
        comparisons: what was asked → the comparison of the methods.
        references: class → the erase curves of the orders that every map is held against, for the classes tested last.
        erasing, comparing: the erase test, and the comparison of methods, that was requested last.
        seen: seconds on the monotonic clock, of the last request.
        lock: guards maps, curves, comparisons, erasing and comparing.
        drawing: held while a file for download is made.
    """

    visitor: str
    model: str
    upload: Upload
    photo_id: str
    tensor: "torch.Tensor"
    preprocessing: "Preprocessing"
    geometry: "Geometry"
    settings: Settings
    off: "tuple[Head, ...]" = ()
    vit_name: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    maps: "OrderedDict[tuple[str, str, int], torch.Tensor]" = field(default_factory=OrderedDict)
    curves: dict = field(default_factory=dict)
    comparisons: dict = field(default_factory=dict)
    references: "OrderedDict[int, dict[str, Curve]]" = field(default_factory=OrderedDict)
    erasing: "EraseTest | None" = None
    comparing: "MethodComparison | None" = None
    seen: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    drawing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """The folder of the session's files: served by Gradio, and named by an id that can't be guessed."""
        return Path(get_upload_folder(), f"attention-{self.id}")

    def without(self, heads: "Iterable[Head]") -> "AttentionSession":
        """A new session of the same photo with these heads switched off."""
        given = (self.visitor, self.model, self.upload, self.photo_id, self.tensor, self.preprocessing, self.geometry, self.settings)
        return AttentionSession(*given, tuple(sorted(set(heads))), self.vit_name)

    def write(self, name: str, data: bytes) -> str:
        """Write a file for the page. Returns: its path. Raises: UserError where there is no room for it."""
        return served_files.write(self.folder, name, data, self.settings)


@dataclass(eq=False)
class EraseTest:
    """One erase test, running or over.

    Attributes:
        question: the tested map.
        curves: "map" or the name of a reference order → its curve, as far as computed.
        order, random: the patches' indices, in the order in which the map and the random order erase them.
        target: the class whose probability is measured.
        error: the reason for a failure, for people.
        over: whether the test has ended.
        stopping: set to stop the test, because another test was requested.
    """

    question: "Question"
    curves: "dict[str, Curve]" = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    random: list[int] = field(default_factory=list)
    target: int = 0
    error: str = ""
    over: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class MethodComparison:
    """One comparison, running or over.

    Attributes:
        session: the photo and its model.
        target: the class; None for the model's top class.
        label: its name, for the session's photo.
        items: photos, and masks, that a visitor gave; None for the session's photo.
        share: how much is done, 0 … 1.
        table: what has been found so far.
        heats: method → its map of the session's photo, in base64; empty for other photos.
        notes: what was left out.
        error: why it failed, for people.
    """

    session: AttentionSession
    target: int | None = None
    items: "list[Item] | None" = None
    label: str = ""
    share: float = 0.0
    table: "Table | None" = None
    heats: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""
    over: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)


class AttentionSessions:
    """All visitors' sessions, the cache of their traces, and the slots for their comparisons."""

    def __init__(self, store: ModelStore):
        self.store = store
        self.comparisons: FairSlots[object] = FairSlots(COMPARISONS, store.settings.max_jobs, "comparisons")
        self._sessions: OrderedDict[str, AttentionSession] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()
        self._traces: TraceCache | None = None
        self._copies: WeakKeyDictionary[Vit, OrderedDict[tuple[Head, ...], Vit]] = WeakKeyDictionary()  # least recently used first
        self._copying = threading.Lock()

    @property
    def traces(self) -> "TraceCache":
        """The cache, created on first use."""
        from vitdemo.core.inference.trace_cache import TraceCache

        with self._lock:
            if self._traces is None:
                self._traces = TraceCache(self.store.settings.trace_cache_mb)
            return self._traces

    def keep(self, session: AttentionSession) -> None:
        """Add a session, and evict the visitor's older sessions, then the least recently used of all."""
        with self._lock:
            self._sessions[session.id] = session
            own = [kept for kept in self._sessions.values() if kept.visitor == session.visitor]
            evicted = own[:-MAX_PER_VISITOR] + list(self._sessions.values())[: max(0, len(self._sessions) - MAX_SESSIONS)]
            self._drop(evicted)

    def get(self, id: object) -> AttentionSession:
        """The session with this id, now marked as used. Raises: UserError where there is none, or none any more."""
        with self._lock:
            session = self._sessions.get(id) if isinstance(id, str) else None
            if session is None:
                raise UserError("This photo is not here any more: give it again.")
            self._sessions.move_to_end(session.id)
            session.seen = time.monotonic()
            served_files.touch((session.folder, session.upload.path))
            return session

    def sweep(self) -> None:
        """Drop sessions that nobody has requested for as long as uploads are kept."""
        oldest = time.monotonic() - 60 * self.store.settings.upload_minutes
        with self._lock:
            self._drop([session for session in self._sessions.values() if session.seen < oldest])

    def leave(self, visitor: str) -> None:
        """Drop the sessions and files of a visitor who has left."""
        with self._lock:
            self._drop([session for session in self._sessions.values() if session.visitor == visitor])

    def vit(self, session: AttentionSession) -> "Vit":
        """The session's model without the heads that are off, loaded again after its eviction.

        Raises: UserError where the model can't be loaded, or does not have these heads.
        """
        from vitdemo.attention.methods.ablation import without_heads

        vit = self.store.get(session.model, session.visitor).result(timeout=60)
        if session.vit_name not in ("", vit.id):
            raise UserError("Another model answers by this name now: give the photo again.")
        if not session.off:
            return vit
        with self._copying:
            copies = self._copies.setdefault(vit, OrderedDict())
            if session.off not in copies:
                copies[session.off] = without_heads(vit, session.off)
            copies.move_to_end(session.off)
            while len(copies) > MAX_COPIES:
                copies.popitem(last=False)
            return copies[session.off]

    def trace(self, session: AttentionSession, vit: "Vit") -> "Trace":
        """The session's trace, from the cache or computed again."""
        return self.traces.get_input(session.photo_id, lambda: session.tensor, vit, self.store.engine, session.preprocessing)

    def photo(self, session: AttentionSession) -> "Photo":
        """Open the upload again at full size. Raises: UserError where the file was removed."""
        from vitdemo.core.photos.photo import open_photo

        return open_photo(session.upload.path, self.store.settings, name=session.upload.name)

    def class_map(self, session: AttentionSession, vit: "Vit", question: "Question", target: int) -> "torch.Tensor":
        """(layers, rows, columns): a class's map by the question's method, cached. Raises: UserError as `question.heats`."""
        from vitdemo.attention import question as questions

        key = question.method, question.gradient, target
        with session.lock:
            if key not in session.maps:
                alone = questions.Question(question.method, target=target, gradient=question.gradient)
                session.maps[key] = questions.heats(alone, self.trace(session, vit), vit, self.store.engine, session.tensor)
                while len(session.maps) > MAX_MAPS:
                    session.maps.popitem(last=False)
            session.maps.move_to_end(key)
            return session.maps[key]

    def heats(self, session: AttentionSession, vit: "Vit", question: "Question") -> "torch.Tensor":
        """(layers, rows, columns): the map that the page shows for a question, at every layer. Raises: UserError as `question.heats`."""
        from vitdemo.attention import question as questions

        trace = self.trace(session, vit)
        if question.method in questions.OF_A_CLASS and question.start_layer == 1:
            question.place(trace)
            target = int(trace.logits.argmax()) if question.target is None else question.target
            found = self.class_map(session, vit, question, target)
            return found if question.other is None else found - self.class_map(session, vit, question, question.other)
        return questions.heats(question, trace, vit, self.store.engine, session.tensor)

    def _drop(self, sessions: list[AttentionSession]) -> None:
        for session in sessions:
            if self._sessions.pop(session.id, None):
                for work in (session.erasing, session.comparing):
                    if work:
                        work.stopping.set()
                shutil.rmtree(session.folder, ignore_errors=True)
