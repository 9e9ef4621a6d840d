"""The line of photos: in order, its places told, its end said, and nobody who left holds a place."""

import asyncio
import threading

import pytest

from tests.conftest import finished
from vitdemo.core.errors import UserError
from vitdemo.ui.desk import AT_ONCE, Desk


def test_places_in_line_and_its_end():
    async def visit() -> None:
        desk, go = Desk(3), threading.Event()
        working = [desk.take(go.wait) for _ in range(AT_ONCE)]
        while desk.begun < AT_ONCE:
            await asyncio.sleep(0.01)
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
        assert desk.begun == AT_ONCE + 4

    finished(visit())


def test_a_fault_is_its_callers():
    async def visit() -> None:
        desk = Desk(3)
        with pytest.raises(ZeroDivisionError):
            await desk.take(lambda: 1 / 0).result
        assert await desk.take(lambda: "going on").result == "going on"

    finished(visit())
