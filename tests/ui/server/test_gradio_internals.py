"""Whether Gradio, uvicorn and Starlette are as gradio_internals.py read them. The real ones are asked, so that an upgrade is noticed."""

import asyncio
import contextlib
import json
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import ClassVar

import gradio as gr
import pytest
import uvicorn
from gradio.http_server import Server
from gradio.state_holder import SessionState, StateHolder
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from tests.support.apps import ROOT, free_port
from tests.support.http import EDGE, form
from tests.support.waiting import finished, until
from vitdemo.core.errors import UserError
from vitdemo.ui.server import gradio_internals as internals
from vitdemo.ui.server.gradio_internals import Session, Sessions, UploadForm

PACE = 0.02  # seconds


class Noting:
    """Middleware that notes which route answered, for each path."""

    routes: ClassVar[dict[str, str]] = {}

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)
        if scope["type"] == "http":
            Noting.routes[scope["path"]] = internals.route_of(scope)


class Launched:
    """A small page that is served: an event that waits until it may go on, one that fails, and one that says what it was sent."""

    def __init__(self):
        self.go, self.refusals, self.began = threading.Event(), [], []

        def wait() -> str:
            self.began.append(time.monotonic())
            assert self.go.wait(60)
            return "done"

        def fail() -> None:
            raise UserError("Too dark.")

        def say(count: int, event: gr.EventData) -> tuple[int, str]:
            return count + 1, json.dumps(internals.event_payload(event))

        def grow():
            yield {"a": 1}
            yield {"a": 1, "b": 2}
            yield {"a": 1, "b": 2}
            yield gr.skip()

        async def refuse(request, error):
            self.refusals.append(error)
            return JSONResponse({}, error.status_code)

        with internals.Page() as self.page:
            text, self.count = gr.Textbox(), gr.State(1)
            gr.Button().click(wait, None, text, api_name="wait", concurrency_limit=1)
            gr.Button().click(fail, None, None, api_name="fail")
            gr.Button().click(say, self.count, [self.count, text], api_visibility="private")
            gr.Button().click(grow, None, gr.JSON(), api_visibility="private")
        self.numbers = {each.fn.__name__: number for number, each in self.page.fns.items() if each.fn is not None}
        self.page.queue(max_size=1)
        internals.set_queue_pace(self.page, PACE)
        routes = [Route("/plain/{name}", lambda request: PlainTextResponse("x")), Route("/ours/{name}", lambda request: ours(request))]

        def ours(request):
            internals.set_route(request, routes[1])
            return PlainTextResponse("x")

        kwargs = {"routes": routes, "middleware": [Middleware(Noting)], "exception_handlers": {HTTPException: refuse}}
        launched = self.page.launch(
            app_kwargs=kwargs, server_port=free_port(), quiet=True, prevent_thread_lock=True, max_threads=5, **internals.NO_SELF_CHECK
        )
        self.asked_itself = dict(Noting.routes)
        self.app, self.url = launched[0], launched[1].rstrip("/")

    def send(self, path: str, body: dict | None = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    def call(self, name: str) -> str:
        """The id of a call."""
        return json.loads(self.send(f"/gradio_api/call/{name}", {"data": []}))["event_id"]

    def join(self, number: int, session: str, event) -> str:
        """Everything that one of the page's own events says."""
        body = {"fn_index": number, "data": [None], "event_data": event, "session_hash": session, "trigger_id": None}
        self.send("/gradio_api/queue/join", body)
        return self.send(f"/gradio_api/queue/data?session_hash={session}")


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
    launched = Launched()
    yield launched
    launched.go.set()
    internals.hang_up(internals.server_of(launched.page), 1)
    launched.page.close(verbose=False)
    patch.undo()


def test_the_file_names_the_gradio_that_is_pinned():
    (pin,) = (line.split()[0] for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line.startswith("gradio=="))
    text = Path(internals.__file__).read_text("utf-8")
    assert {line.split("gradio ")[1][:6] for line in text.splitlines() if "    gradio 6" in line} == {pin.removeprefix("gradio==")}


def test_the_tests_that_it_names_are_there():
    named = set(re.findall(r"test_\w+", Path(internals.__file__).read_text("utf-8"))) - {"test_house"}
    files = {path.stem: path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py")}
    known = files.keys() | {name for text in files.values() for name in re.findall(r"def (test_\w+)", text)}
    assert named - known == set()


def test_uploads_lie_in_one_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    assert internals.upload_folder_of(gr.Image()) == internals.get_upload_folder() == str(tmp_path)
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    assert internals.upload_folder_of(gr.Image()) == internals.get_upload_folder()


def test_a_launch_asks_itself_nothing(launched):
    assert "/" not in launched.asked_itself


def test_an_event_that_fails_is_answered_with_a_sentence(launched):
    assert "Too dark." in launched.send(f"/gradio_api/call/fail/{launched.call('fail')}")


@pytest.mark.parametrize(("event", "payload"), [({"a": [1]}, {"a": [1]}), (["a"], {}), ("a", {}), (None, {})])
def test_an_event_has_what_the_script_sent(launched, event, payload):
    assert json.dumps(json.dumps(payload)) in launched.join(launched.numbers["say"], "sender", event)


def test_each_step_replaces_the_value_before_it(launched):
    """An edit within the value would change what the page was given before, which it may not have shown yet."""
    messages = [
        json.loads(line.removeprefix("data: ")) for line in launched.join(launched.numbers["grow"], "grower", None).splitlines() if line
    ]
    steps = [message["output"]["data"][0] for message in messages if message["msg"] == "process_generating"]
    assert steps == [{"a": 1}, [["replace", [], {"a": 1, "b": 2}]], [], [["replace", [], gr.skip()]]]


def test_the_queue_tells_what_waits_and_what_runs(launched):
    page, queue = launched.page, launched.page._queue
    launched.go.clear()
    assert not internals.is_at_work(page)
    assert internals.requests_under_way(page) == ([], 5)
    running = launched.call("wait")
    until(lambda: internals.requests_under_way(page)[0] and internals.queue_length(page) == 0)
    assert internals.is_at_work(page)
    waiting = launched.call("wait")
    assert internals.queue_length(page) == 1
    assert [request.client.host for request in internals.requests_under_way(page)[0]] == ["127.0.0.1"] * 2
    assert internals.waiting_sessions(queue) == {running, waiting}
    assert internals.page_of(internals.requests_under_way(page)[0][0]) is page
    with pytest.raises(urllib.error.HTTPError, match="503"):
        launched.call("wait")
    assert [internals.says_queue_is_full(error) for error in launched.refusals] == [True]

    launched.go.set()
    until(lambda: not internals.is_at_work(page))
    assert internals.has_unfetched_answers(page)
    assert "done" in launched.send(f"/gradio_api/call/wait/{running}")
    assert internals.has_unfetched_answers(page)
    internals.forget_session(queue, waiting)
    assert not internals.has_unfetched_answers(page)
    assert internals.waiting_sessions(queue) <= {running, waiting}


def test_the_queue_polls_at_our_pace(launched):
    assert {"sleep_when_free", "progress_update_sleep_when_free"} <= vars(gr.Blocks()._queue).keys()
    launched.go.set()
    launched.began.clear()
    try:
        internals.set_queue_pace(launched.page, 1.5)
        for _ in range(2):
            launched.send(f"/gradio_api/call/wait/{launched.call('wait')}")
    finally:
        internals.set_queue_pace(launched.page, PACE)
    first, second = launched.began
    assert second - first > 0.5


def test_every_route_is_known_by_its_path(launched):
    asked = {
        "/ours/secret": "/ours/{name}",
        "/plain/secret": "none",  # where this changes, set_route is needed no more
        "/gradio_api/file=secret": "/gradio_api/file={path_or_url:path}",
        "/secret/x": "none",
    }
    for path, route in asked.items():
        with contextlib.suppress(urllib.error.HTTPError):
            launched.send(path)
        until(lambda: path in Noting.routes)  # noqa: B023 (asked before the loop goes on)
        assert Noting.routes[path] == route


@pytest.fixture
def page():
    with gr.Blocks() as page:
        page.value, page.text = gr.State(3), gr.Textbox("a")
    page.state_session_capacity = 2
    return page


def test_a_session_remembers_states_alone(page):
    session = Session(page)
    assert session[page.value._id] == 3
    session[page.value._id] = 4
    session._update_value_in_config(page.text._id, "large" * 1000)
    assert session[page.value._id] == 4
    assert session.config_values == {}
    assert Session(page)[page.value._id] == 3


def test_a_session_has_all_that_gradio_keeps_in_its_own(page):
    assert vars(Session(page)).keys() == vars(SessionState(page)).keys()
    assert {"__setitem__", "_update_config", "_update_value_in_config"} <= vars(SessionState).keys()
    assert {"__getitem__", "set_blocks"} <= vars(StateHolder).keys()


def test_sessions_are_bounded(page):
    sessions = Sessions(page)
    for name in "abc":
        sessions[name][page.value._id] = name
    assert list(sessions.session_data) == ["b", "c"]
    assert sessions["c"][page.value._id] == "c"
    assert isinstance(sessions["d"], Session)


def test_a_launched_page_uses_our_sessions_and_mailboxes(launched):
    mailboxes = {}
    assert isinstance(launched.app.state_holder, StateHolder)
    assert "pending_messages_per_session" in vars(launched.page._queue)
    internals.replace_sessions(launched.page, lambda queue: mailboxes)
    launched.send("/gradio_api/queue/join", {"fn_index": launched.numbers["say"], "data": [None], "event_data": {}, "session_hash": "ours"})
    assert list(mailboxes) == ["ours"]
    launched.send("/gradio_api/queue/data?session_hash=ours")
    session = launched.app.state_holder.session_data["ours"]
    assert (type(session), session[launched.count._id], session.config_values) == (Session, 2, {})


def test_a_launched_page_has_the_server_that_answers(launched):
    server = internals.server_of(launched.page)
    assert server.started
    assert server.servers[0].sockets[0].getsockname()[1] == urllib.parse.urlsplit(launched.url).port


def test_gradios_own_middleware_lets_other_sites_in_until_removed(launched):
    def headers() -> list[str]:
        request = urllib.request.Request(f"{launched.url}/config", headers={"Origin": launched.url})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [name for name in answer.headers if name.lower().startswith("access-control")]

    assert headers()
    internals.keep_other_sites_out(launched.app)
    assert headers() == []


async def slow(scope, receive, send) -> None:
    """Answers; under /slow never ends, whether or not its reader has gone."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"o", "more_body": True})
    if scope["path"] == "/slow":
        await asyncio.sleep(60)
    await send({"type": "http.response.body", "body": b"k"})


@pytest.fixture
def server():
    server = Server(uvicorn.Config(slow, port=0, lifespan="off", log_level="critical"))
    server.run_in_thread()
    yield server
    server.force_exit = True
    server.close()


def ask(server, path: str) -> socket.socket:
    connection = socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=20)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n" + (b"o" if path == "/slow" else b"ok")):
        answer += connection.recv(1)
    return connection


def test_new_connections_stay_open_as_long_as_set(server):
    internals.use_connections(server, internals.Connection, 1)
    connection, begin = ask(server, "/"), time.monotonic()
    assert [type(each) for each in server.server_state.connections] == [internals.Connection]
    assert connection.recv(1) == b""
    assert 0.5 < time.monotonic() - begin < 4  # uvicorn's own: 5


def test_hanging_up_limits_the_wait_for_work(server):
    connection = ask(server, "/slow")
    internals.hang_up(server, 1)
    assert connection.recv(1) == b""
    server.close()
    assert not server.thread.is_alive()


def parsed(kind: type[UploadForm], *pieces: bytes, content_type: str = f"multipart/form-data; boundary={EDGE}"):
    """A parser of a form that comes in pieces, and the form, or the error that it raised."""
    request = Request({"type": "http", "headers": [(b"content-type", content_type.encode())] if content_type else []})

    async def stream():
        for piece in pieces:
            yield piece

    parser = kind(request, stream(), max_fields=2, max_file_size=1000)
    try:
        return parser, finished(parser.parse())
    except Exception as error:
        return parser, error


def test_a_form_closes_each_file_and_leaves_none_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    seen = []

    class Form(UploadForm):
        def check(self, file, size, files) -> None:
            seen.append((file and file.filename, size, files))

    body = form(("a.png", b"x" * 50), ("b.png", b"y"), field=b"z" * 9)
    parser, read = parsed(Form, body[:120], body[120:])
    files = read.getlist("files")
    assert [(each.filename, each.arrived, each.file.closed) for each in files] == [("a.png", 50, True), ("b.png", 1, True)]
    assert [Path(each.file.name).read_bytes() for each in files] == [b"x" * 50, b"y"]
    assert {("a.png", 0, 1), ("a.png", 50, 1), ("b.png", 0, 2), ("b.png", 1, 2), (None, 9, 2)} <= set(seen)
    os.rename(files[0].file.name, tmp_path / "kept")
    parser.discard()
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


def test_what_a_form_may_be_is_decided_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    class Form(UploadForm):
        def check(self, file, size, files) -> None:
            if size > 10:
                raise UserError("Too large.")

    parser, error = parsed(Form, form(("a.png", b"x" * 50)))
    assert isinstance(error, UserError)
    assert [each.stat().st_size for each in tmp_path.iterdir()] == [0]
    parser.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", ""),
        (b"", "multipart/form-data"),
        (b"nothing of a form", f"multipart/form-data; boundary={EDGE}"),
        (form(("a.png", b"x")).replace(b'name="files"; ', b""), f"multipart/form-data; boundary={EDGE}"),
        (form(("a.png", b"x" * 1001)), f"multipart/form-data; boundary={EDGE}"),
        (b"--" + EDGE.encode() + b"\r\n" + b"x" * 10_000, f"multipart/form-data; boundary={EDGE}"),
    ],
)
def test_malformed_forms(tmp_path, monkeypatch, body, content_type):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    _, error = parsed(UploadForm, body, content_type=content_type)
    assert isinstance(error, internals.MALFORMED_FORM_ERRORS)
