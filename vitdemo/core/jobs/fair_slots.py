"""Slots for work in threads: so many pieces at a time, the queue for them is limited, and clients take turns."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vitdemo.core.errors import UserError
from vitdemo.core.jobs.fair_queue import CROWDED, FairQueue

CHECK_SECONDS = 0.2  # between two looks at what may end the waiting


@dataclass(eq=False)
class _Ticket:
    stopping: threading.Event | None = None
    admitted: bool = False
    crowded_out: bool = False


class FairSlots:
    """As many slots as pieces of work may run at a time.

    Args:
        slots: pieces of work that run at a time.
        max_waiting: pieces of work that may wait.
        kind: what the pieces of work are called, in the plural, for messages.
    """

    def __init__(self, slots: int, max_waiting: int, kind: str):
        self._free, self._kind = slots, kind
        self._waiting: FairQueue[_Ticket] = FairQueue(max_waiting)
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many pieces of work wait."""
        return len(self._waiting)

    def place(self, stopping: threading.Event) -> int:
        """How many pieces of work must end before the one that waits with this `stopping` begins; 0 where none waits with it."""
        with self._changed:
            waiting = [ticket for ticket in self._waiting if ticket.stopping is stopping]
            return self._waiting.position(waiting[0]) + 1 if waiting else 0

    @contextmanager
    def slot(self, client: str = "", stopping: threading.Event | None = None) -> Iterator[None]:
        """Wait for a slot, and hold it in this context. Once `stopping` is set, the context begins without one: check it there.

        Raises: UserError where too many wait, or other clients' work displaces this one.
        """
        ticket = _Ticket(stopping)
        with self._changed:
            displaced = self._waiting.put(ticket, client)
            if displaced is ticket:
                raise UserError(f"The app is busy: {len(self._waiting)} {self._kind} are waiting. Try again in a few minutes.")
            if displaced:
                displaced.crowded_out = True
            self._admit()
            while not (ticket.admitted or ticket.crowded_out or (stopping and stopping.is_set())):
                self._changed.wait(CHECK_SECONDS)
            self._waiting.remove(ticket)
        if ticket.crowded_out:
            raise UserError(CROWDED)
        try:
            yield
        finally:
            with self._changed:
                self._free += ticket.admitted
                self._admit()

    def _admit(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.get().admitted = True
        self._changed.notify_all()
