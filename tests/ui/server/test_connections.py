"""Connections: who does not ask in time is hung up on, who has waited longest makes room, who is at work stays."""

import logging
import socket
import time
from collections import Counter

import pytest
import uvicorn
from gradio.http_server import Server

from tests.support.waiting import until
from vitdemo.ui.server import connections
from vitdemo.ui.server.connections import RateLimitFilter, TimedProtocol
from vitdemo.ui.server.gradio_internals import hang_up

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(scope, receive, send) -> None:
    """Says a word; under /stream goes on until its reader has gone."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    if scope["path"] == "/stream":
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
    else:
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    server = Server(uvicorn.Config(answer, port=0, lifespan="off", log_level="warning", timeout_graceful_shutdown=1))
    server.run_in_thread()
    connections.install(server)
    yield server
    server.close()


def connect(server, data: bytes = b"", host: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=10, source_address=(host, 0))
    connection.sendall(data)
    return connection


def is_open(connection: socket.socket, seconds: float = 0.05) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def is_answered(connection: socket.socket) -> bool:
    said = b""
    connection.settimeout(10)
    while not said.endswith(b"\r\n\r\nok"):
        if not (more := connection.recv(1000)):
            return False
        said += more
    return True


def newest(server) -> int:
    """The port of the client whose connection came last, of those that are open."""
    waiting = [each for each in list(server.server_state.connections) if getattr(each, "idle_since", None)]
    return max(waiting, key=lambda each: each.idle_since).client[1] if waiting else 0


def is_settled(stream: socket.socket) -> bool:
    """Whether a stream has begun, or was turned away."""
    stream.settimeout(0.05)
    try:
        stream.recv(1, socket.MSG_PEEK)
        return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("head", [b"", b"GET", ASK[:-1]])
def test_half_a_head_is_not_waited_for(server, head):
    begin = time.monotonic()
    assert not is_open(connect(server, head), 10)
    assert 0.3 < time.monotonic() - begin < 5


def test_neither_is_one_that_comes_drop_by_drop(server):
    connection, sent = connect(server), 0
    while sent < len(ASK) and is_open(connection):
        connection.sendall(ASK[sent : sent + 1])
        sent += 1
    assert 5 < sent < len(ASK)


def test_nor_the_second_head_of_a_connection(server):
    connection = connect(server, ASK)
    assert is_answered(connection)
    assert is_open(connection, 1)  # with nothing asked it may stay
    connection.sendall(b"GET")
    assert not is_open(connection, 5)


def test_an_answer_may_take_longer_and_another_question_may_follow(server):
    stream = connect(server, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    until_first_word = b""
    while not until_first_word.endswith(b"\r\n\r\no"):
        until_first_word += stream.recv(1000)
    assert is_open(stream, 1)
    connection = connect(server, ASK + ASK)
    assert is_answered(connection)


def test_who_has_waited_longest_makes_room(server, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 60)
    monkeypatch.setattr(TimedProtocol, "most", 10)
    stream = connect(server, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert stream.recv(1)
    stream.recv(1000)
    asked = connect(server, ASK)
    assert is_answered(asked)
    waiting = []
    for _ in range(30):
        waiting.append(connect(server, b"GET"))
        until(lambda: newest(server) == waiting[-1].getsockname()[1])
    assert is_answered(connect(server, ASK))
    assert is_open(stream)
    assert not is_open(asked)
    assert [is_open(each) for each in waiting] == [False] * 22 + [True] * 8
    assert len(server.server_state.connections) <= 10


def test_one_machine_can_not_take_all_connections(server, monkeypatch):
    monkeypatch.setattr(TimedProtocol, "most", 10)
    stream = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"

    def held() -> Counter:
        return Counter(each.client[0] for each in list(server.server_state.connections))

    early = connect(server, stream, "127.0.0.7")
    until(lambda: held() == {"127.0.0.7": 1})
    streams = []
    for _ in range(12):
        streams.append(connect(server, stream, "127.0.0.9"))
        until(lambda: held()["127.0.0.9"] == min(len(streams), 9) and all(map(is_settled, streams)))

    assert held() == {"127.0.0.7": 1, "127.0.0.9": 9}  # a newcomer of the same machine is turned away
    late = connect(server, ASK, "127.0.0.8")
    assert is_answered(late)
    assert held() == {"127.0.0.7": 1, "127.0.0.8": 1, "127.0.0.9": 8}
    two = [connect(server, stream, f"127.0.1.{number % 2}") for number in range(20)]  # machines in league
    until(lambda: len(server.server_state.connections) <= 10)
    assert is_answered(connect(server, ASK, "127.0.0.6"))
    for each in (early, late, *streams, *two):
        each.close()


def test_hanging_up_ends_streams_in_silence(server, caplog):
    streams = [connect(server, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(3)]
    assert all(each.recv(1) for each in streams)
    hang_up(server, 1)
    server.close()
    assert not server.thread.is_alive()
    assert caplog.records == []


def test_as_many_files_as_the_system_allows():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
        connections.install(uvicorn.Server(uvicorn.Config(answer)))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(before[1], connections.MAX_OPEN_FILES)
        assert TimedProtocol.most == connections.MAX_CONNECTIONS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_want_of_sockets_is_told_once_a_minute(monkeypatch):
    seldom = RateLimitFilter()
    told = [
        logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, text, (), None) for text in ("socket.accept() out of system resource", "x")
    ]
    assert [seldom.filter(told[0]) for _ in range(1000)].count(True) == 1
    assert seldom.filter(told[1])
    monkeypatch.setattr(connections, "REPEAT_SECONDS", 0)
    seldom = RateLimitFilter()
    assert [seldom.filter(told[0]) for _ in range(3)] == [True] * 3
