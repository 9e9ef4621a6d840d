"""Work items that wait for the model: which items run next, and which run together."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

MAX_HOLD_SECONDS = 2.0  # long work waits at most this long for short work that is still being prepared
SHORT_FIRST_FACTOR = 4.0  # long work waits for short work at most this many times as long as the last long piece took
MIN_LONG_SECONDS = 0.05  # a piece of long work counts as at least this long


@dataclass(eq=False)
class WorkItem:
    """Work that waits in a queue.

    Attributes:
        work: runs the item alone, and returns its result.
        kind: items of the same kind may run together; None for an item that runs alone.
        batch: the images of an item that may run with others.
        together: runs several items of the kind at once, and returns their results in order.
        future: gets the result or the error.
        handed_in: when the item was made, seconds on the performance counter.
    """

    work: Callable[[], Any]
    kind: tuple | None = None
    batch: torch.Tensor | None = None
    together: "Callable[[list[WorkItem]], list] | None" = None
    future: Future = field(default_factory=Future)
    handed_in: float = field(default_factory=time.perf_counter)

    @property
    def images(self) -> int:
        """Number of images in the batch."""
        return 0 if self.batch is None else len(self.batch)


class WorkQueue:
    """Work items, first come, first served; thread-safe."""

    def __init__(self):
        self._items: list[WorkItem] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: WorkItem) -> Future:
        """Add an item. Returns the item's future."""
        with self._changed:
            self._items.append(item)
            self._changed.notify()
        return item.future

    def wait(self) -> None:
        """Wait until the queue holds an item. Where several threads wait, another one may take the item first."""
        with self._changed:
            self._changed.wait_for(lambda: self._items)

    def get(self, most: int) -> list[WorkItem]:
        """Remove and return the first item with those that may run with it, up to `most` images; nothing where the queue is empty."""
        with self._changed:
            if not self._items:
                return []
            taken = [self._items.pop(0)]
            if taken[0].kind:
                images = taken[0].images
                for item in [other for other in self._items if other.kind == taken[0].kind]:
                    if (images := images + item.images) > most:
                        break
                    self._items.remove(item)
                    taken.append(item)
            return taken


class PriorityLock:
    """A lock under which long items run in parallel, a short one runs alone, and short ones go first.

    Long items don't start while a short one waits or is announced. Where short work never ends, the waiting long items start anyway, one
    per lane, once they have waited `SHORT_FIRST_FACTOR` times as long as the last long piece took.
    """

    def __init__(self):
        self._changed = threading.Condition()
        self._long = self._short = self._coming = 0
        self._running = False  # whether a short piece is running
        self._waiting = self._granted = 0  # waiting long items, and how many of them may start although short ones wait
        self._long_took = MIN_LONG_SECONDS

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Announce a short piece that is still being prepared, while the context is open."""
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
        """Hold the lock for a long piece, in parallel with other long items."""
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
        """Hold the lock for a short piece, with no other piece running."""
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


def run_items(items: list[WorkItem]) -> list[tuple[Any, BaseException | None]]:
    """Run items of one kind together. Returns each item's result and error. Where they fail together, each item is run alone."""
    if len(items) > 1:
        try:
            together = items[0].together
            assert together is not None  # only items of one kind are taken together
            return [(result, None) for result in together(items)]
        except Exception:
            return [answer for item in items for answer in run_items([item])]
    try:
        return [(item.work(), None) for item in items]
    except BaseException as error:
        return [(None, error)]
