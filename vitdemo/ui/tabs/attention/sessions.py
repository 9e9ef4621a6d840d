"""One photo under one model in the Attention tab: what the page needs of it, in files that the page fetches, and what it may ask later.

A Scene keeps no decoded photo and no attention: the trace lies in the byte-bounded cache and is made again if it has gone from there, and
the upload is opened again for a download. So twenty photos take no more memory than three.
"""

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.ui.server import served_files
from vitdemo.ui.server.upload import Upload

if TYPE_CHECKING:  # the page opens without torch
    import torch

    from vitdemo.attention.methods.faithfulness import Curve
    from vitdemo.attention.question import Question
    from vitdemo.core.inference.trace import Trace
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.geometry import Geometry
    from vitdemo.core.photos.photo import Photo
    from vitdemo.core.photos.preprocessing import Preprocessing

MAX_PER_VISITOR = 2  # scenes kept for a visitor: the one on show, and the one that it replaces
MAX_SESSIONS = 200  # scenes kept in all
MAX_CLASSES = 16  # classes whose relevance a scene keeps, a few kilobytes each


@dataclass(eq=False)
class AttentionSession:
    """One photo under one model.

    Attributes:
        model: the name that was chosen, from which the store gives the model again.
        tensor: the model input, (3, height, width).
        photo_id: sha256 of the photo's file.
        relevance: class → (layers, rows, columns), the latest few.
        curves: an erase test's question → its curves by name.
        drawing: held while a file is made to take away.
    """

    visitor: str
    model: str
    upload: Upload
    photo_id: str
    tensor: "torch.Tensor"
    preprocessing: "Preprocessing"
    geometry: "Geometry"
    settings: Settings
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    relevance: OrderedDict[int, "torch.Tensor"] = field(default_factory=OrderedDict)
    curves: dict = field(default_factory=dict)
    erasing: "EraseTest | None" = None
    seen: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    drawing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Where its files lie: served by Gradio, and named by an id that can't be guessed."""
        return Path(get_upload_folder(), f"attention-{self.id}")

    def write(self, name: str, data: bytes) -> str:
        """Write a file for the page. Returns its path. Raises: UserError where there is no room for it."""
        return served_files.write(self.folder, name, data, self.settings)


@dataclass(eq=False)
class EraseTest:
    """An erase test at work: its curves so far, and whether somebody asked for another one meanwhile."""

    question: "Question"
    curves: "dict[str, Curve]" = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    random: list[int] = field(default_factory=list)
    target: int = 0
    error: str = ""
    over: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)


class AttentionSessions:
    """All scenes of all visitors, and the traces they stand on."""

    def __init__(self, store: ModelStore):
        self.store = store
        self._sessions: OrderedDict[str, AttentionSession] = OrderedDict()  # the longest unused first
        self._lock = threading.Lock()
        self._traces = None

    @property
    def traces(self):
        """The TraceCache, made on first use."""
        from vitdemo.core.inference.trace_cache import TraceCache

        with self._lock:
            if self._traces is None:
                self._traces = TraceCache(self.store.settings.trace_cache_mb)
            return self._traces

    def keep(self, session: AttentionSession) -> None:
        """Take a scene in; the visitor's older ones go."""
        with self._lock:
            self._sessions[session.id] = session
            own = [each for each in self._sessions.values() if each.visitor == session.visitor]
            gone = own[:-MAX_PER_VISITOR] + list(self._sessions.values())[: max(0, len(self._sessions) - MAX_SESSIONS)]
            self._drop(gone)

    def get(self, id: object) -> AttentionSession:
        """Raises: UserError where there is no such scene, or no more."""
        with self._lock:
            session = self._sessions.get(id) if isinstance(id, str) else None
            if session is None:
                raise UserError("This photo is not here any more: give it again.")
            self._sessions.move_to_end(session.id)
            session.seen = time.monotonic()
            served_files.touch((session.folder, session.upload.path))
            return session

    def sweep(self) -> None:
        """Drop what nobody has asked for as long as uploads are kept."""
        oldest = time.monotonic() - 60 * self.store.settings.upload_minutes
        with self._lock:
            self._drop([each for each in self._sessions.values() if each.seen < oldest])

    def leave(self, visitor: str) -> None:
        """The visitor has gone, and their files with them."""
        with self._lock:
            self._drop([each for each in self._sessions.values() if each.visitor == visitor])

    def vit(self, session: AttentionSession) -> "Vit":
        """The scene's model, which may have to be loaded again. Raises: UserError where that fails."""
        return self.store.get(session.model, session.visitor).result(timeout=60)

    def trace(self, session: AttentionSession, vit: "Vit") -> "Trace":
        """The scene's trace, from the cache or made again."""
        return self.traces.get_input(session.photo_id, lambda: session.tensor, vit, self.store.engine, session.preprocessing)

    def photo(self, session: AttentionSession) -> "Photo":
        """The upload, opened again at full size. Raises: UserError where it has gone."""
        from vitdemo.core.photos.photo import open_photo

        return open_photo(session.upload.path, self.store.settings, name=session.upload.name)

    def relevance(self, session: AttentionSession, vit: "Vit", target: int) -> "torch.Tensor":
        """(layers, rows, columns) for one class: a forward and a backward pass, once. Raises: UserError for a class that is not there."""
        from vitdemo.attention.methods.gradients import attention_gradient
        from vitdemo.attention.methods.maps import relevances

        with session.lock:
            if target not in session.relevance:
                gradient = attention_gradient(vit, self.store.engine, session.tensor, target)
                session.relevance[target] = relevances(self.trace(session, vit), gradient)
                while len(session.relevance) > MAX_CLASSES:
                    session.relevance.popitem(last=False)
            session.relevance.move_to_end(target)
            return session.relevance[target]

    def heats(self, session: AttentionSession, vit: "Vit", question: "Question") -> "torch.Tensor":
        """(layers, rows, columns): what the page shows for a question, at every layer. Raises: UserError as `question.heats`."""
        from vitdemo.attention import question as questions

        trace = self.trace(session, vit)
        if question.method == "relevance" and question.start_layer == 1:
            question.place(trace)
            target = int(trace.logits.argmax()) if question.target is None else question.target
            found = self.relevance(session, vit, target)
            return found if question.other is None else found - self.relevance(session, vit, question.other)
        return questions.heats(question, trace, questions.gradient_of(vit, self.store.engine, session.tensor))

    def _drop(self, sessions: list[AttentionSession]) -> None:
        for each in sessions:
            if self._sessions.pop(each.id, None):
                if each.erasing:
                    each.erasing.stopping.set()
                shutil.rmtree(each.folder, ignore_errors=True)
