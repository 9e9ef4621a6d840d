"""Observe every request once it has been answered, for the log and the metrics."""

import logging
import time
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitdemo.ui.server.gradio_internals import route_of

log = logging.getLogger(__name__)
Observer = Callable[[str, str, int, float], None]
"""Called for every answered request with its method, its route, the answer's status, and the seconds to the end of the answer."""


class RequestObserver:
    """ASGI middleware that tells the observers of every request.

    The route has the names of its parameters in place of their values, which a visitor chooses; it is “none” where no route answered.
    """

    def __init__(self, app: ASGIApp, observers: Sequence[Observer]):
        self._app, self._observers = app, observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begin, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            route, seconds = route_of(scope), time.perf_counter() - begin
            for observe in self._observers:
                try:
                    observe(scope["method"], route, status, seconds)
                except Exception:  # the other observers are told all the same
                    log.exception("a request could not be noted")
