"""Requests about a photo: the newest is answered, once, after the model and the queue; the others end in silence."""

import asyncio
import threading

import pytest

from tests.support.waiting import finished
from vitdemo.core.errors import UserError
from vitdemo.ui.sessions import photo_requests
from vitdemo.ui.sessions.photo_queue import WORKERS, PhotoQueue
from vitdemo.ui.sessions.photo_requests import Answer, PhotoRequests, Waiting


async def loading(*texts: str):
    for text in texts:
        yield Waiting(text, status=text)


async def steps(requests: PhotoRequests, asked, work, visitor: str = "ann", watching=()) -> list:
    return [step async for step in requests.answer(visitor, "10.0.0.1", asked, loading(*watching), work)]


def test_a_request_is_answered_after_its_model_and_not_twice():
    async def ask() -> None:
        requests, calls = PhotoRequests(PhotoQueue(3)), []
        work = lambda: calls.append(1) or Answer("cat")  # noqa: E731
        assert await steps(requests, "photo", work, watching=("loading",)) == [Waiting("loading", status="loading"), Answer("cat")]
        assert await steps(requests, "photo", work) == []
        assert await steps(requests, "photo", work, visitor="bob") == [Answer("cat")]
        assert await steps(requests, "another", work) == [Answer("cat")]
        assert await steps(requests, "photo", work) == [Answer("cat")]  # what the page shows is the other's by now
        requests.leave("ann")
        assert await steps(requests, "photo", work) == [Answer("cat")]
        assert len(calls) == 5

    finished(ask())


def test_an_answer_that_is_not_complete_is_asked_again():
    async def ask() -> None:
        requests = PhotoRequests(PhotoQueue(3))
        answers = iter((Answer("broken", complete=False), Answer("cat")))
        assert [await steps(requests, "photo", lambda: next(answers)) for _ in range(3)] == [[Answer("broken", False)], [Answer("cat")], []]

    finished(ask())


def test_an_answer_may_answer_another_request_as_well_until_all_are_forgotten():
    async def ask() -> None:
        requests = PhotoRequests(PhotoQueue(3))
        welcome = Answer("a sample", asked="the sample's own event")
        assert await steps(requests, "welcome", lambda: welcome) == [welcome]
        assert await steps(requests, "the sample's own event", lambda: Answer("again")) == []
        requests.forget()
        assert await steps(requests, "the sample's own event", lambda: Answer("again")) == [Answer("again")]

    finished(ask())


def test_a_superseded_request_ends_without_an_answer():
    async def ask() -> None:
        requests = PhotoRequests(PhotoQueue(3))
        assert await steps(requests, "welcome", lambda: requests.supersede("ann") or Answer("a sample")) == []
        assert await steps(requests, "welcome", lambda: requests.supersede("bob") or Answer("a sample")) == [Answer("a sample")]

    finished(ask())


def test_a_newer_request_supersedes_one_that_waits(monkeypatch):
    monkeypatch.setattr(photo_requests, "BUSY_SECONDS", 0.01)

    async def ask() -> None:
        requests, go, ran = PhotoRequests(PhotoQueue(30)), threading.Event(), []
        blocking = [asyncio.create_task(steps(requests, "x", lambda: go.wait(60) and Answer(""), f"visitor {n}")) for n in range(WORKERS)]
        await asyncio.sleep(0.05)  # the workers have taken these up, in order
        old = asyncio.create_task(steps(requests, "old", lambda: ran.append("old") or Answer("old")))
        await asyncio.sleep(0.05)
        new = asyncio.create_task(steps(requests, "new", lambda: ran.append("new") or Answer("new")))
        await asyncio.sleep(0.05)
        go.set()
        assert await new == [Waiting("Looking at the photo …"), Answer("new")]
        assert await old == [Waiting("Looking at the photo …")]
        assert ran == ["new"]
        await asyncio.gather(*blocking)

    finished(ask())


def test_a_full_queue_is_said():
    async def ask() -> None:
        requests, go = PhotoRequests(PhotoQueue(1)), threading.Event()
        for number in range(WORKERS + 1):
            asyncio.create_task(steps(requests, "x", lambda: go.wait(60) and Answer(""), f"visitor {number}"))  # noqa: RUF006
        await asyncio.sleep(0.05)
        with pytest.raises(UserError, match="the queue for photos is full, with 1 waiting"):
            await steps(requests, "photo", lambda: Answer("cat"))
        go.set()

    finished(ask())
