"""Galleries at work: each in a thread of its own, in line, found again by its id after a reload, forgotten in time."""

import logging
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from gradio.utils import get_upload_folder

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.store import ModelStore
from vitdemo.ui.guard import sentence
from vitdemo.ui.model_header import title_of, waiting
from vitdemo.ui.served import RECENT, touch

if TYPE_CHECKING:
    from vitdemo.core.gallery import Item
    from vitdemo.core.models import Vit
    from vitdemo.core.store import Loading

log = logging.getLogger(__name__)
AT_ONCE = 2  # galleries at work; the others wait in line
HOLD_AGAIN = 20  # seconds after which a gallery at work says again that it needs its model
PATIENCE = 600  # seconds that work may go on with nobody looking while others wait in line,
GONE = 60  # and with its page closed, unless its visitor comes back to it in another one
OVER = ("done", "stopped", "failed")
MOST = 200  # galleries remembered
KINDS = 3  # of results that share the memory for them: classified galleries, embedded ones, and what is to be learned


@dataclass(eq=False)
class Run:
    """One gallery on its way through a model.

    Attributes:
        state: `waiting` in line, `loading` the model, `running`, then `done`, `stopped` or `failed`.
        error: why it failed, for people.
        loading: its model while it works. It is let go at the end, or a remembered gallery would keep the weights in memory.
        titled: its model's full name, once that is known.
        held, began, ended: seconds on the monotonic clock; `began` when the first photo could go, `held` when it last asked for its model.
        seen, left: the same, when its page last asked for it, and was closed.
    """

    items: list["Item"]
    model: str
    visitor: str
    settings: Settings
    id: str = field(default_factory=lambda: secrets.token_urlsafe(24), kw_only=True)
    state: str = field(default="waiting", kw_only=True)
    error: str = field(default="", kw_only=True)
    loading: "Loading | None" = field(default=None, kw_only=True)
    titled: str = field(default="", kw_only=True)
    held: float = field(default=0.0, kw_only=True)
    began: float = field(default=0.0, kw_only=True)
    ended: float = field(default=0.0, kw_only=True)
    seen: float = field(default_factory=time.monotonic, kw_only=True)
    left: float = field(default=0.0, kw_only=True)
    stopping: threading.Event = field(default_factory=threading.Event, kw_only=True)

    @property
    def done(self) -> int:
        """Photos that are through, with or without an answer."""
        raise NotImplementedError

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def unseen(self) -> bool:
        """Whether nobody looks at it any more, so that it gives way to others."""
        return self.closed or time.monotonic() - self.seen > PATIENCE

    @property
    def closed(self) -> bool:
        """Whether its page was closed, and no other one has asked for it since."""
        return self.seen < self.left < time.monotonic() - GONE

    @property
    def speed(self) -> float:
        """Photos per second, so far."""
        seconds = (self.ended or time.monotonic()) - self.began
        return self.done / seconds if self.done and seconds > 0 else 0.0

    @property
    def folder(self) -> Path:
        """Where its files lie: served by Gradio, and named by an id that can't be guessed."""
        return Path(get_upload_folder(), f"gallery-{self.id}")

    @property
    def paths(self) -> list[Path]:
        """What it needs as long as it is here."""
        return [self.folder, *(item.path for item in self.items)]

    def forget(self, *, keep_files: bool = False) -> None:
        """It is not needed any more."""
        self.stopping.set()
        if not keep_files:
            shutil.rmtree(self.folder, ignore_errors=True)


def most_rows(settings: Settings, row_bytes: int) -> int:
    """Photos whose results are remembered in all galleries of one kind, where a photo takes so many bytes."""
    return settings.results_mb * 1_000_000 // KINDS // row_bytes


R = TypeVar("R", bound=Run)


class Runs(Generic[R]):
    """All galleries of all visitors, of one kind of work.

    Attributes:
        row_bytes: memory that a photo's results take.
    """

    row_bytes: int

    def __init__(self, store: ModelStore):
        self.settings = store.settings
        self._store = store
        self._runs: dict[str, R] = {}
        self._line: list[R] = []
        self._changed = threading.Condition()
        self.most_rows = most_rows(self.settings, self.row_bytes)

    def _process(self, run: R, vit: "Vit") -> None:
        """The work itself, until it is done or `run.stopping` is set; `_hold` is called now and then."""
        raise NotImplementedError

    def _begin(self, run: R) -> R:
        """Begin with a gallery, or queue it up. The visitor's earlier gallery, if it is still at work, gives way.

        Raises: UserError where too many wait already.
        """
        self._make_room(len(run.items))
        with self._changed:
            taken = sum(len(each.items) for each in self._runs.values())
            if taken and taken + len(run.items) > self.most_rows:
                raise UserError("The app is busy with other visitors' photos: give fewer, or try again in a few minutes.")
            if (waiting := len(self._line[AT_ONCE:])) >= self.settings.max_queue:
                are = "gallery is" if waiting == 1 else "galleries are"
                raise UserError(f"The app is busy: {waiting} {are} waiting. Try again in a few minutes.")
            for other in self._runs.values():
                if run.visitor and other.visitor == run.visitor:
                    other.stopping.set()
            self._runs[run.id] = run
            self._line.append(run)
        threading.Thread(target=self._work, args=(run,), name="gallery", daemon=True).start()
        return run

    def get(self, id: object) -> R:
        """Raises: UserError where there is no such gallery, or no more."""
        run = self._runs.get(id) if isinstance(id, str) else None
        if run is None:
            raise UserError("This gallery is not here any more: give the photos again.")
        run.seen = time.monotonic()
        return run

    def attach(self, id: object, visitor: str) -> None:
        """The visitor has reloaded the page, and is another one for Gradio. Raises: as `get`."""
        self.get(id).visitor = visitor

    def leave(self, visitor: str) -> None:
        """The visitor has closed the page: unless they come back for them at once, their galleries give way to others."""
        for run in list(self._runs.values()):
            if visitor and run.visitor == visitor:
                run.left = time.monotonic()

    def drop(self, run: R, *, keep_files: bool = False) -> None:
        """Stop it, and remember it no more."""
        with self._changed:
            self._runs.pop(run.id, None)
        run.forget(keep_files=keep_files)

    @property
    def busy(self) -> bool:
        """Whether any gallery waits or is at work."""
        return any(not run.over for run in list(self._runs.values()))

    def stop(self) -> None:
        """End all galleries; what is done of them stays."""
        for run in list(self._runs.values()):
            run.stopping.set()

    def place(self, run: R) -> int:
        """How many are before it in the line."""
        with self._changed:
            return max(0, self._line.index(run) - AT_ONCE + 1) if run in self._line else 0

    def said(self, run: R) -> str:
        """What it is waiting for, in words."""
        if run.state == "waiting":
            return f"Waiting for {self.place(run)} other galleries …" if self.place(run) > 1 else "Waiting for another gallery …"
        if run.state == "loading" and (loading := run.loading):
            return waiting(loading)[0]
        return ""

    def title(self, run: R) -> str:
        """What people call its model."""
        return title_of(run.titled or run.model)

    def _work(self, run: R) -> None:
        with self._changed:
            while run not in self._line[:AT_ONCE] and not run.stopping.is_set():
                self._changed.wait(0.5)
        try:
            if not run.stopping.is_set() and (vit := self._model(run)):
                run.titled, run.began, run.state = vit.name, time.monotonic(), "running"
                self._process(run, vit)
            run.state = "stopped" if run.stopping.is_set() and run.done < len(run.items) else "done"
        except Exception as error:
            run.error, run.state = sentence(error), "failed"
        finally:
            run.ended = time.monotonic()
            log.info("gallery", extra={"state": run.state, "photos": run.done, "seconds": round(run.ended - (run.began or run.ended), 3)})
            run.loading = vit = None
            self._store.leave(run.id)
            with self._changed:
                self._line.remove(run)
                self._changed.notify_all()

    def _model(self, run: R) -> "Vit | None":
        """The gallery's model, held for the gallery: its visitor may look at another one meanwhile. None where it is stopped first."""
        loading = run.loading = self._store.get(run.model, run.id)
        run.held = time.monotonic()
        run.state = "loading"
        while not loading.done.wait(0.2):
            if run.stopping.is_set():
                return None
        return loading.result()

    def _hold(self, run: R) -> None:
        """Say that the gallery still needs its model, where it has not been said for a while."""
        if time.monotonic() - run.held > HOLD_AGAIN:
            run.held = time.monotonic()
            self._store.get(run.model, run.id)

    def sweep(self) -> None:
        """Keep the files of what is needed, and drop what is not. Work that nobody looks at ends where others wait for it."""
        for run in list(self._runs.values()):
            if not run.over or time.monotonic() - run.seen < RECENT:
                touch(run.paths)
            if not run.over and run.unseen and any(each is not run for each in self._line[AT_ONCE:]):
                run.stopping.set()
        self._make_room()

    def _make_room(self, coming: int = 0) -> None:
        """Drop what nobody has looked at for as long as uploads are kept, and the longest unseen of too many with `coming` photos more.

        Those whose page was closed go first, and of those that are not over only what nobody looks at.
        """
        now, keep = time.monotonic(), 60 * self.settings.upload_minutes
        with self._changed:
            may_go = sorted((run for run in self._runs.values() if run.over or run.unseen), key=lambda run: (run.seen > run.left, run.seen))
            surplus = len(self._runs) + bool(coming) - MOST
            rows = coming + sum(len(run.items) for run in self._runs.values())
            for index, run in enumerate(may_go):
                if (run.over and now - run.seen > keep) or index < surplus or rows > self.most_rows:
                    rows -= len(run.items)
                    del self._runs[run.id]
                    run.forget()
