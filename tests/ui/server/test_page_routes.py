"""The page's own routes: what they take, what they answer, and who may ask."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.support.apps import app_in_process
from tests.support.http import routes_of_the_page
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.fair_queue import CROWDED
from vitdemo.ui.errors import NOT_UNDERSTOOD
from vitdemo.ui.server.page_routes import Caller, PageRoutes, TabRoutes, page_route, parse, respond_to
from vitdemo.ui.templating import STATIC, scripts_version


@dataclass(frozen=True)
class Asked:
    name: str = "nobody"
    count: int = 1
    whole: bool = False
    names: dict | None = None
    files: list | str = field(default_factory=list)


@dataclass
class Part:
    share: float


@dataclass
class Told:
    text: str
    parts: list[Part]


class Routes(TabRoutes):
    name = "tab"

    @page_route()
    def tell(self, asked: Asked, caller: Caller) -> Told:
        if asked.name == "unknown":
            raise UserError("There is nobody of this name.")
        return Told(f"{asked.count} {asked.name} {caller.visitor}", [Part(0.5), Part(float("nan"))])

    @page_route(starts_work=True)
    def begin(self, asked: Asked, caller: Caller) -> None:
        raise RuntimeError("secret")

    def not_a_route(self) -> None: ...


def told(name: str, asked: object, visitor: str = "ann") -> tuple[int, dict]:
    status, body = respond_to(Routes().handlers()[name], json.dumps(asked).encode(), Caller(visitor, "10.0.0.1"))
    return status, json.loads(body)


def test_a_request_is_read_and_its_answer_written():
    assert told("tell", {"name": "cat", "count": 3, "other": [1]}) == (
        200,
        {"text": "3 cat ann", "parts": [{"share": 0.5}, {"share": None}]},
    )
    assert told("tell", {"name": "\ud800"})[1]["text"] == "1 \ud800 ann"


def test_errors_are_a_sentence_with_a_status(caplog):
    assert told("tell", {"name": "unknown"}) == (400, {"error": "There is nobody of this name."})
    status, answer = told("begin", {})
    assert status == 500
    assert "secret" not in answer["error"]
    assert "tell the operator number" in answer["error"]


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        "x",
        3,
        {"name": 3},
        {"count": "1"},
        {"count": True},
        {"count": 1.5},
        {"whole": 1},
        {"names": []},
        {"files": {}},
    ],
)
def test_a_value_of_another_type_is_not_understood(asked):
    assert told("tell", asked) == (400, {"error": NOT_UNDERSTOOD})


def test_values_that_fit():
    assert parse({"names": {"a": "b"}, "files": "examples", "whole": True}, Asked) == Asked("nobody", 1, True, {"a": "b"}, "examples")
    assert parse({"name": None, "names": None, "files": [["a", "b"]]}, Asked) == Asked(files=[["a", "b"]])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 10_000])
def test_a_body_that_is_no_json(body):
    status, answer = respond_to(Routes().handlers()["tell"], body, Caller())
    assert (status, json.loads(answer)) == (400, {"error": NOT_UNDERSTOOD})


def test_routes_are_the_marked_methods():
    routes = PageRoutes([Routes()], 4)
    assert [route.path for route in routes.routes][1:] == ["/page/tab/begin", "/page/tab/tell"]
    assert routes.starting == ["/page/tab/begin"]


class SlowRoutes(TabRoutes):
    name = "slow"

    def __init__(self, go: threading.Event):
        self._go = go

    @page_route()
    def wait(self, asked: Asked, caller: Caller) -> None:
        assert self._go.wait(60)


def test_one_client_leaves_room_for_the_others():
    go = threading.Event()
    routes = PageRoutes([SlowRoutes(go)], threads=2)
    clients = {host: TestClient(Starlette(routes=routes.routes), client=(host, 5000)) for host in ("10.0.0.1", "10.0.0.2")}

    def ask(host: str) -> tuple[int, dict]:
        answer = clients[host].post("/page/slow/wait", json={})
        return answer.status_code, answer.json()

    with ThreadPoolExecutor(8) as pool:
        greedy = [pool.submit(ask, "10.0.0.1") for _ in range(3)]
        until(lambda: routes.pending == 3)
        assert ask("10.0.0.1") == (429, {"error": CROWDED})
        other = pool.submit(ask, "10.0.0.2")
        until(lambda: routes.pending == 4)
        assert ask("10.0.0.2") == (429, {"error": CROWDED})  # all places are taken
        go.set()
        assert [each.result() for each in (*greedy, other)] == [(200, {})] * 4
    assert routes.pending == 0
    assert ask("10.0.0.1") == (200, {})


def test_scripts_are_served_by_their_version_alone(bundle):
    with app_in_process(Settings(model=f"local-dir:{bundle}", port=0)) as client:
        version = scripts_version()
        answer = client.get(f"/page/static/{version}/lib/rpc.js")
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/javascript")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.text == (STATIC / "lib" / "rpc.js").read_text("utf-8")
        links = re.findall(r'modulepreload" href="([^"]+)"', client.get("/config").json()["head"])
        assert len(links) > 30
        assert all(client.get(link).status_code == 200 for link in links)
        odd = ("lib/nothing.js", "page/style.css", "lib/rpc.js%00", "lib")  # a client of its own makes of “..” another address
        for path in ("000000000000/lib/rpc.js", *(f"{version}/{name}" for name in odd)):
            assert client.get(f"/page/static/{path}").status_code == 404, path


def test_each_of_the_pages_routes_passes_the_gate(bundle):
    """Login, Origin and type are asked of every route, before it runs."""
    with app_in_process(Settings(model=f"local-dir:{bundle}", port=0, auth="ann:secret")) as client:
        paths = routes_of_the_page()
        assert len(paths) > 25
        for path in paths:
            assert client.post(path, json={}).status_code == 401
        client.post("/login", data={"username": "ann", "password": "secret"})
        for path in paths:
            answer = client.post(path, json=[])
            assert (answer.status_code, answer.json()["error"]) == (400, NOT_UNDERSTOOD)
            assert client.post(path, json=[], headers={"Origin": "https://evil.example"}).status_code == 403
            assert client.post(path, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
            assert client.get(path).status_code in (404, 405)
        assert client.post("/page/classify/nothing", json={}).status_code == 404
