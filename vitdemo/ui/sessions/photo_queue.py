"""Where single photos are decoded and prepared: a few at a time, behind a line that has an end, and in which callers take turns."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from vitdemo.core.errors import UserError
from vitdemo.core.jobs.fair_queue import CROWDED, FairQueue

WORKERS = 4  # photos decoded and prepared at the same time


class Ticket:
    """A place in the line, to be made in the event loop.

    Attributes:
        result: comes in the end. Raises: what the work raised; UserError where it had to give way to other callers'.
    """

    def __init__(self, photo_queue: "PhotoQueue", work: Callable[[], Any]):
        self._photo_queue, self.work, self.done = photo_queue, work, Future()
        self.result = asyncio.wrap_future(self.done)

    @property
    def before(self) -> int:
        """How many have still to begin before it."""
        return self._photo_queue.before(self)

    @property
    def words(self) -> str:
        """What it waits for."""
        before = self.before
        return f"{before} photos are before yours …" if before > 1 else "Looking at the photo …"


class PhotoQueue:
    """Takes work in.

    Args:
        most: pieces of work that may wait.
        coming: makes a context in which a piece of work is done.
    """

    def __init__(self, most: int, coming: Callable[[], AbstractContextManager] = nullcontext):
        self._coming = coming
        self._line: FairQueue[Ticket] = FairQueue(most)
        self._free = WORKERS
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="desk")

    def take(self, work: Callable[[], Any], client: str = "") -> Ticket:
        """Queue up, from the event loop. Raises: UserError where too many wait already."""
        place = Ticket(self, work)
        with self._lock:
            if self._free:
                self._free -= 1
                self._workers.submit(self._work, place)
                return place
            gone = self._line.join(place, client)
            waiting = len(self._line)
        if gone is place:
            raise UserError(f"The app is busy: {waiting} photos are waiting before yours. Try again in a minute.")
        place.done.add_done_callback(lambda done: done.cancelled() and self._leave(place))  # its visitor has gone from the line
        if gone and gone.done.set_running_or_notify_cancel():
            gone.done.set_exception(UserError(CROWDED))
        return place

    def before(self, place: Ticket) -> int:
        """How many have still to begin before it."""
        with self._lock:
            return self._line.before(place)

    def _leave(self, place: Ticket) -> None:
        with self._lock:
            self._line.remove(place)

    def _work(self, place: Ticket | None) -> None:
        """Do this, then what waits, until nothing does."""
        while place:
            if place.done.set_running_or_notify_cancel():
                try:
                    with self._coming():
                        result = place.work()
                except BaseException as error:
                    place.done.set_exception(error)
                else:
                    place.done.set_result(result)
            with self._lock:
                place = self._line.take() if self._line else None
                self._free += place is None
