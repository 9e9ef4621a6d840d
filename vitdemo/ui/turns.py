"""Only a visitor's newest request answers: whatever they asked before gives way to it."""

import itertools
import threading
from collections.abc import Callable


class Turns:
    """Hands out numbers, in order, to each visitor's requests."""

    def __init__(self):
        self._count = itertools.count()
        self._newest: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, visitor: str) -> Callable[[], bool]:
        """Begin a request. Returns a function that says whether it is still the visitor's newest."""
        with self._lock:
            number = self._newest[visitor] = next(self._count)
        return lambda: self._newest.get(visitor) == number

    def leave(self, visitor: str) -> None:
        """The visitor has gone: nothing of theirs answers any more."""
        with self._lock:
            self._newest.pop(visitor, None)
