"""Whose address it is, and that one machine that asks without end does not keep others from being answered."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.requests import Request

from tests.support.http import Visitor
from tests.support.pictures import noise
from vitdemo.ui.server.client import client_of

pytestmark = pytest.mark.app


@pytest.mark.parametrize(
    ("host", "caller"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::9", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::7", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_machine_is_one_caller(host, caller):
    assert client_of(Request({"type": "http", "client": (host, 5000)})) == caller


def test_a_socket_of_the_systems_has_no_address():
    assert client_of(Request({"type": "http", "client": None})) == ""


class Caller(Visitor):
    """A visitor at another machine, as a proxy would tell it."""

    def __init__(self, server, host: str):
        super().__init__(server)
        self.host = host

    def send(self, method, path, body=None, kind="application/json", **more):
        return super().send(method, path, body, kind, **{"X-Forwarded-For": self.host} | more)

    def photo(self, data: bytes) -> dict:
        return {"path": self.upload("photo.png", data), "meta": {"_type": "gradio.FileData"}, "orig_name": "photo.png"}


def test_one_machine_that_asks_without_end_keeps_nobody_from_being_answered(start_app, bundle, picture, tmp_path):
    server = start_app("--model", f"local-dir:{bundle}", "--max-queue", "8")
    noise(2000, 1500).save(tmp_path / "large.png")
    hostile, other = Caller(server, "10.0.0.9"), Caller(server, "10.0.0.7")
    large, small, enough = hostile.photo((tmp_path / "large.png").read_bytes()), other.photo(picture.read_bytes()), threading.Event()
    assert "event: complete" in other.call("classify", [small, "", 3, None])  # the model is there

    def ask() -> list[bool]:
        answers = []
        while not enough.is_set():
            answers.append("event: complete" in hostile.call("classify", [large, "", 3, None]))
        return answers

    with ThreadPoolExecutor(40) as machine:
        asking = [machine.submit(ask) for _ in range(40)]
        try:
            said = [other.call("classify", [small, "", 3, None]) for _ in range(8)]
        finally:
            enough.set()
    assert [each for each in said if "event: complete" not in each] == []
    answers = [each for asked in asking for each in asked.result()]
    assert True in answers  # it has its share
    assert False in answers  # and the line was full
