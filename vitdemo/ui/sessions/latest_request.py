"""Only a visitor's newest request answers: whatever they asked before gives way to it."""

import itertools
import threading
from collections.abc import Callable
from typing import Any


class LatestRequest:
    """Hands out numbers, in order, to each visitor's requests."""

    def __init__(self):
        self._count = itertools.count()
        self._newest: dict[str, int] = {}
        self._answered: dict[str, Any] = {}
        self._lock = threading.Lock()

    def take(self, visitor: str) -> Callable[[], bool]:
        """Begin a request. Returns a function that says whether it is still the visitor's newest."""
        with self._lock:
            number = self._newest[visitor] = next(self._count)
            self._answered.pop(visitor, None)
        return lambda: self._newest.get(visitor) == number

    def answered(self, visitor: str, asked: Any) -> None:
        """Note what the visitor's newest request asked, once the page shows its answer."""
        with self._lock:
            self._answered[visitor] = asked

    def shows(self, visitor: str, asked: Any) -> bool:
        """Whether the page shows the answer to just this, and nothing else is on its way."""
        return self._answered.get(visitor) == asked

    def leave(self, visitor: str) -> None:
        """The visitor has gone: nothing of theirs answers any more."""
        with self._lock:
            self._newest.pop(visitor, None)
            self._answered.pop(visitor, None)
