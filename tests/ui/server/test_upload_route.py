"""What the door for uploads does with senders who promise much, send little, or never end. test_ui_gate.py asks it through a server."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from starlette.applications import Starlette

from tests.support.http import EDGE, UPLOAD, form
from tests.support.waiting import finished
from vitdemo.core.config import Settings
from vitdemo.core.jobs import scratch as rooms
from vitdemo.ui.server import upload_route
from vitdemo.ui.server.served_files import scratch_of
from vitdemo.ui.server.upload_route import STALLED, UPLOADS_CROWDED, Uploads

SETTINGS = Settings(max_upload_mb=1, max_zip_mb=2, temp_mb=64)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def put(path: Path, megabytes: int, age: float) -> Path:
    """Another visitor's folder with one photo in it."""
    path.mkdir(parents=True)
    (path / "photo").write_bytes(os.urandom(megabytes << 20))
    for each in (path / "photo", path):
        os.utime(each, (time.time() - age,) * 2)
    return path


def send(
    *pieces: bytes, length: int | None = None, ended: bool = True, during=lambda: None, door: Uploads | None = None, host: str = "10.0.0.9"
) -> tuple[int, str]:
    """Status and text of the answer to a body that comes piece by piece; `during` is called before each, and where no more comes."""
    app, waiting, sent = Starlette(routes=[(door or Uploads(SETTINGS)).route]), list(pieces), []
    app.auth = None
    headers = [(b"content-type", f"multipart/form-data; boundary={EDGE}".encode())]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))

    async def receive():
        during()
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or not ended}
        await asyncio.Event().wait()  # for ever

    async def answered(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": UPLOAD, "query_string": b"", "headers": headers, "client": (host, 5000)}
    finished(app(scope, receive, answered))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent).decode()


def test_a_promise_of_much_takes_nothing_from_others(folder, monkeypatch):
    monkeypatch.setattr(upload_route, "STALL_SECONDS", 0.2)
    other = put(folder / "other", 30, 1000)
    assert send(length=10**15, ended=False) == (413, "This is more than the 64 MB that may be sent at once: send fewer or smaller files.")
    assert send(form(("a.png", b"x"))[:50], length=60 << 20, ended=False) == (408, STALLED)
    assert other.is_dir()


def test_what_has_no_stated_length_counts_as_it_arrives(folder, monkeypatch):
    monkeypatch.setattr(rooms, "MIN_LOOK_SECONDS", 60)  # seconds without a look
    other = put(folder / "other", 40, 100)
    scratch_of(SETTINGS).check()
    body = form(*((f"{number}.zip", os.urandom(2_000_000)) for number in range(30)))
    status, text = send(*(body[start : start + 65536] for start in range(0, len(body), 65536)))
    assert (status, text) == (507, "The server has no room for more files just now: try again in a few minutes.")
    assert other.is_dir()
    assert [each.name for each in folder.iterdir()] == ["other"]


def test_one_machine_can_not_fill_the_room_for_all(folder, monkeypatch):
    door, photo = Uploads(SETTINGS), form(("a.zip", os.urandom(1_900_000)))
    statuses = [send(photo, door=door) for _ in range(40)]
    assert {status for status, _ in statuses[:25]} == {200}  # three quarters
    assert set(statuses[26:]) == {(507, UPLOADS_CROWDED)}
    assert send(photo, door=door, host="10.0.0.7")[0] == 200
    for each in folder.rglob("*"):  # asked for again and again, they can't go
        os.utime(each)
    clock = time.time() + 500
    monkeypatch.setattr(upload_route.time, "time", lambda: clock)
    assert send(photo, door=door) == (507, UPLOADS_CROWDED)
    assert sum(each.is_dir() for each in folder.iterdir()) < 28


def test_a_body_that_stalls_or_trickles_is_given_up_and_leaves_nothing(folder, monkeypatch):
    monkeypatch.setattr(upload_route, "STALL_SECONDS", 1)
    body = form(("a.png", bytes(200_000)))
    assert send(body[:1000], ended=False) == (408, STALLED)
    slowly = lambda: time.sleep(0.02)  # noqa: E731 (a slow sender is what is tested)
    assert send(*(body[at : at + 1] for at in range(100)), ended=False, during=slowly) == (408, STALLED)
    assert list(folder.iterdir()) == []
    steady = [body[start : start + 66_000] for start in range(0, len(body), 66_000)]
    steadily = lambda: time.sleep(0.35)  # noqa: E731 (a steady one takes longer than STALL_SECONDS in all)
    assert send(*steady, during=steadily)[0] == 200


def test_an_upload_of_many_files_holds_no_more_than_one_open(folder):
    body = form(*((f"{number}.png", b"x" * 100) for number in range(50)))
    held = []
    send(*(body[at : at + 200] for at in range(0, len(body), 200)), during=lambda: held.append(len(os.listdir("/proc/self/fd"))))
    assert max(held) - held[0] <= 3


def test_files_are_placed_while_others_are_answered(folder, monkeypatch):
    loops = []
    monkeypatch.setattr(Path, "rename", lambda self, target: loops.append(asyncio._get_running_loop()) or os.rename(self, target))
    assert send(form(("a.png", b"x")))[0] == 200
    assert loops == [None]
