"""Read, decode and prepare photos ahead of the model, in order and in bounded memory. Every bulk job uses this.

Pillow's scaled JPEG decoding (`draft`) is several times as fast for large photos, but changes pixels: it is used where it is asked for.
"""

import os
import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
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
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
MAX_NOTES = 6  # different notes that are told of a gallery's photos
MAX_RUN_BATCHES = 4  # a batch holds at most this many times the batch size in files, counting those that the model needn't see


@dataclass(frozen=True)
class PreparedPhoto(Generic[T]):
    """One file of a gallery, prepared for the model, or the reason why it can't be.

    Attributes:
        index: the file's index in the gallery, from 0.
        item: the file.
        id: sha256 of the file's bytes, hexadecimal; None where they could not be read.
        made: what `prepare` returned for the photo; None for an error and for a duplicate.
        first: for a duplicate, the index of the earlier file with the same bytes.
        error: for a file that can't be used, one sentence.
        notes: what decoding changed, one sentence each.
    """

    index: int
    item: Item
    id: str | None = None
    made: T | None = None
    first: int | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()


def photos_ahead(
    items: Iterable[Item],
    prepare: Callable[[Photo], T],
    settings: Settings,
    *,
    ahead: int,
    workers: int | None = None,
    known: Callable[[str], T | None] = lambda id: None,
    draft: int = 0,
) -> Generator[PreparedPhoto[T], None, None]:
    """Prepare files in worker threads, and yield every file in order. A file with the same bytes as an earlier one is not decoded again.

    Args:
        prepare: turns a photo into what the model needs, such as its input; runs in a worker thread. The photo itself is then dropped.
        ahead: files that may be in work or waiting to be taken; with `workers` it bounds the memory.
        workers: number of threads; by default one per core, because Pillow decodes and resizes without holding the interpreter's lock.
        known: returns what was made of a photo with this id before, or None; runs in a worker thread. A known photo is not decoded.
        draft: pixels a side that a JPEG may be brought down to while it is decoded; 0 for its full size.

    Closing the iterator stops the workers.
    """
    duplicates = _DuplicateIndex()
    failed: set[int] = set()
    pool = ThreadPoolExecutor(workers or min(os.cpu_count() or 1, MAX_WORKERS), "decode", lower_priority)
    waiting: deque[Future[PreparedPhoto[T]]] = deque()

    def take() -> PreparedPhoto[T]:
        ready = waiting.popleft().result()
        if ready.first in failed:  # the error message names the other file, so this file is tried again for a message of its own
            ready = _make(ready.index, ready.item, prepare, settings, known, draft)
        if ready.error:
            failed.add(ready.index)
        return ready

    try:
        for index, item in enumerate(items):
            waiting.append(pool.submit(_make, index, item, prepare, settings, known, draft, duplicates))
            if len(waiting) >= ahead:
                yield take()
        while waiting:
            yield take()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def batches(ready: Iterable[PreparedPhoto[T]], size: int) -> Iterator[list[PreparedPhoto[T]]]:
    """Group files into batches with at most `size` prepared photos each. Errors and duplicates stay in their places in the order.

    A batch also ends after `MAX_RUN_BATCHES` × `size` files: otherwise thousands of duplicates would delay progress reports and stopping.
    """
    batch, new = [], 0
    for photo in ready:
        batch.append(photo)
        new += photo.made is not None
        if new == size or len(batch) == MAX_RUN_BATCHES * size:
            yield batch
            batch, new = [], 0
    if batch:
        yield batch


def sum_up(notes: Iterable[Sequence[str]]) -> list[str]:
    """Sum up the notes on many photos: each of the most frequent ones once, with the number of photos that it is about."""
    counts: Counter[str] = Counter()
    words: dict[str, str] = {}  # notes that differ in numbers alone are one
    for note in (note for of_photo in notes for note in of_photo):
        kind = _NUMBER.sub("…", note)
        counts[kind] += 1
        words[kind] = note if words.setdefault(kind, note) == note else kind
    told = [f"{count:,} photo{'' if count == 1 else 's'}: {words[kind]}" for kind, count in counts.most_common(MAX_NOTES)]
    more = len(counts) - len(told)
    return told + [f"There are {more:,} more notes on single photos."] * (more > 0)


class _DuplicateIndex:
    """Finds the first file with the same bytes. Files are registered in the gallery's order, so the result doesn't depend on timing."""

    def __init__(self):
        self._first: dict[str, int] = {}
        self._next = 0
        self._changed = threading.Condition()

    def register(self, index: int, id: str | None) -> int:
        """Register the next file, after waiting for its turn. Returns: the index of the first file with this id."""
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
    draft: int,
    duplicates: _DuplicateIndex | None = None,
) -> PreparedPhoto[T]:
    id, error = None, None
    try:
        data = item.read(settings)
        id = id_of(data)
    except UserError as reason:
        error = str(reason)
    finally:  # register after any error as well, or the workers of later files wait forever
        first = duplicates.register(index, id) if duplicates else index
    if error or id is None:
        return PreparedPhoto(index, item, error=error)
    if first != index:
        return PreparedPhoto(index, item, id, first=first)
    try:
        if (made := known(id)) is not None:
            return PreparedPhoto(index, item, id, made)
        photo = decode(data, item.shown, settings, id=id, draft=draft)
        return PreparedPhoto(index, item, id, prepare(photo), notes=photo.notes)
    except UserError as reason:
        return PreparedPhoto(index, item, id, error=str(reason))
