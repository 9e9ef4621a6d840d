"""Every observer is told of every request, also of one that failed or that no route answered."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from vitdemo.ui.server.request_observer import RequestObserver


def test_what_observers_are_told():
    def fail(request):
        raise ZeroDivisionError

    class Named(Route):
        """As Gradio's framework does: it notes the route that answers."""

        async def handle(self, scope, receive, send) -> None:
            scope["route"] = self
            await super().handle(scope, receive, send)

    first, second = [], []
    routes = [Named("/photos/{name}", lambda request: PlainTextResponse("here", 201)), Named("/fault", fail)]
    observers = [lambda *told: first.append(told), lambda *told: second.append(told)]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(RequestObserver, observers=observers)]))
    client.get("/photos/secret.png")
    client.post("/elsewhere")
    with pytest.raises(ZeroDivisionError):
        client.get("/fault")
    assert [told[:3] for told in first] == [("GET", "/photos/{name}", 201), ("POST", "none", 404), ("GET", "/fault", 500)]
    assert all(0 < told[3] < 60 for told in first)
    assert second == first
