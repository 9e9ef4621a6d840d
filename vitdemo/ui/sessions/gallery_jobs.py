"""Gallery jobs: each has a thread, waits in a queue, is found by its id after a reload, and is dropped when it is old."""

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.fair_slots import FairSlots
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.served_files import RECENT_SECONDS, touch
from vitdemo.ui.sessions.gallery_job import GalleryJob
from vitdemo.ui.sessions.model_loading import progress_text

if TYPE_CHECKING:
    from vitdemo.core.models.vit import Vit

log = logging.getLogger(__name__)
MAX_RUNNING = 2  # galleries at the same time; the others wait in the queue
HOLD_SECONDS = 20  # between two requests of a running gallery for its model, so that the model stays loaded
MAX_GALLERIES = 200  # remembered at the same time
RESULT_KINDS = 3  # that share the memory for results: classified galleries, embedded galleries, and training photos


def most_rows(settings: Settings, row_bytes: int) -> int:
    """Photos whose results are kept, in all galleries of one kind together, where each photo takes `row_bytes`."""
    return settings.results_mb * 1_000_000 // RESULT_KINDS // row_bytes


R = TypeVar("R", bound=GalleryJob)


class GalleryJobs(Generic[R]):
    """All visitors' galleries of one kind of work.

    Attributes:
        store: the models.
        row_bytes: memory that the results of one photo take.
        most_rows: photos whose results are kept.
    """

    row_bytes: int

    def __init__(self, store: ModelStore):
        self.settings = store.settings
        self.store = store
        self._jobs: dict[str, R] = {}
        self._slots: FairSlots[R] = FairSlots(MAX_RUNNING, self.settings.max_queue, "galleries")
        self._lock = threading.Lock()
        self.most_rows = most_rows(self.settings, self.row_bytes)

    def _process(self, job: R, vit: "Vit") -> None:
        """The work itself, until it is done or `job.stopping` is set. It calls `_hold` now and then."""
        raise NotImplementedError

    def _begin(self, job: R) -> R:
        """Start a gallery's job or queue it, and stop the visitor's earlier galleries.

        Raises: UserError where the queue is full, or the memory for results.
        """
        self._forget_old()
        with self._lock:
            evicted = self._choose_evicted(job)
            self._slots.put(job, job.client)
            for other in evicted:
                del self._jobs[other.id]
                other.forget()
            for other in self._jobs.values():
                if job.visitor and other.visitor == job.visitor:
                    other.stopping.set()
            self._jobs[job.id] = job
        threading.Thread(target=self._work, args=(job,), name="gallery", daemon=True).start()
        return job

    def get(self, id: object, visitor: str = "") -> R:
        """The gallery with this id, now marked as seen.

        Args:
            visitor: the session of the page that shows the gallery: another one than before, after a reload.

        Raises: UserError where there is no such gallery, or not any more.
        """
        job = self._jobs.get(id) if isinstance(id, str) else None
        if job is None:
            raise UserError("This gallery is not here any more: give the photos again.")
        job.seen, job.visitor = time.monotonic(), visitor or job.visitor
        return job

    def leave(self, visitor: str) -> None:
        """Note that a visitor has closed the page. The visitor's galleries give way to others, unless a page requests them again soon."""
        for job in list(self._jobs.values()):
            if visitor and job.visitor == visitor:
                job.page_closed = time.monotonic()

    def drop(self, job: R, *, keep_files: bool = False) -> None:
        """Stop a gallery's job and forget the gallery."""
        with self._lock:
            self._jobs.pop(job.id, None)
        job.forget(keep_files=keep_files)

    @property
    def busy(self) -> bool:
        """Whether any gallery waits or runs."""
        return any(not job.over for job in list(self._jobs.values()))

    def stop(self) -> None:
        """Stop all galleries; results of finished photos stay."""
        for job in list(self._jobs.values()):
            job.stopping.set()

    def position(self, job: R) -> int:
        """The gallery's position in the queue, from 1: the number of galleries that must end first; 0 outside the queue."""
        return self._slots.position(job)

    def status_text(self, job: R) -> str:
        """Status text: what the gallery waits for; empty where it does not wait."""
        if job.state == "waiting":
            others = self.position(job)
            return f"Waiting for {others} other galleries …" if others > 1 else "Waiting for another gallery …"
        if job.state == "loading" and (loading := job.loading):
            return progress_text(loading)[0]
        return ""

    def title(self, job: R) -> str:
        """The display name of the gallery's model."""
        return self.store.own_title(job.model) or job.model_title or self.store.title_of(job.model)

    def _work(self, job: R) -> None:
        """Run one job in its thread: wait for a slot, load the model, do the work, record the outcome."""
        try:
            self._slots.wait(job, job.stopping)
            if not job.stopping.is_set() and (vit := self._model(job)):
                job.model_name, job.model_title, job.began, job.state = vit.id, vit.full_title, time.monotonic(), "running"
                self._process(job, vit)
            job.state = "stopped" if job.stopping.is_set() and job.done < len(job.items) else "done"
        except Exception as error:
            job.error, job.state = user_message(error), "failed"
        finally:
            job.ended = time.monotonic()
            log.info("gallery", extra={"state": job.state, "photos": job.done, "seconds": round(job.ended - (job.began or job.ended), 3)})
            job.loading = vit = None
            self.store.leave(job.id)
            self._slots.leave(job)

    def _model(self, job: R) -> "Vit | None":
        """Load the gallery's model, and hold it for the gallery: the visitor may switch models meanwhile. None for a stopped gallery."""
        loading = job.loading = self.store.get(job.model, job.id)
        job.model_requested = time.monotonic()
        job.state = "loading"
        while not loading.done.wait(0.2):
            if job.stopping.is_set():
                return None
        return loading.result()

    def _hold(self, job: R) -> None:
        """Request the gallery's model again every HOLD_SECONDS, so that the store keeps the model."""
        if time.monotonic() - job.model_requested > HOLD_SECONDS:
            job.model_requested = time.monotonic()
            self.store.get(job.model, job.id)

    def sweep(self) -> None:
        """Keep the files of galleries in use, and drop old galleries. Stop a gallery that nobody looks at, if others wait."""
        for job in list(self._jobs.values()):
            if not job.over or time.monotonic() - job.seen < RECENT_SECONDS:
                touch(job.paths)
            others_wait = any(queued is not job for queued in self._slots.waiting)
            if not job.over and job.unseen and others_wait:
                job.stopping.set()
        self._forget_old()

    def _forget_old(self) -> None:
        """Drop finished galleries that nobody has looked at for as long as uploads are kept."""
        oldest = time.monotonic() - 60 * self.settings.upload_minutes
        for job in list(self._jobs.values()):
            if job.over and job.seen < oldest:
                self.drop(job)

    def _weight(self, job: R) -> int:
        """Rows that a gallery counts for. A minimum limits the number of small galleries."""
        return max(len(job.items), self.most_rows // MAX_GALLERIES)

    def _choose_evicted(self, newcomer: R) -> list[R]:
        """Choose galleries to evict: those that nobody looks at first, then the heaviest client's, then the least recently seen.

        Also evictable are the same client's finished galleries, and the finished or waiting galleries of clients who hold more.

        Raises: UserError where the evictable galleries do not free enough memory.
        """
        rows = Counter({newcomer.client: self._weight(newcomer)})
        for job in self._jobs.values():
            rows[job.client] += self._weight(job)
        waiting = set(self._slots.waiting)

        def evictable(job: R) -> bool:
            if rows[job.client] > rows[newcomer.client]:
                return job.over or job.unseen or job in waiting
            return job.unseen or (job.over and job.client == newcomer.client)

        def eviction_order(job: R) -> tuple:
            return not job.unseen, -rows[job.client], job.seen > job.page_closed, job.seen

        surplus, evicted = rows.total() - self.most_rows, []
        for job in sorted(filter(evictable, self._jobs.values()), key=eviction_order):
            if surplus <= 0:
                break
            evicted.append(job)
            surplus -= self._weight(job)
        if surplus > 0 and len(evicted) < len(self._jobs):  # a gallery that is alone may have any size
            raise UserError("The app is busy with other visitors' photos: give fewer, or try again in a few minutes.")
        return evicted
