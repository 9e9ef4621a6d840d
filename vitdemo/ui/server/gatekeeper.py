"""The middleware in front of Gradio: it lets through this app's routes and requests of limited size, and answers errors with a sentence.

Gradio has routes that this app does not need (proxy, stream, record, edit), reads bodies of any size and type from pages of any site, and
reports errors in its own words or not at all. This middleware prevents all of that.
"""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitdemo.core.config import Settings
from vitdemo.core.errors import QueueFull
from vitdemo.core.jobs.fair_queue import CROWDED
from vitdemo.ui.errors import CALL_NOT_UNDERSTOOD, LEAVING, NOT_UNDERSTOOD, error_message
from vitdemo.ui.server.body_limits import MAX_LARGE_BODIES, STREAMED, BodyLimit, BoundedBody, file_list_limit
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.gradio_internals import is_logged_in, page_of, queue_length, requests_under_way, says_queue_is_full
from vitdemo.ui.server.page_routes import PREFIX

API = "/gradio_api"
PUBLIC_PATHS = (
    r"|login|logout|favicon\.ico|theme\.css|manifest\.json|robots\.txt|(static|assets|svelte)/.+"
    r"|gradio_api/(login_check|startup-events|theme\.css)"
)
CALL_PATHS = r"queue/join|(run|api|call|call/v2)/[^/]+"
PRIVATE_PATHS = (  # file= takes a path, never a URL: Gradio would fetch the URL
    rf"config|gradio_api/(info|app_id|user|upload|upload_progress|cancel|reset|queue/(data|status)|heartbeat/[^/]+|{CALL_PATHS}"
    rf"|file[=/](?![\s\w+.-]{{2,}}:).+|call/(v2/)?[^/]+/[^/]+)|page/.+"
)
UPLOAD_PATH = re.compile(f"{API}/upload/?")
FORM_PATHS = re.compile(f"({API}/upload|/login)/?")  # take a form; all other routes take JSON
FILE_LIST_PATHS = re.compile(f"({PREFIX}/[^/]+/(start|give|add|add_class|download)|{API}/({CALL_PATHS}))/?")  # requests that may list files
QUEUE_PATHS = re.compile(f"{API}/(queue/join|call/(v2/)?[^/]+)/?")  # answered once the work is in Gradio's queue
STARTING_PATHS = re.compile(f"{API}/(upload|{CALL_PATHS})/?")  # Gradio's requests that start new work
MAX_CLIENT_SHARE = 0.75  # of the slots for requests under way, for one client
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
    """ASGI middleware in front of Gradio's routes.

    Args:
        leaving: set once the app is being stopped and starts no new work.
        starting: paths of our own routes that start new work.
        open_to_all: paths of our own routes that need no login.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, leaving: threading.Event, starting: Sequence[str] = (), open_to_all: Sequence[str] = ()
    ):
        self._app, self._leaving, self._starting = app, leaving, frozenset(starting)
        self._public = re.compile(f"/({'|'.join((PUBLIC_PATHS, *(re.escape(path[1:]) for path in open_to_all)))})/?")
        self._private = re.compile(f"/({PRIVATE_PATHS})/?")
        self._list_limit = file_list_limit(settings.max_gallery)
        self._large_bodies = asyncio.Semaphore(MAX_LARGE_BODIES)
        self._joining: Counter[str] = Counter()  # client → requests that are let through, and not in Gradio's queue yet
        self._prefix = settings.path_prefix
        self._host = _host(settings.root_path)  # empty where root_path is only a path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1000})  # this app uses no websockets
        if scope["path"] == self._prefix:  # the page's own addresses are relative to the slash
            query = scope["query_string"].decode("latin-1")
            return await RedirectResponse(f"{self._prefix}/{query and '?'}{query}")(scope, receive, send)
        path = self._enter(scope)
        if refusal := self._refusal(scope, path):
            return await refusal(scope, receive, send)
        if scope["method"] == "POST" and Headers(scope=scope).get("origin", "").startswith("https:"):
            scope["scheme"] = "https"  # behind a proxy that does not tell: Gradio writes the addresses of photos with it
        begun, body = False, BoundedBody(receive, self._limit_of(path), self._large_bodies)
        joining = client_of(HTTPConnection(scope)) if scope["method"] == "POST" and QUEUE_PATHS.fullmatch(path) else None

        async def send_unless_refused(message: Message) -> None:
            nonlocal begun
            if begun or not body.refused:  # a body's reader may mistake our exception for an unreadable body, and answer that
                begun = True
                await send(message)

        if joining is not None:
            self._joining[joining] += 1
        try:
            await self._app(scope, body.receive, send_unless_refused)
        except Exception as error:
            if begun:  # a stream: Gradio raises to end a stream whose client has gone
                await send({"type": "http.response.body", "body": b""})
            elif not body.refused:
                text = error_message(error)
                await error_response(400 if text == CALL_NOT_UNDERSTOOD else 500, text)(scope, receive, send)
        finally:
            body.close()
            if joining is not None:
                self._joining[joining] -= 1
                self._joining = +self._joining  # drops clients without requests
        if body.refused and not begun:
            await error_response(body.refused)(scope, receive, send)

    def _enter(self, scope: Scope) -> str:
        """Put the prefix before a request's path if a proxy has stripped it: routes expect it, as ASGI says. Returns: the path after it."""
        path, begin = scope["path"], f"{self._prefix}/"
        path = path[len(self._prefix) :] if path.startswith(begin) else path
        scope.update(root_path=self._prefix, path=self._prefix + path)
        return path

    def _refusal(self, scope: Scope, path: str) -> Response | None:
        """The response to a request that is refused; None for a request that is let through."""
        connection = HTTPConnection(scope)
        if not self._public.fullmatch(path):
            if not self._private.fullmatch(path):
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
        if self._leaving.is_set() and (path in self._starting or STARTING_PATHS.fullmatch(path)):
            return error_response(503, LEAVING)
        if STARTING_PATHS.fullmatch(path) and not UPLOAD_PATH.fullmatch(path) and self._crowds(connection):
            return error_response(429, CROWDED)
        return None

    def _crowds(self, connection: HTTPConnection) -> bool:
        """Whether this client has so many of Gradio's requests under way that others might find no slot."""
        requests, slots = requests_under_way(page_of(connection))
        under_way = Counter(client_of(request) for request in requests) + self._joining
        return under_way[client_of(connection)] >= MAX_CLIENT_SHARE * slots

    def _is_foreign(self, headers: Headers) -> bool:
        """Whether the page of another site sent the request.

        Programs send no Origin. A proxy may serve the app under a host name of its own, so that a forwarded host counts as ours.
        """
        origin = headers.get("origin")
        hosts = ",".join((headers.get("host", ""), headers.get("x-forwarded-host", ""))).split(",")
        return origin is not None and _host(origin) not in {self._host, *(_host(f"//{host.strip()}") for host in hosts)} - {""}

    def _limit_of(self, path: str) -> BodyLimit:
        return STREAMED if UPLOAD_PATH.fullmatch(path) else self._list_limit if FILE_LIST_PATHS.fullmatch(path) else BodyLimit()


def _host(address: str) -> str:
    """The host name of a URL, without its port; empty where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def error_response(status: int, text: str | None = None) -> Response:
    """A response with one sentence, under the keys that Gradio's page and its clients read."""
    text = text or SENTENCES.get(status, SENTENCES[400])
    return JSONResponse({"detail": text, "error": text}, status)


async def handle_http_error(request: Request, error: HTTPException | RequestValidationError) -> Response:
    """Answer an HTTPException or a RequestValidationError, without repeating the request and without naming the server's paths."""
    if isinstance(error, RequestValidationError):
        return error_response(422)
    if request.url.path.rstrip("/").endswith("/login") and error.status_code == 400:
        return error_response(400, "This is not the right name and password: try again.")
    if says_queue_is_full(error):
        waiting = queue_length(page_of(request))
        return error_response(429, str(QueueFull("requests", waiting)))
    return error_response(error.status_code)


HANDLERS = {HTTPException: handle_http_error, RequestValidationError: handle_http_error}
