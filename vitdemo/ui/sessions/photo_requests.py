"""Answer each visitor's newest request about a photo: take a turn, watch the model, wait in the queue, answer, and note the answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from vitdemo.ui.sessions.latest_request import LatestRequest
from vitdemo.ui.sessions.photo_queue import PhotoQueue

BUSY_SECONDS = 0.4  # before the page hears that its photo waits, and between two polls of the queue


@dataclass(frozen=True)
class Waiting:
    """What a request waits for.

    Attributes:
        text: in words; empty where only the model's status line has changed.
        share: the downloaded share of the model; None where nothing is downloaded.
        status: the model's status line; empty where it has not changed.
    """

    text: str = ""
    share: float | None = None
    status: str = ""


@dataclass(frozen=True)
class Answer:
    """What the page shows.

    Attributes:
        value: of the work.
        complete: whether the same request needs no other answer; false for an error that may pass.
        asked: the request that the page will send for what it shows now, and that needs no answer; None for the one that was sent.
    """

    value: Any
    complete: bool = True
    asked: Any = None


class PhotoRequests:
    """Requests of one kind. A visitor's newest one supersedes the earlier ones, which end without an answer."""

    def __init__(self, photo_queue: PhotoQueue):
        self._photo_queue, self._latest = photo_queue, LatestRequest()

    async def answer(
        self, visitor: str, client: str, asked: Any, watching: AsyncIterator[Waiting], work: Callable[[], Answer]
    ) -> AsyncIterator[Waiting | Answer]:
        """Answer a request. Waiting holds no thread.

        Args:
            asked: the request's content. One whose answer the page shows already is not answered again.
            watching: what the model waits for, until it is there.
            work: computes the answer, in a thread of the queue.

        Raises: UserError where the queue is full, or another client's photos took the place of this one.
        """
        if self._latest.shows(visitor, asked):
            return
        newest, generation = self._latest.begin(visitor), self._latest.generation
        async for waiting in watching:
            if not newest():
                return
            yield waiting
        if not newest():
            return
        ticket, shown = self._photo_queue.put(lambda: work() if newest() else None, client), ""
        while not (await asyncio.wait([ticket.result], timeout=BUSY_SECONDS))[0]:
            if newest() and ticket.text != shown:
                shown = ticket.text
                yield Waiting(shown)
        answer = await ticket.result
        if answer and newest():
            if answer.complete:
                self._latest.answered(visitor, answer.asked or asked, generation)
            yield answer

    def supersede(self, visitor: str) -> None:
        """End the visitor's request that is under way without an answer."""
        self._latest.begin(visitor)

    def forget(self) -> None:
        """Answer every request anew, even one whose answer a page shows."""
        self._latest.forget()

    def leave(self, visitor: str) -> None:
        """Forget a visitor who has left: none of the visitor's requests is answered any more."""
        self._latest.leave(visitor)
