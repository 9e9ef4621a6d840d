"""What requests bring: bounded in size, in parts and in time, and large ones in turn."""

import asyncio
import json

import pytest

from tests.support.waiting import finished
from vitdemo.core.errors import UserError
from vitdemo.ui.server import body_limits
from vitdemo.ui.server.body_limits import MAX_LARGE_BODIES, SMALL_BYTES, STREAMED, BodyLimit, BoundedBody, file_list_limit


class Caller:
    """Sends pieces of a body, and then nothing more; after all of it, it leaves when it is told to."""

    def __init__(self, *pieces: bytes, ends: bool = True, pause: float = 0):
        self.pieces, self.ends, self.pause, self.leaves = list(pieces), ends, pause, asyncio.Event()

    async def receive(self) -> dict:
        await asyncio.sleep(self.pause)  # a slow caller is what is tested
        if not self.pieces:
            await self.leaves.wait()
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.pieces.pop(0), "more_body": not self.ends or bool(self.pieces)}


async def read(body: BoundedBody) -> bytes:
    found, more = b"", True
    while more:
        message = await body.receive()
        found, more = found + message["body"], message["more_body"]
    return found


def status_of(measure: BodyLimit, *pieces: bytes, **more) -> int:
    """What a body is refused with; 0 where it is read to its end."""

    async def ask() -> int:
        body = BoundedBody(Caller(*pieces, **more).receive, measure, asyncio.Semaphore(MAX_LARGE_BODIES))
        try:
            assert await read(body) == b"".join(pieces)
        except UserError:
            assert body.refused
        return body.refused

    return finished(ask())


def test_a_body_is_as_large_as_its_route_needs():
    assert status_of(BodyLimit(), bytes(SMALL_BYTES)) == 0
    assert status_of(BodyLimit(), bytes(SMALL_BYTES), b"x") == 413
    assert status_of(file_list_limit(5000), *[bytes(1 << 20)] * 3) == 0
    assert status_of(file_list_limit(5000), *[bytes(1 << 20)] * 4) == 413
    assert status_of(STREAMED, *[bytes(1 << 20)] * 4) == 0


@pytest.mark.parametrize("bomb", [b"[0]," * 90_000, b"[" * 90_000, b'{"":' * 90_000, b"0," * 90_000])
def test_what_takes_long_to_parse_is_refused_unparsed(bomb):
    assert status_of(file_list_limit(5000), bomb) == 413


@pytest.mark.parametrize(
    "photo",
    [
        ["a folder, with a comma/a photo, with another.jpeg", f"/private/vitdemo/{'0' * 64}/a photo, with another.jpeg"],
        {
            "path": f"/private/vitdemo/{'0' * 64}/photo.jpeg",
            "url": f"https://demo.example/gradio_api/file=/private/vitdemo/{'0' * 64}/photo.jpeg",
            "orig_name": "photo.jpeg",
            "size": 123_456,
            "mime_type": "image/jpeg",
            "is_stream": False,
            "meta": {"_type": "gradio.FileData"},
        },
    ],
)
def test_a_whole_gallery_is_taken(photo):
    assert status_of(file_list_limit(5000), json.dumps({"data": [[photo] * 5000]}).encode()) == 0


def test_who_stops_sending_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(body_limits, "STALL_SECONDS", 0.1)
    for measure in (BodyLimit(), STREAMED):
        assert status_of(measure, b"{", ends=False) == 408
    assert status_of(BodyLimit(), *[b"x"] * 20, pause=0.02) == 408  # drop by drop
    assert status_of(STREAMED, *[b"x"] * 20, pause=0.02) == 0  # a slow upload is still one


def test_an_answer_may_take_longer_than_a_question(monkeypatch):
    monkeypatch.setattr(body_limits, "STALL_SECONDS", 0.05)

    async def ask() -> dict:
        body = BoundedBody((client := Caller(b"{}")).receive, BodyLimit(), asyncio.Semaphore(1))
        assert await read(body) == b"{}"
        asyncio.get_running_loop().call_later(0.2, client.leaves.set)
        return await body.receive()

    assert finished(ask())["type"] == "http.disconnect"


def test_large_bodies_come_in_turn_and_small_ones_pass_them():
    async def ask() -> None:
        turns, large = asyncio.Semaphore(1), bytes(SMALL_BYTES + 1)
        held = BoundedBody(Caller(large, ends=False).receive, file_list_limit(5000), turns)
        await held.receive()
        other = asyncio.create_task(read(BoundedBody(Caller(large).receive, file_list_limit(5000), turns)))
        assert await read(BoundedBody(Caller(b"{}").receive, file_list_limit(5000), turns)) == b"{}"
        assert not other.done()
        held.close()
        assert await other == large
        assert not turns.locked()

    finished(ask())
