"""Galleries being classified: each in a thread of its own, found again by its id after a reload, forgotten in time."""

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from vitdemo.core.errors import UserError
from vitdemo.core.store import ModelStore
from vitdemo.ui.guard import sentence
from vitdemo.ui.model_header import title_of, waiting

if TYPE_CHECKING:
    from vitdemo.classify.gallery import Row
    from vitdemo.classify.scores import Scores
    from vitdemo.core.gallery import Item
    from vitdemo.core.store import Loading

AT_ONCE = 2  # galleries at work; the others wait in line
HOLD_AGAIN = 20  # seconds after which a gallery at work says again that it needs its model
OVER = ("done", "stopped", "failed")
MOST = 200  # galleries remembered
MOST_ROWS = 200_000  # in all of them: about 3 KB each
log = logging.getLogger(__name__)


@dataclass(eq=False)
class GalleryRun:
    """One gallery on its way through the model. `rows` only grows, and holds what is done, whatever became of the rest.

    Attributes:
        top: classes kept of each photo.
        state: `waiting` in line, `loading` the model, `running`, then `done`, `stopped` or `failed`.
        error: why it failed, for people.
        thumbnails: whether its rows get them.
        loading: its model while it works. It is let go at the end, or a remembered gallery would keep the weights in memory.
        classifier: its model's full name, once that is known.
        named: what its model's classes may be called by a folder.
        began, ended: seconds on the monotonic clock; `began` when the first photo could go.
    """

    items: list["Item"]
    model: str
    visitor: str
    top: int
    id: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    state: str = "waiting"
    error: str = ""
    rows: list["Row"] = field(default_factory=list)
    thumbnails: bool = True
    loading: "Loading | None" = None
    classifier: str = ""
    named: dict[str, frozenset[int]] = field(default_factory=dict)
    scores: "Scores | None" = None
    began: float = 0.0
    ended: float = 0.0
    seen: float = field(default_factory=time.monotonic)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def speed(self) -> float:
        """Photos per second, so far."""
        seconds = (self.ended or time.monotonic()) - self.began
        return len(self.rows) / seconds if self.rows and seconds > 0 else 0.0

    def right(self, row: "Row") -> bool | None:
        """Whether the first class is the one that the photo's folder names; None where it names none."""
        from vitdemo.core.labels import plain

        meant = self.named.get(plain(row.folder))
        return row.predictions[0].label.index in meant if meant else None

    @property
    def folder(self) -> Path:
        """Where its downloads lie: served by Gradio, and named by an id that can't be guessed."""
        return Path(get_upload_folder(), f"gallery-{self.id}")


class GalleryRuns:
    """All galleries of all visitors."""

    def __init__(self, store: ModelStore):
        self.settings = store.settings
        self._store = store
        self._runs: dict[str, GalleryRun] = {}
        self._line: list[GalleryRun] = []
        self._changed = threading.Condition()

    def start(self, items: list["Item"], model: str, visitor: str, top: int = 5, *, thumbnails: bool = True) -> GalleryRun:
        """Begin with a gallery, or queue it up. The visitor's earlier gallery, if it is still at work, gives way.

        Raises: UserError where too many wait already.
        """
        self._forget()
        run = GalleryRun(items, model, visitor, top, thumbnails=thumbnails)
        with self._changed:
            if len(self._line) >= self.settings.max_queue:
                raise UserError(f"The app is busy: {len(self._line)} galleries are waiting. Try again in a few minutes.")
            for other in self._runs.values():
                if visitor and other.visitor == visitor:
                    other.stopping.set()
            self._runs[run.id] = run
            self._line.append(run)
        threading.Thread(target=self._work, args=(run,), name="gallery", daemon=True).start()
        return run

    def get(self, id: object) -> GalleryRun:
        """Raises: UserError where there is no such gallery, or no more."""
        run = self._runs.get(id) if isinstance(id, str) else None
        if run is None:
            raise UserError("This gallery is not here any more: give the photos again.")
        run.seen = time.monotonic()
        return run

    def drop(self, run: GalleryRun) -> None:
        """Stop it, and remember it no more."""
        run.stopping.set()
        with self._changed:
            self._runs.pop(run.id, None)

    def place(self, run: GalleryRun) -> int:
        """How many are before it in the line."""
        with self._changed:
            return max(0, self._line.index(run) - AT_ONCE + 1) if run in self._line else 0

    def _work(self, run: GalleryRun) -> None:
        with self._changed:
            while run not in self._line[:AT_ONCE] and not run.stopping.is_set():
                self._changed.wait(0.5)
        try:
            if not run.stopping.is_set():
                self._classify(run)
            run.state = "stopped" if run.stopping.is_set() and len(run.rows) < len(run.items) else "done"
        except Exception as error:
            run.error, run.state = sentence(error), "failed"
        finally:
            run.ended = time.monotonic()
            run.loading = None
            self._store.leave(run.id)
            with self._changed:
                self._line.remove(run)
                self._changed.notify_all()

    def _classify(self, run: GalleryRun) -> None:
        held = time.monotonic()
        loading = run.loading = self._store.get(run.model, run.id)  # held for the gallery: its visitor may look at another model meanwhile
        run.state = "loading"
        while not loading.done.wait(0.2):
            if run.stopping.is_set():
                return

        from vitdemo.classify.gallery import classify_gallery
        from vitdemo.classify.scores import score
        from vitdemo.core.labels import classes_named

        vit = loading.result()
        run.classifier = vit.name
        run.named = classes_named(vit.labels)
        run.began, run.state = time.monotonic(), "running"
        rows: Iterator[Row] = classify_gallery(run.items, vit, self._store.engine, self.settings, top=run.top, thumbnails=run.thumbnails)
        for row in rows:
            run.rows.append(row)
            if time.monotonic() - held > HOLD_AGAIN:
                held = time.monotonic()
                self._store.get(run.model, run.id)
            if run.stopping.is_set():
                rows.close()
                break
        run.scores = score(run.rows, vit.labels)

    def said(self, run: GalleryRun) -> str:
        """What it is doing, in words."""
        if run.state == "waiting":
            return f"Waiting for {self.place(run)} other galleries …" if self.place(run) > 1 else "Waiting for another gallery …"
        if run.state == "loading" and (loading := run.loading):
            return waiting(loading)[0]
        return ""

    def title(self, run: GalleryRun) -> str:
        """What people call its model."""
        return title_of(run.classifier or run.model)

    def _forget(self) -> None:
        """Drop what nobody has looked at for as long as uploads are kept, and the oldest of too many."""
        now, keep = time.monotonic(), 60 * self.settings.upload_minutes
        with self._changed:
            over = sorted((run for run in self._runs.values() if run.over), key=lambda run: run.seen)
            surplus = len(self._runs) + 1 - MOST
            rows = sum(len(run.rows) for run in self._runs.values())
            for index, run in enumerate(over):
                if now - run.seen > keep or index < surplus or rows > MOST_ROWS:
                    rows -= len(run.rows)
                    del self._runs[run.id]
                    shutil.rmtree(run.folder, ignore_errors=True)
