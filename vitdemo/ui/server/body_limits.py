"""What requests bring, taken in measure: no more than their route needs, nothing that takes long to parse, and not for ever."""

import asyncio
import math
from dataclasses import dataclass

from starlette.types import Message, Receive

from vitdemo.core.errors import UserError

SMALL_BYTES = 64 << 10  # bytes of a request that brings no list of files
LIST_BYTES, BYTES_PER_PHOTO = 1 << 20, 600  # bytes of one that may, and more for each photo that a gallery may have
LIST_PARTS, PARTS_PER_PHOTO = 10_000, 12  # commas and opening brackets in it: JSON takes its time by these
STALL_SECONDS = 60.0  # seconds
MAX_LARGE_BODIES = 16  # bodies over SMALL on their way at a time; the others wait


@dataclass(frozen=True)
class BodyLimit:
    """What the body of a request may be.

    Attributes:
        size: bytes.
        parts: commas and opening brackets.
        kept: it is held in memory, so that all of it has to come within STALL seconds; else each piece of it.
    """

    size: float = SMALL_BYTES
    parts: float = math.inf
    kept: bool = True


def file_list_limit(photos: int) -> BodyLimit:
    """For a request that may name so many files."""
    return BodyLimit(LIST_BYTES + BYTES_PER_PHOTO * photos, LIST_PARTS + PARTS_PER_PHOTO * photos)


STREAMED = BodyLimit(math.inf, kept=False)  # whoever reads it counts for themselves


class BoundedBody:
    """The body of one request.

    Args:
        turns: one is taken by a large body while it is on its way.

    Attributes:
        refused: the status to answer with, once it is more than it may be; else 0.
    """

    def __init__(self, receive: Receive, measure: BodyLimit, latest: asyncio.Semaphore):
        self._receive, self._measure, self._latest = receive, measure, latest
        self._until = asyncio.get_running_loop().time() + STALL_SECONDS
        self._size = self._parts = self.refused = 0
        self._large = self._over = False
        self._whole: Message | None = None

    async def whole(self) -> bytes:
        """All of it at once, which can be received afterwards as if it came only then."""
        pieces = []
        while not self._over:
            pieces.append((await self.receive()).get("body", b""))
        self._whole = {"type": "http.request", "body": b"".join(pieces), "more_body": False}
        return self._whole["body"]

    async def receive(self) -> Message:
        """The next piece. Raises: UserError once it is refused, which its reader may take for a body that can't be read."""
        if self._whole:
            message, self._whole = self._whole, None
            return message
        if self._over:  # waits for the caller to leave, however long
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
                await self._count(message.get("body", b""))
        except TimeoutError:
            self.refused = 408
        if self.refused:
            self.close()
            raise UserError("The request was refused.")
        if not self._measure.kept:
            self._until = asyncio.get_running_loop().time() + STALL_SECONDS
        if not message.get("more_body"):
            self._over = True
            self.close()
        return message

    def close(self) -> None:
        """No more of it is read."""
        if self._large:
            self._large = False
            self._latest.release()

    async def _count(self, data: bytes) -> None:
        self._size += len(data)
        if self._measure.parts < math.inf:
            self._parts += data.count(b",") + data.count(b"[") + data.count(b"{")
        if self._size > self._measure.size or self._parts > self._measure.parts:
            self.refused = 413
        elif self._measure.kept and self._size > SMALL_BYTES and not self._large:
            await self._latest.acquire()
            self._large = True
