"""Answer only a visitor's newest request: it supersedes the visitor's earlier requests."""

import itertools
import threading
from collections.abc import Callable
from typing import Any


class LatestRequest:
    """Knows each visitor's newest request, and the request whose answer the page shows."""

    def __init__(self):
        self.generation = 0  # how often all answers were forgotten
        self._count = itertools.count()
        self._newest: dict[str, int] = {}
        self._answered: dict[str, Any] = {}
        self._lock = threading.Lock()

    def begin(self, visitor: str) -> Callable[[], bool]:
        """Begin a request. Returns: a function that says whether the request is still the visitor's newest."""
        with self._lock:
            number = self._newest[visitor] = next(self._count)
            self._answered.pop(visitor, None)
        return lambda: self._newest.get(visitor) == number

    def answered(self, visitor: str, asked: Any, generation: int) -> None:
        """Note the content of the visitor's newest request, once the page shows its answer; not if answers were forgotten since then.

        Args:
            generation: as it was when the request began.
        """
        with self._lock:
            if generation == self.generation:
                self._answered[visitor] = asked

    def shows(self, visitor: str, asked: Any) -> bool:
        """Whether the page shows the answer to a request with this content, and no other request is under way."""
        return self._answered.get(visitor) == asked

    def forget(self) -> None:
        """Forget all answers, so that every request is answered anew."""
        with self._lock:
            self.generation += 1
            self._answered.clear()

    def leave(self, visitor: str) -> None:
        """Forget a visitor who has left: none of the visitor's requests is answered any more."""
        with self._lock:
            self._newest.pop(visitor, None)
            self._answered.pop(visitor, None)
