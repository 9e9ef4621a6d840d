"""The line of photos: callers in turn, its places told, its end said, and nobody who left holds a place."""

import asyncio
import threading

import pytest

from tests.support.waiting import finished
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.fair_queue import CROWDED
from vitdemo.ui.sessions.photo_queue import WORKERS, PhotoQueue


async def busy(photo_queue: PhotoQueue, go: threading.Event, many: int = WORKERS) -> list:
    """Work that goes on until it may end."""
    begun = threading.Semaphore(0)

    def work() -> None:
        begun.release()
        assert go.wait(60)

    places = [photo_queue.put(work) for _ in range(many)]
    for _ in places:
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    return places


def test_places_in_line_and_its_end():
    async def visit() -> None:
        photo_queue, go = PhotoQueue(3), threading.Event()
        working = await busy(photo_queue, go)
        waiting = [photo_queue.put(lambda number=number: number) for number in range(3)]
        assert [place.position for place in (*working, *waiting)] == [0] * WORKERS + [0, 1, 2]
        assert [place.text for place in waiting] == ["Looking at the photo …"] * 2 + ["2 photos are before yours …"]
        with pytest.raises(UserError) as refusal:
            photo_queue.put(lambda: None)
        assert str(refusal.value) == "The app is busy: the queue for photos is full, with 3 waiting. Try again in a minute."
        waiting[0].result.cancel()
        while waiting[2].position != 1:
            await asyncio.sleep(0)  # lets the cancellation arrive
        last = photo_queue.put(lambda: "last")
        go.set()
        assert [await place.result for place in (*waiting[1:], last)] == [1, 2, "last"]

    finished(visit())


def test_callers_take_turns_and_who_has_most_gives_way():
    async def visit() -> None:
        photo_queue, go, end, order = PhotoQueue(3), threading.Event(), threading.Event(), []
        working = await busy(photo_queue, end, WORKERS - 1) + await busy(photo_queue, go, 1)  # one goes on, in order
        many = [photo_queue.put(lambda number=number: order.append(f"many {number}"), "10.0.0.9") for number in range(3)]
        one = photo_queue.put(lambda: order.append("one"), "10.0.0.7")
        assert [place.position for place in (many[0], one, many[1])] == [0, 1, 2]
        with pytest.raises(UserError) as crowded:
            await many[2].result
        assert str(crowded.value) == CROWDED
        with pytest.raises(UserError, match="the queue for photos is full, with 3 waiting"):
            photo_queue.put(lambda: None, "10.0.0.9")
        go.set()
        await asyncio.gather(*(place.result for place in (*many[:2], one)))
        end.set()
        await asyncio.gather(*(place.result for place in working))
        assert order == ["many 0", "one", "many 1"]

    finished(visit())


def test_a_fault_is_its_callers():
    async def visit() -> None:
        photo_queue = PhotoQueue(3)
        with pytest.raises(ZeroDivisionError):
            await photo_queue.put(lambda: 1 / 0).result
        assert await photo_queue.put(lambda: "going on").result == "going on"

    finished(visit())


def test_all_workers_are_there_again_after_many_have_come_and_gone():
    async def visit() -> None:
        photo_queue = PhotoQueue(1000)
        places = [photo_queue.put(lambda number=number: number) for number in range(300)]
        for place in places[::3]:
            place.result.cancel()
        kept = [place for number, place in enumerate(places) if number % 3]
        assert await asyncio.gather(*(place.result for place in kept)) == [number for number in range(300) if number % 3]
        go = threading.Event()
        working = await busy(photo_queue, go)
        go.set()
        await asyncio.gather(*(place.result for place in working))

    finished(visit())
