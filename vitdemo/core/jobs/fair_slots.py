"""Slots for work: so many pieces run at a time, the queue for them is limited, and clients take turns."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from vitdemo.core.errors import QueueFull, UserError
from vitdemo.core.jobs.fair_queue import CROWDED, FairQueue

CHECK_SECONDS = 0.2  # between two looks at what may end the waiting
T = TypeVar("T")


class FairSlots(Generic[T]):
    """As many slots as pieces of work may run at a time. A piece is put into the queue, waits for its slot in its own thread, and leaves.

    Args:
        slots: pieces of work that run at a time.
        max_waiting: pieces of work that may wait.
        kind: what the pieces of work are called, in the plural, for messages.
    """

    def __init__(self, slots: int, max_waiting: int, kind: str):
        self._slots, self._kind = slots, kind
        self._queue: FairQueue[T] = FairQueue(max_waiting)
        self._running: set[T] = set()
        self._displaced: set[T] = set()
        self._changed = threading.Condition()

    @property
    def waiting(self) -> list[T]:
        """The pieces of work that wait."""
        with self._changed:
            return list(self._queue)

    def position(self, work: T) -> int:
        """How many pieces of work must end before this one begins; 0 where it does not wait."""
        with self._changed:
            return self._queue.position(work) + 1 if work in self._queue else 0

    def put(self, work: T, client: str = "") -> None:
        """Put a piece of work into the queue. It must `leave`. Raises: QueueFull where as many wait as may."""
        with self._changed:
            displaced = self._queue.put(work, client)
            if displaced is work:
                raise QueueFull(self._kind, len(self._queue), "a few minutes")
            if displaced is not None:
                self._displaced.add(displaced)
            self._admit()

    def wait(self, work: T, stopping: threading.Event | None = None) -> None:
        """Wait until the piece of work has a slot, or `stopping` is set. Raises: UserError where another client's work displaced it."""
        with self._changed:
            while not (work in self._running or work in self._displaced or (stopping and stopping.is_set())):
                self._changed.wait(CHECK_SECONDS)
            if work in self._displaced:
                raise UserError(CROWDED)

    def leave(self, work: T) -> None:
        """Take a piece of work out, whether it waits or has run."""
        with self._changed:
            self._queue.remove(work)
            self._running.discard(work)
            self._displaced.discard(work)
            self._admit()

    @contextmanager
    def slot(self, work: T, client: str = "", stopping: threading.Event | None = None) -> Iterator[None]:
        """Put, wait and leave: the piece of work runs in this context. Once `stopping` is set, it begins without a slot: check it there.

        Raises: QueueFull and UserError as `put` and `wait`.
        """
        self.put(work, client)
        try:
            self.wait(work, stopping)
            yield
        finally:
            self.leave(work)

    def _admit(self) -> None:
        while self._queue and len(self._running) < self._slots:
            self._running.add(self._queue.get())
        self._changed.notify_all()
