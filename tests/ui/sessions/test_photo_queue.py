"""The line of photos: callers in turn, its places told, its end said, and nobody who left holds a place."""

import asyncio
import threading

import pytest

from tests.conftest import finished
from vitdemo.core.errors import UserError
from vitdemo.core.fair_line import CROWDED
from vitdemo.ui.desk import AT_ONCE, Desk


async def busy(desk: Desk, go: threading.Event, many: int = AT_ONCE) -> list:
    """Work that goes on until it may end."""
    begun = threading.Semaphore(0)

    def work() -> None:
        begun.release()
        assert go.wait(60)

    places = [desk.take(work) for _ in range(many)]
    for _ in places:
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    return places


def test_places_in_line_and_its_end():
    async def visit() -> None:
        desk, go = Desk(3), threading.Event()
        working = await busy(desk, go)
        waiting = [desk.take(lambda number=number: number) for number in range(3)]
        assert [place.before for place in (*working, *waiting)] == [0] * AT_ONCE + [0, 1, 2]
        assert [place.words for place in waiting] == ["Looking at the photo …"] * 2 + ["2 photos are before yours …"]
        with pytest.raises(UserError) as refusal:
            desk.take(lambda: None)
        assert str(refusal.value) == "The app is busy: 3 photos are waiting before yours. Try again in a minute."
        waiting[0].result.cancel()
        await asyncio.sleep(0.01)
        assert waiting[2].before == 1
        last = desk.take(lambda: "last")
        go.set()
        assert [await place.result for place in (*waiting[1:], last)] == [1, 2, "last"]

    finished(visit())


def test_callers_take_turns_and_who_has_most_gives_way():
    async def visit() -> None:
        desk, go, end, order = Desk(3), threading.Event(), threading.Event(), []
        working = await busy(desk, end, AT_ONCE - 1) + await busy(desk, go, 1)  # one goes on, in order
        many = [desk.take(lambda number=number: order.append(f"many {number}"), "10.0.0.9") for number in range(3)]
        one = desk.take(lambda: order.append("one"), "10.0.0.7")
        assert [place.before for place in (many[0], one, many[1])] == [0, 1, 2]
        with pytest.raises(UserError) as crowded:
            await many[2].result
        assert str(crowded.value) == CROWDED
        with pytest.raises(UserError, match="3 photos are waiting before yours"):
            desk.take(lambda: None, "10.0.0.9")
        go.set()
        await asyncio.gather(*(place.result for place in (*many[:2], one)))
        end.set()
        await asyncio.gather(*(place.result for place in working))
        assert order == ["many 0", "one", "many 1"]

    finished(visit())


def test_a_fault_is_its_callers():
    async def visit() -> None:
        desk = Desk(3)
        with pytest.raises(ZeroDivisionError):
            await desk.take(lambda: 1 / 0).result
        assert await desk.take(lambda: "going on").result == "going on"

    finished(visit())


def test_all_workers_are_there_again_after_many_have_come_and_gone():
    async def visit() -> None:
        desk = Desk(1000)
        places = [desk.take(lambda number=number: number) for number in range(300)]
        for place in places[::3]:
            place.result.cancel()
        kept = [place for number, place in enumerate(places) if number % 3]
        assert await asyncio.gather(*(place.result for place in kept)) == [number for number in range(300) if number % 3]
        go = threading.Event()
        working = await busy(desk, go)
        go.set()
        await asyncio.gather(*(place.result for place in working))

    finished(visit())
