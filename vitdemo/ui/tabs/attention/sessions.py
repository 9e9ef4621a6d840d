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
from vitdemo.core.store import ModelStore
from vitdemo.ui import served
from vitdemo.ui.upload import Upload

if TYPE_CHECKING:  # the page opens without torch
    import torch

    from vitdemo.attention.faithfulness import Curve
    from vitdemo.attention.question import Question
    from vitdemo.core.geometry import Geometry
    from vitdemo.core.models import Vit
    from vitdemo.core.photos import Photo
    from vitdemo.core.preprocessing import Preprocessing
    from vitdemo.core.trace import Trace

EACH = 2  # scenes kept for a visitor: the one on show, and the one that it replaces
ALL = 200  # scenes kept in all
CLASSES = 16  # classes whose relevance a scene keeps, a few kilobytes each


@dataclass(eq=False)
class Scene:
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
    erasing: "ErasingState | None" = None
    seen: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    drawing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Where its files lie: served by Gradio, and named by an id that can't be guessed."""
        return Path(get_upload_folder(), f"attention-{self.id}")

    def write(self, name: str, data: bytes) -> str:
        """Write a file for the page. Returns its path. Raises: UserError where there is no room for it."""
        return served.write(self.folder, name, data, self.settings)


@dataclass(eq=False)
class ErasingState:
    """An erase test at work: its curves so far, and whether somebody asked for another one meanwhile."""

    question: "Question"
    curves: "dict[str, Curve]" = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    random: list[int] = field(default_factory=list)
    target: int = 0
    error: str = ""
    over: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)


class Scenes:
    """All scenes of all visitors, and the traces they stand on."""

    def __init__(self, store: ModelStore):
        self.store = store
        self._scenes: OrderedDict[str, Scene] = OrderedDict()  # the longest unused first
        self._lock = threading.Lock()
        self._traces = None

    @property
    def traces(self):
        """The TraceCache, made on first use."""
        from vitdemo.core.trace_cache import TraceCache

        with self._lock:
            if self._traces is None:
                self._traces = TraceCache(self.store.settings.trace_cache_mb)
            return self._traces

    def keep(self, scene: Scene) -> None:
        """Take a scene in; the visitor's older ones go."""
        with self._lock:
            self._scenes[scene.id] = scene
            own = [each for each in self._scenes.values() if each.visitor == scene.visitor]
            gone = own[:-EACH] + list(self._scenes.values())[: max(0, len(self._scenes) - ALL)]
            self._drop(gone)

    def get(self, id: object) -> Scene:
        """Raises: UserError where there is no such scene, or no more."""
        with self._lock:
            scene = self._scenes.get(id) if isinstance(id, str) else None
            if scene is None:
                raise UserError("This photo is not here any more: give it again.")
            self._scenes.move_to_end(scene.id)
            scene.seen = time.monotonic()
            served.touch((scene.folder, scene.upload.path))
            return scene

    def sweep(self) -> None:
        """Drop what nobody has asked for as long as uploads are kept."""
        oldest = time.monotonic() - 60 * self.store.settings.upload_minutes
        with self._lock:
            self._drop([each for each in self._scenes.values() if each.seen < oldest])

    def leave(self, visitor: str) -> None:
        """The visitor has gone, and their files with them."""
        with self._lock:
            self._drop([each for each in self._scenes.values() if each.visitor == visitor])

    def vit(self, scene: Scene) -> "Vit":
        """The scene's model, which may have to be loaded again. Raises: UserError where that fails."""
        return self.store.get(scene.model, scene.visitor).result(timeout=60)

    def trace(self, scene: Scene, vit: "Vit") -> "Trace":
        """The scene's trace, from the cache or made again."""
        return self.traces.get_input(scene.photo_id, lambda: scene.tensor, vit, self.store.engine, scene.preprocessing)

    def photo(self, scene: Scene) -> "Photo":
        """The upload, opened again at full size. Raises: UserError where it has gone."""
        from vitdemo.core.photos import open_photo

        return open_photo(scene.upload.path, self.store.settings, name=scene.upload.name)

    def relevance(self, scene: Scene, vit: "Vit", target: int) -> "torch.Tensor":
        """(layers, rows, columns) for one class: a forward and a backward pass, once. Raises: UserError for a class that is not there."""
        from vitdemo.attention.gradients import attention_gradient
        from vitdemo.attention.maps import relevances

        with scene.lock:
            if target not in scene.relevance:
                gradient = attention_gradient(vit, self.store.engine, scene.tensor, target)
                scene.relevance[target] = relevances(self.trace(scene, vit), gradient)
                while len(scene.relevance) > CLASSES:
                    scene.relevance.popitem(last=False)
            scene.relevance.move_to_end(target)
            return scene.relevance[target]

    def heats(self, scene: Scene, vit: "Vit", question: "Question") -> "torch.Tensor":
        """(layers, rows, columns): what the page shows for a question, at every layer. Raises: UserError as `question.heats`."""
        from vitdemo.attention import question as questions

        trace = self.trace(scene, vit)
        if question.method == "relevance" and question.start_layer == 1:
            question.place(trace)
            target = int(trace.logits.argmax()) if question.target is None else question.target
            found = self.relevance(scene, vit, target)
            return found if question.other is None else found - self.relevance(scene, vit, question.other)
        return questions.heats(question, trace, questions.gradient_of(vit, self.store.engine, scene.tensor))

    def _drop(self, scenes: list[Scene]) -> None:
        for each in scenes:
            if self._scenes.pop(each.id, None):
                if each.erasing:
                    each.erasing.stopping.set()
                shutil.rmtree(each.folder, ignore_errors=True)
