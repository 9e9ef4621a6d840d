"""Work that waits for the model, which pieces of it may run as one, and whose turn it is."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

MAX_HOLD_SECONDS = 2.0  # seconds for which long work lets short work go first that has still to be prepared
SHORT_FIRST_FACTOR = 4.0  # times as long as its last piece took, for which long work lets short work go first
MIN_LONG_SECONDS = 0.05  # seconds that a piece of long work counts for at least


@dataclass(eq=False)
class WorkItem:
    """Work that waits.

    Attributes:
        kind: pieces of the same kind may run together; None for one that runs alone.
        batch: of one that may run with others.
        together: runs several of the kind.
    """

    work: Callable[[], Any]
    kind: tuple | None = None
    batch: torch.Tensor | None = None
    together: "Callable[[list[WorkItem]], list] | None" = None
    future: Future = field(default_factory=Future)
    handed_in: float = field(default_factory=time.perf_counter)


class WorkQueue:
    """Pieces in the order in which they came."""

    def __init__(self):
        self._pieces: list[WorkItem] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._pieces)

    def join(self, piece: WorkItem) -> Future:
        with self._changed:
            self._pieces.append(piece)
            self._changed.notify()
        return piece.future

    def wait(self) -> None:
        """Until there is a piece. Of several threads that wait, one may find that another has taken it."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces)

    def take(self, most: int) -> list[WorkItem]:
        """The first piece, with those that may run with it, up to so many images."""
        with self._changed:
            if not self._pieces:
                return []
            taken = [self._pieces.pop(0)]
            if taken[0].kind:
                images = len(taken[0].batch)
                for each in [each for each in self._pieces if each.kind == taken[0].kind]:
                    if (images := images + len(each.batch)) > most:
                        break
                    self._pieces.remove(each)
                    taken.append(each)
            return taken


class PriorityLock:
    """Long pieces run beside each other, a short one alone, and short ones first.

    Long pieces don't begin while a short one waits, or soon will. But where that never ends, they begin all the same, one for each lane,
    once they have waited `SHORT_FIRST` times as long as the last of them took.
    """

    def __init__(self):
        self._changed = threading.Condition()
        self._long = self._short = self._coming = 0
        self._running = False  # a short piece
        self._waiting = self._granted = 0  # long pieces, and how many of them may begin although short ones wait
        self._long_took = MIN_LONG_SECONDS

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Short work is on its way."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """For a long piece."""
        with self._changed:
            self._waiting += 1
            patience = SHORT_FIRST_FACTOR * self._long_took
            until = time.monotonic() + patience
            self._changed.wait_for(lambda: self._granted or not (self._short or self._coming), min(MAX_HOLD_SECONDS, patience))
            if not self._changed.wait_for(lambda: self._granted or not self._short, max(0, until - time.monotonic())):
                self._granted = self._waiting
                self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running)
            self._waiting -= 1
            self._granted = max(0, self._granted - 1)
            self._long += 1
        begin = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._long -= 1
                self._long_took = max(MIN_LONG_SECONDS, time.monotonic() - begin)
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For a short piece; one at a time."""
        with self._changed:
            self._short += 1
            self._changed.wait_for(lambda: not (self._long or self._granted))
            self._running = True
        try:
            yield
        finally:
            with self._changed:
                self._short -= 1
                self._running = False
                self._changed.notify_all()


def run_items(pieces: list[WorkItem]) -> list[tuple[Any, BaseException | None]]:
    """What each piece gave, or its error. What fails together is tried apart, so that one fault stays its own."""
    if len(pieces) > 1:
        try:
            return [(result, None) for result in pieces[0].together(pieces)]
        except Exception:
            return [answer for each in pieces for answer in run_items([each])]
    try:
        return [(each.work(), None) for each in pieces]
    except BaseException as error:
        return [(None, error)]
