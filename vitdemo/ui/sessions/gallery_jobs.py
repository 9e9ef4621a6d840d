"""Galleries at work: each in a thread of its own, in line, found again by its id after a reload, forgotten in time."""

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.fair_line import CROWDED, FairLine
from vitdemo.core.store import ModelStore
from vitdemo.ui.guard import sentence
from vitdemo.ui.model_header import title_of, waiting
from vitdemo.ui.run import Run
from vitdemo.ui.served import RECENT, touch

if TYPE_CHECKING:
    from vitdemo.core.models import Vit

log = logging.getLogger(__name__)
AT_ONCE = 2  # galleries at work; the others wait in line
HOLD_AGAIN = 20  # seconds after which a gallery at work says again that it needs its model
MOST = 200  # galleries remembered
KINDS = 3  # of results that share the memory for them: classified galleries, embedded ones, and what is to be learned


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
        self._line: FairLine[R] = FairLine(self.settings.max_queue)
        self._at_work: set[R] = set()
        self._changed = threading.Condition()
        self.most_rows = most_rows(self.settings, self.row_bytes)

    def _process(self, run: R, vit: "Vit") -> None:
        """The work itself, until it is done or `run.stopping` is set; `_hold` is called now and then."""
        raise NotImplementedError

    def _begin(self, run: R) -> R:
        """Begin with a gallery, or queue it up. The visitor's earlier gallery, if it is still at work, gives way.

        Raises: UserError where too many wait already.
        """
        self._forget_old()
        with self._changed:
            going = self._give_way(run)
            if (gone := self._line.join(run, run.caller)) is run:
                are = "gallery is" if (waiting := len(self._line)) == 1 else "galleries are"
                raise UserError(f"The app is busy: {waiting} {are} waiting. Try again in a few minutes.")
            if gone:
                gone.crowded_out = True
            for other in going:
                del self._runs[other.id]
                other.forget()
            for other in self._runs.values():
                if run.visitor and other.visitor == run.visitor:
                    other.stopping.set()
            self._runs[run.id] = run
            self._admit()
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
        """How many have to end, or to begin and end, before it can begin."""
        with self._changed:
            return self._line.before(run) + 1 if run in self._line else 0

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
            while not (run in self._at_work or run.crowded_out or run.stopping.is_set()):
                self._changed.wait(0.5)
        try:
            if run.crowded_out:
                raise UserError(CROWDED)
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
                self._at_work.discard(run)
                self._admit()

    def _admit(self) -> None:
        """Let the next ones begin, where there is room."""
        while self._line and len(self._at_work) < AT_ONCE:
            self._at_work.add(self._line.take())
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
            with self._changed:
                others_wait = any(each is not run for each in self._line)
            if not run.over and run.unseen and others_wait:
                run.stopping.set()
        self._forget_old()

    def _forget_old(self) -> None:
        """Drop what nobody has looked at for as long as uploads are kept."""
        oldest = time.monotonic() - 60 * self.settings.upload_minutes
        for run in list(self._runs.values()):
            if run.over and run.seen < oldest:
                self.drop(run)

    def _weight(self, run: R) -> int:
        """Rows that it counts for, so that galleries of few photos are bounded in number."""
        return max(len(run.items), self.most_rows // MOST)

    def _give_way(self, coming: R) -> list[R]:
        """What has to go for a gallery: of whoever has the most first, the longest unseen.

        What nobody looks at may go, the same caller's done ones, and of callers who have more what is done or waits.

        Raises: UserError where that is not enough.
        """
        held = Counter({coming.caller: self._weight(coming)})
        for run in self._runs.values():
            held[run.caller] += self._weight(run)
        waiting = set(self._line)

        def may_go(run: R) -> bool:
            if held[run.caller] > held[coming.caller]:
                return run.over or run.unseen or run in waiting
            return run.unseen or (run.over and run.caller == coming.caller)

        def order(run: R) -> tuple:
            return not run.unseen, -held[run.caller], run.seen > run.left, run.seen

        surplus, going = held.total() - self.most_rows, []
        for run in sorted(filter(may_go, self._runs.values()), key=order):
            if surplus <= 0:
                break
            going.append(run)
            surplus -= self._weight(run)
        if surplus > 0 and len(going) < len(self._runs):  # alone, a gallery may be as large as it likes
            raise UserError("The app is busy with other visitors' photos: give fewer, or try again in a few minutes.")
        return going
