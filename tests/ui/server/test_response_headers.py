"""Which answers have which headers. Those of the app's own routes are in test_metrics.py."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from vitdemo.ui.server.response_headers import HEADERS, ResponseHeaders

ANSWERS = {
    "text": PlainTextResponse("x"),
    "object": JSONResponse({}),
    "events": StreamingResponse(iter(["data: x\n\n"]), media_type="text/event-stream"),
    "own": PlainTextResponse("x", headers={"x-frame-options": "DENY"}),
}


@pytest.fixture
def client() -> TestClient:
    routes = [Route(f"/{name}", lambda _, answer=answer: answer) for name, answer in ANSWERS.items()]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(ResponseHeaders)]))


def test_no_proxy_holds_back_events(client):
    assert {name: client.get(f"/{name}").headers.get("x-accel-buffering") for name in ANSWERS} == {
        "text": None,
        "object": None,
        "events": "no",
        "own": None,
    }


def test_an_answer_may_set_a_header_itself(client):
    headers = client.get("/own").headers
    assert headers["x-frame-options"] == "DENY"
    assert {name: headers[name] for name in HEADERS if name != "x-frame-options"} == {
        name: value for name, value in HEADERS.items() if name != "x-frame-options"
    }
    assert {name: client.get("/missing").headers[name] for name in HEADERS} == HEADERS
