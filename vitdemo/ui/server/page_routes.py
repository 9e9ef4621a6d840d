"""The page's own routes: its scripts, and what they ask. A script sends one JSON object to /page/<tab>/<name>, and receives one.

Each tab has one handler class, a subclass of TabRoutes, whose routes are its methods marked by `page_route`. Such a method takes a request,
a dataclass that says what may be asked, and the caller. It returns a dataclass that says what is answered, or None.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar, get_type_hints

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from vitdemo.core.errors import UserError
from vitdemo.core.jobs.fair_queue import CROWDED
from vitdemo.ui.errors import NOT_UNDERSTOOD, user_message
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.gradio_internals import set_route
from vitdemo.ui.templating import STATIC, scripts_version

PREFIX = "/page"
VISITOR_HEADER = "x-vitdemo-visitor"  # the page's Gradio session, which Gradio names when the page is closed
MAX_VISITOR_CHARACTERS = 100
MAX_CLIENT_SHARE = 0.75  # of the requests that may wait or be at work, for one client

H = TypeVar("H", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes:
        visitor: the Gradio session of the page.
        client: the machine, which has its share of the queues.
    """

    visitor: str = ""
    client: str = ""


@dataclass(frozen=True)
class OfSession:
    """A request about what is kept of a visitor in one tab, by its id; empty for what is not there yet."""

    session: str = ""


@dataclass
class Html:
    """An answer: a part of the page, from our own templates."""

    html: str


@dataclass
class File:
    """An answer: a file's path, which Gradio serves, and the name to save it under."""

    path: str
    name: str = ""


class TabRoutes:
    """The routes of one tab.

    Attributes:
        name: the tab's part of the address.
    """

    name: ClassVar[str]

    def handlers(self) -> dict[str, Callable[[Any, Caller], Any]]:
        """The methods that are routes, by the last part of their address."""
        marked = (name for name in dir(type(self)) if hasattr(getattr(type(self), name), "starts_work"))
        return {name: getattr(self, name) for name in marked}


def page_route(*, starts_work: bool = False) -> Callable[[H], H]:
    """Mark a method as a route.

    Args:
        starts_work: whether it begins new work, which an app that is being stopped refuses.
    """

    def mark(method: H) -> H:
        method.starts_work = starts_work  # type: ignore[attr-defined]
        return method

    return mark


class PageRoutes:
    """All tabs' routes.

    Args:
        threads: requests at work at the same time. As many may wait for a thread.

    Attributes:
        routes: for the server.
        starting: the addresses of those that begin new work.
    """

    def __init__(self, tabs: Iterable[TabRoutes], threads: int):
        self.routes: list[Route] = [SCRIPTS]
        self.starting: list[str] = []
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="page route")
        self._most = 2 * threads
        self._pending: Counter[str] = Counter()  # client → its requests that wait or are at work
        for tab in tabs:
            for name, handler in tab.handlers().items():
                path = f"{PREFIX}/{tab.name}/{name}"
                self.routes.append(self._route(path, handler))
                if handler.starts_work:  # type: ignore[attr-defined]
                    self.starting.append(path)

    def _route(self, path: str, handler: Callable[[Any, Caller], Any]) -> Route:
        async def respond(request: Request) -> Response:
            set_route(request, route)
            caller = Caller(request.headers.get(VISITOR_HEADER, "")[:MAX_VISITOR_CHARACTERS], client_of(request))
            if self._is_crowded(caller.client):
                return Response(_encode({"error": CROWDED}), 429, media_type="application/json")
            self._pending[caller.client] += 1
            try:
                body = await request.body()
                status, answer = await asyncio.get_running_loop().run_in_executor(self._threads, respond_to, handler, body, caller)
            except ClientDisconnect:
                return Response(status_code=499)
            finally:
                self._pending[caller.client] -= 1
                self._pending += Counter()  # forgets clients without any
            return Response(answer, status, media_type="application/json")

        route = Route(path, respond, methods=["POST"])
        return route

    @property
    def pending(self) -> int:
        """Requests that wait for a thread or are at work."""
        return self._pending.total()

    def _is_crowded(self, client: str) -> bool:
        """Whether no more may wait, or one client has so many requests that others would find no room."""
        pending = self.pending
        return pending >= self._most or (pending >= MAX_CLIENT_SHARE * self._most and 2 * self._pending[client] >= pending)


MEDIA_TYPES = {".js": "text/javascript", ".webp": "image/webp"}


async def _script(request: Request) -> Response:
    """A module of the page's scripts, or a picture of the page. The address changes with the files, so that a browser may keep them."""
    set_route(request, SCRIPTS)
    name = request.path_params["path"]
    path = STATIC / name
    wanted = request.path_params["version"] == scripts_version() and path.suffix in MEDIA_TYPES and "\0" not in name
    if not (wanted and path.resolve().is_relative_to(STATIC) and path.is_file()):
        raise HTTPException(404)
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers={"cache-control": "public, max-age=31536000, immutable"})


SCRIPTS = Route(f"{PREFIX}/static/{{version}}/{{path:path}}", _script)


def respond_to(handler: Callable[[Any, Caller], Any], body: bytes, caller: Caller) -> tuple[int, bytes]:
    """Run one handler on a request's body. Returns: the HTTP status and the answer's JSON, for an error {error}."""
    try:
        try:
            payload = json.loads(body)  # orjson would refuse file names that are not Unicode
        except (ValueError, RecursionError):
            raise UserError(NOT_UNDERSTOOD) from None
        answer = handler(parse(payload, get_type_hints(handler)["asked"]), caller)
        return 200, _encode({} if answer is None else answer)
    except UserError as error:
        return 400, _encode({"error": user_message(error)})
    except Exception as error:
        return 500, _encode({"error": user_message(error)})


def parse(payload: Any, kind: type[T]) -> T:
    """Read a request's JSON object into a dataclass. Other keys are left out; one that is missing or null has the field's default.

    Raises: UserError where it is no object, or a value has another type than its field.
    """
    if not isinstance(payload, dict):
        raise UserError(NOT_UNDERSTOOD)
    hints = get_type_hints(kind)
    values = {field.name: payload[field.name] for field in fields(kind) if payload.get(field.name) is not None}  # type: ignore[arg-type]
    for name, value in values.items():
        hint = hints[name]
        if hint is not Any and not (isinstance(value, hint) and (not isinstance(value, bool) or hint is bool)):
            raise UserError(NOT_UNDERSTOOD)
    return kind(**values)


def _encode(answer: Any) -> bytes:
    """A dataclass, with dataclasses inside, as JSON. What is not a number becomes null."""
    try:
        return orjson.dumps(answer)
    except TypeError:  # half a character, as in file names that are not Unicode
        return json.dumps(answer, default=vars).encode()
