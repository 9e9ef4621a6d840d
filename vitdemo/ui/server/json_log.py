"""The log as JSON, one object a line, where `--log-json` asks for it. Nothing in it is a visitor's.

It is so by its making: of a message only the text in our source is written, never what was filled in, but for the few fields below; of an
exception its type and where it came up, never its words; of a request its route, never its address.
"""

import json
import logging
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LOG_FIELDS = ("fault", "kind", "state", "photos", "method", "route", "status", "seconds", "waited", "model", "device", "address", "error")
log = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """A record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.startswith("vitdemo")
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.msg if ours else f"{record.name}, {record.module} {record.lineno}",
            **{name: getattr(record, name) for name in LOG_FIELDS if hasattr(record, name)},
        }
        if record.exc_info and record.exc_info[1]:
            kind, _, trace = record.exc_info
            line["exception"] = kind.__name__
            line["at"] = [f"{Path(each.filename).name} {each.lineno} {each.name}" for each in traceback.extract_tb(trace)]
        return json.dumps(line)


def use_json() -> None:
    """From now on, write the whole process's log so."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("vitdemo").setLevel(logging.INFO)
    threading.excepthook = lambda raised: log.error("a thread has failed", exc_info=raised[:3])
    sys.excepthook = lambda *raised: log.error("the app has failed", exc_info=raised)


def take_over(*names: str) -> None:
    """Have loggers that write for themselves leave it to ours."""
    for name in names:
        each = logging.getLogger(name)
        each.handlers.clear()
        each.propagate = True


class RequestLog:
    """Writes a line for every request, when it has been answered."""

    def __init__(self, app: ASGIApp):
        self._app = app

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
            method = scope["method"] if scope["method"] in HTTP_METHODS else "other"  # it may be any word
            told = {"method": method, "route": route_of(scope), "status": status, "seconds": round(time.perf_counter() - begin, 3)}
            log.info("request", extra=told)


def route_of(scope: Scope) -> str:
    """The route that answered, with the names of its parts in place of what was asked for; “none” where there was none."""
    return getattr(scope.get("route"), "path", "none")
