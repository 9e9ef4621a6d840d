"""What the server answers at all: the routes that this app uses, requests of a sane size, and every fault with one sentence.

Gradio brings routes that nothing here needs (it can proxy, stream, record and edit), reads a body of any size and kind from a page of any
site, and tells of faults in its own words or none. All of that ends here.
"""

import asyncio
import json
import re
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitdemo.core.config import Settings
from vitdemo.core.jobs.fair_queue import CROWDED
from vitdemo.ui.errors import LEAVING, NOT_UNDERSTOOD, error_message
from vitdemo.ui.server.auth import is_logged_in
from vitdemo.ui.server.body_limits import MAX_LARGE_BODIES, STREAMED, BodyLimit, BoundedBody, file_list_limit
from vitdemo.ui.server.client import client_of

API = "/gradio_api"
PUBLIC_PATHS = (
    r"|login|logout|favicon\.ico|theme\.css|manifest\.json|robots\.txt|(static|assets|svelte)/.+"
    r"|gradio_api/(login_check|startup-events|theme\.css)"
)
CALL_PATHS = r"queue/join|(run|api|call|call/v2)/[^/]+"
PRIVATE_PATHS = (  # a file by its path, never by an address: Gradio would fetch it
    rf"config|gradio_api/(info|app_id|user|upload|cancel|reset|component_server|queue/(data|status)|heartbeat/[^/]+|{CALL_PATHS}"
    r"|file[=/](?![\s\w+.-]{2,}:).+|call/(v2/)?[^/]+/[^/]+)"
)
UPLOAD_PATH = re.compile(f"{API}/upload/?")
FORM_PATHS = re.compile(f"({API}/upload|/login)/?")  # what takes a form; the rest is asked in JSON
FILE_LIST_PATHS = re.compile(f"{API}/(component_server|{CALL_PATHS})/?")  # what may name files
STARTING_PATHS = re.compile(f"{API}/(upload|{CALL_PATHS})/?")  # what begins something new
FUNCTION_PATH = re.compile(f"{API}/component_server/?")
STARTING_FUNCTIONS = ("give", "teach")  # functions of the page's parts that do so as well
MAX_CLIENT_SHARE = 0.75  # share of the places for requests under way that one caller may have
NOTHING_HERE = "There is nothing here, or not any more: reload the page."
FOREIGN_ORIGIN = "Another site's page sent this: open the app by its own address. A proxy has to pass on the Host that was asked for."
SENTENCES = {
    400: NOT_UNDERSTOOD,
    401: "Log in first: reload the page.",
    403: NOTHING_HERE,
    404: NOTHING_HERE,
    405: NOTHING_HERE,
    408: "This request took too long to arrive: check the connection and try again.",
    413: "This request is too large: give fewer photos at a time.",
    415: "This request must be JSON, and say so: Content-Type: application/json.",
    422: NOT_UNDERSTOOD,
}


class Gatekeeper:
    """Stands before Gradio's routes.

    Args:
        leaving: set once the app is being stopped, and begins nothing new.
        open_to_all: paths beside Gradio's that ask for no login.
    """

    def __init__(self, app: ASGIApp, settings: Settings, leaving: threading.Event, open_to_all: Sequence[str] = ()):
        self._app, self._leaving = app, leaving
        self._open = re.compile(f"/({'|'.join((PUBLIC_PATHS, *(re.escape(each[1:]) for each in open_to_all)))})/?")
        self._inside = re.compile(f"/({PRIVATE_PATHS})/?")
        self._listing = file_list_limit(settings.max_gallery)
        self._latest = asyncio.Semaphore(MAX_LARGE_BODIES)
        self._host = _host(settings.root_path)  # where that is a whole address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1000})  # there are none here
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if answered := self._refusal(scope, path):
            return await answered(scope, receive, send)
        begun, body = False, BoundedBody(receive, self._measure(path), self._latest)

        async def send_unless_refused(message: Message) -> None:
            nonlocal begun
            if begun or not body.refused:  # who reads a body takes our exception for one that can't be read
                begun = True
                await send(message)

        try:
            if self._leaving.is_set() and FUNCTION_PATH.fullmatch(path) and _begins(await body.whole()):
                return await error_response(200, LEAVING)(scope, receive, send)  # the page reads no other status
            await self._app(scope, body.receive, send_unless_refused)
        except Exception as error:
            if begun:  # a stream: Gradio ends one that nobody waits for by an exception
                await send({"type": "http.response.body", "body": b""})
            elif not body.refused:
                text = error_message(error)
                await error_response(400 if text == NOT_UNDERSTOOD else 500, text)(scope, receive, send)
        finally:
            body.close()
        if body.refused and not begun:
            await error_response(body.refused)(scope, receive, send)

    def _refusal(self, scope: Scope, path: str) -> Response | None:
        connection = HTTPConnection(scope)
        if not self._open.fullmatch(path):
            if not self._inside.fullmatch(path):
                return error_response(404)
            if not is_logged_in(connection):
                return error_response(401)
        if scope["method"] in ("GET", "HEAD"):
            return None
        if self._is_foreign(connection.headers):
            return error_response(403, FOREIGN_ORIGIN)
        kind = connection.headers.get("content-type")
        if kind and kind.split(";")[0].strip().lower() != "application/json" and not FORM_PATHS.fullmatch(path):
            return error_response(415)
        if self._leaving.is_set() and STARTING_PATHS.fullmatch(path):
            return error_response(503, LEAVING)
        if STARTING_PATHS.fullmatch(path) and not UPLOAD_PATH.fullmatch(path) and _crowds(connection):
            return error_response(429, CROWDED)
        return None

    def _is_foreign(self, headers: Headers) -> bool:
        """Whether the page of another site asks. Programs name no origin; a proxy may speak for a host that we don't know as ours."""
        origin = headers.get("origin")
        named = ",".join((headers.get("host", ""), headers.get("x-forwarded-host", ""))).split(",")
        return origin is not None and _host(origin) not in {self._host, *(_host(f"//{each.strip()}") for each in named)} - {""}

    def _measure(self, path: str) -> BodyLimit:
        return STREAMED if UPLOAD_PATH.fullmatch(path) else self._listing if FILE_LIST_PATHS.fullmatch(path) else BodyLimit()


def _host(address: str) -> str:
    """An address's host, without its port; nothing where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _crowds(connection: HTTPConnection) -> bool:
    """Whether so much of what Gradio has under way is this caller's that others might find no place."""
    queue, client = connection.app.get_blocks()._queue, client_of(connection)
    most = MAX_CLIENT_SHARE * len(queue.active_jobs)
    under_way = [each for job in queue.active_jobs if job for each in job]
    under_way += [each for waiting in queue.event_queue_per_concurrency_id.values() for each in waiting.queue]
    return len(under_way) >= most and sum(client_of(each.request) == client for each in under_way) >= most


def _begins(body: bytes) -> bool:
    """Whether this asks for a function that begins something new."""
    try:
        return json.loads(body)["fn_name"] in STARTING_FUNCTIONS
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def error_response(status: int, text: str | None = None) -> Response:
    """One sentence, where Gradio's page and its clients look for it."""
    text = text or SENTENCES.get(status, SENTENCES[400])
    return JSONResponse({"detail": text, "error": text}, status)


async def handle_http_error(request: Request, error: Exception) -> Response:
    """A handler for HTTPException and RequestValidationError: neither repeats what was sent, nor says where things lie."""
    if isinstance(error, RequestValidationError):
        return error_response(422)
    if request.url.path.rstrip("/").endswith("/login") and error.status_code == 400:
        return error_response(400, "This is not the right name and password: try again.")
    if error.status_code == 503 and "full" in str(error.detail):
        waiting = request.app.get_blocks()._queue
        return error_response(429, f"The app is busy: {len(waiting)} requests are waiting before yours. Try again in a minute.")
    return error_response(error.status_code)


HANDLERS = {HTTPException: handle_http_error, RequestValidationError: handle_http_error}
