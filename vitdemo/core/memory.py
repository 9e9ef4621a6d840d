"""Memory: return freed blocks to the system, and share a bounded amount among threads.

glibc keeps the memory of large photos after they are freed: 36 photos of 48 megapixels, four at a time, left the app at 1.6 GB instead of
1.0. A lower mmap threshold fixes that, but makes every layer of the model pay for fresh pages: galleries took 1.8 times as long. Trimming
every few seconds costs next to nothing. All threads share one heap, because glibc never trims the ends of per-thread heaps.
"""

import ctypes
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vitdemo.core.errors import QueueFull

TRIM_SECONDS = 5  # between two trims
M_ARENA_MAX = -8  # from glibc's malloc.h


def give_back_freed_memory() -> bool:
    """Start a thread that returns freed memory to the system every few seconds. Returns False where the C library can't trim."""
    libc, trim = _libc(), _trim()
    if libc is None or trim is None:
        return False
    libc.mallopt(M_ARENA_MAX, 1)

    def keep_trimming() -> None:
        while True:
            time.sleep(TRIM_SECONDS)
            trim(0)

    threading.Thread(target=keep_trimming, name="trim", daemon=True).start()
    return True


def own_mb() -> float:
    """Return the memory that this process alone holds, in megabytes, without shared libraries; 0 where the system doesn't report it.

    Freed memory is returned to the system first.
    """
    if trim := _trim():
        trim(0)
    try:
        match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return 0.0
    return 1024 * int(match[1]) / 1e6 if match else 0.0


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform.startswith("linux") else None


def _trim() -> Callable[[int], int] | None:
    return getattr(_libc(), "malloc_trim", None)  # musl has none


class Budget:
    """An amount that threads share. A request for more than the total waits until nothing else is held.

    Args:
        total: the amount.
        most: requests that may wait for their share; None for no limit.
    """

    def __init__(self, total: int, most: int | None = None):
        self.total, self.most = total, most
        self._taken = self._waiting = 0
        self._changed = threading.Condition()

    @contextmanager
    def room_for(self, amount: int) -> Iterator[None]:
        """Wait until `amount` is free, and hold it while the context is open. Raises: QueueFull where too many requests wait already."""
        with self._changed:
            if self.most is not None and self._waiting >= self.most:
                raise QueueFull("requests", self._waiting)
            self._waiting += 1
            self._changed.wait_for(lambda: self._taken + amount <= self.total or not self._taken)
            self._waiting -= 1
            self._taken += amount
        try:
            yield
        finally:
            with self._changed:
                self._taken -= amount
                self._changed.notify_all()
