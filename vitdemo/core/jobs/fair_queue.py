"""A line in which callers take turns: who asks for much waits behind themselves, not before the others."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
CROWDED = "The app is busy, and most of what waits comes from your network: ask for less at a time."


class FairQueue(Generic[T]):
    """What waits. The first of each caller's things in turn goes next (round robin); among a caller's own the order is theirs.

    Args:
        most: things that may wait.
    """

    def __init__(self, most: int):
        self._most = most
        self._of: dict[str, deque[T]] = {}  # caller → things; who stands first is next

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def __iter__(self) -> Iterator[T]:
        """Caller by caller."""
        return (thing for things in self._of.values() for thing in things)

    def join(self, thing: T, client: str) -> T | None:
        """Queue up.

        Returns: what has to give way, where the line is full: the last thing of the caller who has the most. That is the newcomer itself
        where its caller would have as many.
        """
        gone = None
        if len(self) >= self._most:
            crowd = max(self._of.values(), key=len)
            if len(crowd) <= len(self._of.get(client, ())) + 1:
                return thing
            gone = crowd.pop()
        self._of.setdefault(client, deque()).append(thing)
        return gone

    def take(self) -> T:
        """The next. Its caller's turn comes again after all others'. Raises: StopIteration where nothing waits."""
        client = next(iter(self._of))
        things = self._of.pop(client)
        taken = things.popleft()
        if things:
            self._of[client] = things
        return taken

    def remove(self, thing: T) -> None:
        """It does not wait any more. Nothing happens where it did not."""
        for client, things in self._of.items():
            if thing in things:
                things.remove(thing)
                if not things:
                    del self._of[client]
                return

    def before(self, thing: T) -> int:
        """How many would be taken before it, if no one else came."""
        clients = list(self._of.values())
        for turn, things in enumerate(clients):
            if thing in things:
                own = things.index(thing)
                return own + sum(min(len(each), own + (other < turn)) for other, each in enumerate(clients) if other != turn)
        return 0
