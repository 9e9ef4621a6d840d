"""Photos read, decoded and prepared ahead of the model, in order and in bounded memory. Every bulk job stands on it.

Pillow's own scaled JPEG decoding (`draft`) would be faster, and changes the answers by more than 1e-4: it is not used.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.niceness import lower_priority
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo, decode, id_of

T = TypeVar("T")
MAX_WORKERS = 16
MAX_RUN_BATCHES = 4  # times the batch size: files in a batch, with those that the model needn't see


@dataclass(frozen=True)
class PreparedPhoto(Generic[T]):
    """One file of a gallery, ready for the model, or the reason why not.

    Attributes:
        index: its place in the gallery, from 0.
        id: the sha256 of its bytes; None where they could not be read.
        made: what was made of the photo; None for an error and for a duplicate.
        first: the index of the earlier file with the same bytes, for a duplicate.
        error: one sentence, for a file that is no photo.
    """

    index: int
    item: Item
    id: str | None = None
    made: T | None = None
    first: int | None = None
    error: str | None = None


def photos_ahead(
    items: Iterable[Item],
    prepare: Callable[[Photo], T],
    settings: Settings,
    *,
    ahead: int,
    workers: int | None = None,
    known: Callable[[str], T | None] = lambda id: None,
) -> Iterator[PreparedPhoto[T]]:
    """Every file in order. A file whose bytes came before is not decoded again.

    Args:
        prepare: what to make of a photo, in a worker thread, such as the model's input; the photo itself is let go.
        ahead: files that may be under way or waiting; with `workers` it bounds the memory.
        workers: threads; by default one per core, as Pillow decodes and resizes without holding the interpreter.
        known: what has been made of a photo with this id before, in a worker thread; if anything, the photo is not decoded.

    Closing the iterator stops the workers.
    """
    duplicates = _DuplicateIndex()
    failed: set[int] = set()
    pool = ThreadPoolExecutor(workers or min(os.cpu_count() or 1, MAX_WORKERS), "decode", lower_priority)
    waiting: deque[Future[PreparedPhoto[T]]] = deque()

    def take() -> PreparedPhoto[T]:
        ready = waiting.popleft().result()
        if ready.first in failed:  # said of the other file by its name, so it is said again by this one's
            ready = _make(ready.index, ready.item, prepare, settings, known)
        if ready.error:
            failed.add(ready.index)
        return ready

    try:
        for index, item in enumerate(items):
            waiting.append(pool.submit(_make, index, item, prepare, settings, known, duplicates))
            if len(waiting) >= ahead:
                yield take()
        while waiting:
            yield take()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def batches(ready: Iterable[PreparedPhoto[T]], size: int) -> Iterator[list[PreparedPhoto[T]]]:
    """Runs of files with at most `size` among them for the model; errors and duplicates stay in their places.

    A run of nothing else ends as well, or thousands of them would be no progress, and no time to stop.
    """
    batch, new = [], 0
    for each in ready:
        batch.append(each)
        new += each.made is not None
        if new == size or len(batch) == MAX_RUN_BATCHES * size:
            yield batch
            batch, new = [], 0
    if batch:
        yield batch


class _DuplicateIndex:
    """Says which file was the first with its bytes. Files are registered in order, so that the first is the first of the gallery."""

    def __init__(self):
        self._first: dict[str, int] = {}
        self._next = 0
        self._changed = threading.Condition()

    def register(self, index: int, id: str | None) -> int:
        """Returns: the index of the first file with this id."""
        with self._changed:
            self._changed.wait_for(lambda: self._next == index)
            self._next += 1
            self._changed.notify_all()
            return index if id is None else self._first.setdefault(id, index)


def _make(
    index: int,
    item: Item,
    prepare: Callable[[Photo], T],
    settings: Settings,
    known: Callable[[str], T | None],
    duplicates: _DuplicateIndex | None = None,
) -> PreparedPhoto[T]:
    id, error = None, None
    try:
        data = item.read(settings)
        id = id_of(data)
    except UserError as reason:
        error = str(reason)
    finally:  # whatever happened, or those behind wait for ever
        first = duplicates.register(index, id) if duplicates else index
    if error:
        return PreparedPhoto(index, item, error=error)
    if first != index:
        return PreparedPhoto(index, item, id, first=first)
    try:
        made = known(id)
        return PreparedPhoto(index, item, id, prepare(decode(data, item.shown, settings, id=id)) if made is None else made)
    except UserError as reason:
        return PreparedPhoto(index, item, id, error=str(reason))
