"""A queue in which clients take turns: a client with many items waits behind its own items, not ahead of other clients."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
CROWDED = "The app is busy, and most of what waits comes from your network: ask for less at a time."


class FairQueue(Generic[T]):
    """Waiting items, taken from one client after another (round robin). Each client's own items keep their order.

    Args:
        most: items that may wait.
    """

    def __init__(self, most: int):
        self._most = most
        self._queues: dict[str, deque[T]] = {}  # client → its items; the first client is next

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __iter__(self) -> Iterator[T]:
        """Iterate over all items, client by client."""
        return (item for queue in self._queues.values() for item in queue)

    def put(self, item: T, client: str) -> T | None:
        """Add an item to its client's queue.

        Returns: the item that is evicted where the queue is full, or None. It is the last item of the client with the most items, or the
        new item itself where the new item's client would then have as many.
        """
        evicted = None
        if len(self) >= self._most:
            longest = max(self._queues.values(), key=len)
            if len(longest) <= len(self._queues.get(client, ())) + 1:
                return item
            evicted = longest.pop()
        self._queues.setdefault(client, deque()).append(item)
        return evicted

    def get(self) -> T:
        """Remove and return the next item; all other clients come before its client's next one. Raises: LookupError where none waits."""
        if not self._queues:
            raise LookupError("no item waits in the queue")
        client = next(iter(self._queues))
        queue = self._queues.pop(client)
        item = queue.popleft()
        if queue:
            self._queues[client] = queue
        return item

    def remove(self, item: T) -> None:
        """Remove an item from the queue. Does nothing where the item is not in the queue."""
        for client, queue in self._queues.items():
            if item in queue:
                queue.remove(item)
                if not queue:
                    del self._queues[client]
                return

    def position(self, item: T) -> int:
        """Return how many items would be taken before this one if no more were added; 0 where it is not in the queue."""
        queues = list(self._queues.values())
        for turn, queue in enumerate(queues):
            if item in queue:
                own = queue.index(item)
                return own + sum(min(len(other), own + (position < turn)) for position, other in enumerate(queues) if position != turn)
        return 0
