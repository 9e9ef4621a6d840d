"""Galleries at work: each in a thread of its own, in line, found again by its id after a reload, forgotten in time."""

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.fair_queue import CROWDED, FairQueue
from vitdemo.core.models.catalogue import title_of
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.served_files import RECENT_SECONDS, touch
from vitdemo.ui.sessions.gallery_job import GalleryJob
from vitdemo.ui.sessions.model_loading import progress_text

if TYPE_CHECKING:
    from vitdemo.core.models.vit import Vit

log = logging.getLogger(__name__)
MAX_RUNNING = 2  # galleries at work; the others wait in line
HOLD_SECONDS = 20  # seconds after which a gallery at work says again that it needs its model
MAX_GALLERIES = 200  # galleries remembered
RESULT_KINDS = 3  # of results that share the memory for them: classified galleries, embedded ones, and what is to be learned


def most_rows(settings: Settings, row_bytes: int) -> int:
    """Photos whose results are remembered in all galleries of one kind, where a photo takes so many bytes."""
    return settings.results_mb * 1_000_000 // RESULT_KINDS // row_bytes


R = TypeVar("R", bound=GalleryJob)


class GalleryJobs(Generic[R]):
    """All galleries of all visitors, of one kind of work.

    Attributes:
        row_bytes: memory that a photo's results take.
    """

    row_bytes: int

    def __init__(self, store: ModelStore):
        self.settings = store.settings
        self._store = store
        self._jobs: dict[str, R] = {}
        self._line: FairQueue[R] = FairQueue(self.settings.max_queue)
        self._at_work: set[R] = set()
        self._changed = threading.Condition()
        self.most_rows = most_rows(self.settings, self.row_bytes)

    def _process(self, job: R, vit: "Vit") -> None:
        """The work itself, until it is done or `run.stopping` is set; `_hold` is called now and then."""
        raise NotImplementedError

    def _begin(self, job: R) -> R:
        """Begin with a gallery, or queue it up. The visitor's earlier gallery, if it is still at work, gives way.

        Raises: UserError where too many wait already.
        """
        self._forget_old()
        with self._changed:
            going = self._give_way(job)
            if (gone := self._line.join(job, job.client)) is job:
                are = "gallery is" if (waiting := len(self._line)) == 1 else "galleries are"
                raise UserError(f"The app is busy: {waiting} {are} waiting. Try again in a few minutes.")
            if gone:
                gone.crowded_out = True
            for other in going:
                del self._jobs[other.id]
                other.forget()
            for other in self._jobs.values():
                if job.visitor and other.visitor == job.visitor:
                    other.stopping.set()
            self._jobs[job.id] = job
            self._admit()
        threading.Thread(target=self._work, args=(job,), name="gallery", daemon=True).start()
        return job

    def get(self, id: object) -> R:
        """Raises: UserError where there is no such gallery, or no more."""
        job = self._jobs.get(id) if isinstance(id, str) else None
        if job is None:
            raise UserError("This gallery is not here any more: give the photos again.")
        job.seen = time.monotonic()
        return job

    def attach(self, id: object, visitor: str) -> None:
        """The visitor has reloaded the page, and is another one for Gradio. Raises: as `get`."""
        self.get(id).visitor = visitor

    def leave(self, visitor: str) -> None:
        """The visitor has closed the page: unless they come back for them at once, their galleries give way to others."""
        for job in list(self._jobs.values()):
            if visitor and job.visitor == visitor:
                job.left = time.monotonic()

    def drop(self, job: R, *, keep_files: bool = False) -> None:
        """Stop it, and remember it no more."""
        with self._changed:
            self._jobs.pop(job.id, None)
        job.forget(keep_files=keep_files)

    @property
    def busy(self) -> bool:
        """Whether any gallery waits or is at work."""
        return any(not job.over for job in list(self._jobs.values()))

    def stop(self) -> None:
        """End all galleries; what is done of them stays."""
        for job in list(self._jobs.values()):
            job.stopping.set()

    def place(self, job: R) -> int:
        """How many have to end, or to begin and end, before it can begin."""
        with self._changed:
            return self._line.before(job) + 1 if job in self._line else 0

    def said(self, job: R) -> str:
        """What it is waiting for, in words."""
        if job.state == "waiting":
            return f"Waiting for {self.place(job)} other galleries …" if self.place(job) > 1 else "Waiting for another gallery …"
        if job.state == "loading" and (loading := job.loading):
            return progress_text(loading)[0]
        return ""

    def title(self, job: R) -> str:
        """What people call its model."""
        return title_of(job.titled or job.model)

    def _work(self, job: R) -> None:
        with self._changed:
            while not (job in self._at_work or job.crowded_out or job.stopping.is_set()):
                self._changed.wait(0.5)
        try:
            if job.crowded_out:
                raise UserError(CROWDED)
            if not job.stopping.is_set() and (vit := self._model(job)):
                job.titled, job.began, job.state = vit.name, time.monotonic(), "running"
                self._process(job, vit)
            job.state = "stopped" if job.stopping.is_set() and job.done < len(job.items) else "done"
        except Exception as error:
            job.error, job.state = user_message(error), "failed"
        finally:
            job.ended = time.monotonic()
            log.info("gallery", extra={"state": job.state, "photos": job.done, "seconds": round(job.ended - (job.began or job.ended), 3)})
            job.loading = vit = None
            self._store.leave(job.id)
            with self._changed:
                self._line.remove(job)
                self._at_work.discard(job)
                self._admit()

    def _admit(self) -> None:
        """Let the next ones begin, where there is room."""
        while self._line and len(self._at_work) < MAX_RUNNING:
            self._at_work.add(self._line.take())
        self._changed.notify_all()

    def _model(self, job: R) -> "Vit | None":
        """The gallery's model, held for the gallery: its visitor may look at another one meanwhile. None where it is stopped first."""
        loading = job.loading = self._store.get(job.model, job.id)
        job.held = time.monotonic()
        job.state = "loading"
        while not loading.done.wait(0.2):
            if job.stopping.is_set():
                return None
        return loading.result()

    def _hold(self, job: R) -> None:
        """Say that the gallery still needs its model, where it has not been said for a while."""
        if time.monotonic() - job.held > HOLD_SECONDS:
            job.held = time.monotonic()
            self._store.get(job.model, job.id)

    def sweep(self) -> None:
        """Keep the files of what is needed, and drop what is not. Work that nobody looks at ends where others wait for it."""
        for job in list(self._jobs.values()):
            if not job.over or time.monotonic() - job.seen < RECENT_SECONDS:
                touch(job.paths)
            with self._changed:
                others_wait = any(each is not job for each in self._line)
            if not job.over and job.unseen and others_wait:
                job.stopping.set()
        self._forget_old()

    def _forget_old(self) -> None:
        """Drop what nobody has looked at for as long as uploads are kept."""
        oldest = time.monotonic() - 60 * self.settings.upload_minutes
        for job in list(self._jobs.values()):
            if job.over and job.seen < oldest:
                self.drop(job)

    def _weight(self, job: R) -> int:
        """Rows that it counts for, so that galleries of few photos are bounded in number."""
        return max(len(job.items), self.most_rows // MAX_GALLERIES)

    def _give_way(self, coming: R) -> list[R]:
        """What has to go for a gallery: of whoever has the most first, the longest unseen.

        What nobody looks at may go, the same caller's done ones, and of callers who have more what is done or waits.

        Raises: UserError where that is not enough.
        """
        held = Counter({coming.client: self._weight(coming)})
        for job in self._jobs.values():
            held[job.client] += self._weight(job)
        waiting = set(self._line)

        def may_go(job: R) -> bool:
            if held[job.client] > held[coming.client]:
                return job.over or job.unseen or job in waiting
            return job.unseen or (job.over and job.client == coming.client)

        def order(job: R) -> tuple:
            return not job.unseen, -held[job.client], job.seen > job.left, job.seen

        surplus, going = held.total() - self.most_rows, []
        for job in sorted(filter(may_go, self._jobs.values()), key=order):
            if surplus <= 0:
                break
            going.append(job)
            surplus -= self._weight(job)
        if surplus > 0 and len(going) < len(self._jobs):  # alone, a gallery may be as large as it likes
            raise UserError("The app is busy with other visitors' photos: give fewer, or try again in a few minutes.")
        return going
