"""Where single photos are decoded and prepared: a few at a time, first come, first served, behind a line that has an end."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from vitdemo.core.errors import UserError

AT_ONCE = 4  # photos decoded and prepared at the same time


@dataclass(frozen=True, eq=False)
class Place:
    """A place in the line.

    Attributes:
        result: comes in the end.
    """

    desk: "Desk"
    number: int
    result: asyncio.Future

    @property
    def before(self) -> int:
        """How many have still to begin before it."""
        return max(0, self.number - self.desk.begun)

    @property
    def words(self) -> str:
        """What it waits for."""
        return f"{self.before} photos are before yours …" if self.before > 1 else "Looking at the photo …"


class Desk:
    """Takes work in.

    Args:
        most: pieces of work that may wait.
        coming: makes a context in which a piece of work is done.

    Attributes:
        begun: how many pieces of work have been begun so far.
    """

    def __init__(self, most: int, coming: Callable[[], AbstractContextManager] = nullcontext):
        self._most, self._coming, self.begun = most, coming, 0
        self._handed_in = 0
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="desk")

    def take(self, work: Callable[[], Any]) -> Place:
        """Queue up, from the event loop. Raises: UserError where too many wait already."""
        if (waiting := self._handed_in - self.begun) >= self._most:
            raise UserError(f"The app is busy: {waiting} photos are waiting before yours. Try again in a minute.")
        number, self._handed_in = self._handed_in, self._handed_in + 1

        def run() -> Any:
            self._begin()
            with self._coming():
                return work()

        working = self._workers.submit(run)
        working.add_done_callback(lambda done: done.cancelled() and self._begin())  # its visitor has gone from the line
        return Place(self, number, asyncio.wrap_future(working))

    def _begin(self) -> None:
        with self._lock:
            self.begun += 1
