"""The queue for single photos: a few are decoded and prepared at a time, the queue is limited, and clients take turns."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from vitdemo.core.errors import QueueFull, UserError
from vitdemo.core.jobs.fair_queue import CROWDED, FairQueue

WORKERS = 4  # threads: photos decoded and prepared at the same time


class Ticket:
    """A piece of work in the queue. Create it in the event loop.

    Attributes:
        work: computes the result.
        done: the result, for threads.
        result: the result, for the event loop. Raises: what the work raised; UserError where other clients' work displaced this one.
    """

    def __init__(self, photo_queue: "PhotoQueue", work: Callable[[], Any]):
        self._photo_queue, self.work = photo_queue, work
        self.done: Future[Any] = Future()
        self.result = asyncio.wrap_future(self.done)

    @property
    def position(self) -> int:
        """Photos that start before this one."""
        return self._photo_queue.position(self)

    @property
    def text(self) -> str:
        """Status text: what the photo waits for."""
        before = self.position
        return f"{before} photos are before yours …" if before > 1 else "Looking at the photo …"


class PhotoQueue:
    """Runs the queued work in WORKERS threads.

    Args:
        max_waiting: pieces of work that may wait.
        expecting: makes the context in which each piece of work runs.
    """

    def __init__(self, max_waiting: int, expecting: Callable[[], AbstractContextManager] = nullcontext):
        self._expecting = expecting
        self._queue: FairQueue[Ticket] = FairQueue(max_waiting)
        self._free = WORKERS
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="photo queue")

    def put(self, work: Callable[[], Any], client: str = "") -> Ticket:
        """Queue a piece of work, from the event loop. Returns: its ticket. Raises: UserError where the queue is full."""
        ticket = Ticket(self, work)
        with self._lock:
            if self._free:
                self._free -= 1
                self._workers.submit(self._work, ticket)
                return ticket
            displaced = self._queue.put(ticket, client)
            waiting = len(self._queue)
        if displaced is ticket:
            raise QueueFull("photos", waiting)
        ticket.done.add_done_callback(lambda done: self._leave(ticket) if done.cancelled() else None)  # its client has disconnected
        if displaced and displaced.done.set_running_or_notify_cancel():
            displaced.done.set_exception(UserError(CROWDED))
        return ticket

    def position(self, ticket: Ticket) -> int:
        """Photos that start before this one."""
        with self._lock:
            return self._queue.position(ticket)

    def _leave(self, ticket: Ticket) -> None:
        with self._lock:
            self._queue.remove(ticket)

    def _work(self, ticket: Ticket | None) -> None:
        """Run this piece of work, then the queue's next ones, until the queue is empty."""
        while ticket:
            if ticket.done.set_running_or_notify_cancel():
                try:
                    with self._expecting():
                        result = ticket.work()
                except BaseException as error:
                    ticket.done.set_exception(error)
                else:
                    ticket.done.set_result(result)
            with self._lock:
                ticket = self._queue.get() if self._queue else None
                self._free += ticket is None
