"""Limit request bodies: no more bytes than the route needs, nothing that is slow to parse, and a timeout."""

import asyncio
import math
from dataclasses import dataclass

from starlette.types import Message, Receive

from vitdemo.core.errors import UserError

SMALL_BYTES = 64 << 10  # of a request that lists no files
LIST_BYTES, BYTES_PER_PHOTO = 1 << 20, 600  # of a request that may list files: a base, and more per photo of the largest gallery
LIST_PARTS, PARTS_PER_PHOTO = 10_000, 12  # commas and opening brackets in such a request: they decide how long JSON takes to parse
STALL_SECONDS = 60.0  # for the whole of a body that is kept in memory, or for the next piece of any other
MAX_LARGE_BODIES = 16  # bodies over SMALL_BYTES that arrive at the same time; the others wait


@dataclass(frozen=True)
class BodyLimit:
    """The limit of one request's body.

    Attributes:
        size: bytes.
        parts: commas and opening brackets.
        kept: whether the body is kept in memory. Then the whole body must arrive within STALL_SECONDS, else each piece of it.
    """

    size: float = SMALL_BYTES
    parts: float = math.inf
    kept: bool = True


def file_list_limit(photos: int) -> BodyLimit:
    """The limit for a request that may list this many files."""
    return BodyLimit(LIST_BYTES + BYTES_PER_PHOTO * photos, LIST_PARTS + PARTS_PER_PHOTO * photos)


STREAMED = BodyLimit(math.inf, kept=False)  # the upload route counts its bytes itself


class BoundedBody:
    """The body of one request, checked against a limit while it arrives.

    Args:
        limit: what the body may be at most.
        slots: the semaphore of which a large body holds a slot while it arrives.

    Attributes:
        refused: the HTTP status of the refusal, once the body is over its limit; else 0.
    """

    def __init__(self, receive: Receive, limit: BodyLimit, slots: asyncio.Semaphore):
        self._receive, self._limit, self._slots = receive, limit, slots
        self._deadline = asyncio.get_running_loop().time() + STALL_SECONDS
        self._size = self._parts = self.refused = 0
        self._large = self._over = False

    async def receive(self) -> Message:
        """Receive the next message. Raises: UserError once the body is refused; its reader may mistake that for an unreadable body."""
        if self._over:  # waits until the client disconnects
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
                await self._count(message.get("body", b""))
        except TimeoutError:
            self.refused = 408
        if self.refused:
            self.close()
            raise UserError("The request was refused.")
        if not self._limit.kept:
            self._deadline = asyncio.get_running_loop().time() + STALL_SECONDS
        if not message.get("more_body"):
            self._over = True
            self.close()
        return message

    def close(self) -> None:
        """Free the body's slot, because no more of the body is read."""
        if self._large:
            self._large = False
            self._slots.release()

    async def _count(self, data: bytes) -> None:
        self._size += len(data)
        if self._limit.parts < math.inf:
            self._parts += data.count(b",") + data.count(b"[") + data.count(b"{")
        if self._size > self._limit.size or self._parts > self._limit.parts:
            self.refused = 413
        elif self._limit.kept and self._size > SMALL_BYTES and not self._large:
            await self._slots.acquire()
            self._large = True
