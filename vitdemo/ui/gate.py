"""What the server answers at all: the routes that this app uses, requests of a sane size, and every fault with one sentence.

Gradio brings routes that nothing here needs (it can proxy, stream, record and edit), reads a body of any size, and tells of faults in its
own words or none. All of that ends here.
"""

import math
import re
import threading
from collections.abc import Sequence

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.ui.guard import LEAVING, NOT_UNDERSTOOD, refusal
from vitdemo.ui.login import is_logged_in

API = "/gradio_api"
OPEN = (
    r"|login|logout|favicon\.ico|theme\.css|manifest\.json|robots\.txt|(static|assets|svelte)/.+"
    r"|gradio_api/(login_check|startup-events|theme\.css)"
)
INSIDE = (  # a file by its path, never by an address: Gradio would fetch it
    r"config|gradio_api/(info|app_id|user|upload|upload_progress|cancel|reset|component_server|queue/(join|data|status)|heartbeat/[^/]+"
    r"|file[=/](?![\s\w+.-]{2,}:).+|(run|api|call|call/v2)/[^/]+|call/(v2/)?[^/]+/[^/]+)"
)
WORK = re.compile(f"{API}/(upload|queue/join|(run|api|call|call/v2)/[^/]+)/?")  # what begins something new
LARGEST, FOR_EACH_PHOTO = 1 << 20, 600  # bytes of a request, and more for each photo that a gallery may have
NOTHING_HERE = "There is nothing here, or not any more: reload the page."
SENTENCES = {
    400: NOT_UNDERSTOOD,
    401: "Log in first: reload the page.",
    403: NOTHING_HERE,
    404: NOTHING_HERE,
    405: NOTHING_HERE,
    413: "This request is too large: give fewer photos at a time.",
    422: NOT_UNDERSTOOD,
}


class Gate:
    """Stands before Gradio's routes.

    Args:
        leaving: set once the app is being stopped, and begins nothing new.
        open_to_all: paths beside Gradio's that ask for no login.
    """

    def __init__(self, app: ASGIApp, settings: Settings, leaving: threading.Event, open_to_all: Sequence[str] = ()):
        self._app, self._leaving = app, leaving
        self._open = re.compile(f"/({'|'.join((OPEN, *(re.escape(each[1:]) for each in open_to_all)))})/?")
        self._inside = re.compile(f"/({INSIDE})/?")
        self._largest = LARGEST + FOR_EACH_PHOTO * settings.max_gallery

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1000})  # there are none here
        if answered := self._refusal(scope):
            return await answered(scope, receive, send)
        begun, taken = False, 0
        largest = math.inf if self._sees_to_its_own_size(scope) else self._largest

        async def receive_and_count() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > largest:
                raise UserError(SENTENCES[413])
            return message

        async def send_unless_too_large(message: Message) -> None:
            nonlocal begun
            if begun or taken <= largest:  # who reads a body takes our exception for one that can't be read
                begun = True
                await send(message)

        try:
            await self._app(scope, receive_and_count, send_unless_too_large)
        except Exception as error:
            text = refusal(error)
            if begun:  # a stream: Gradio ends one that nobody waits for by an exception
                await send({"type": "http.response.body", "body": b""})
            elif taken <= largest:
                await answer(400 if text == NOT_UNDERSTOOD else 500, text)(scope, receive, send)
        if not begun and taken > largest:
            await answer(413)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not self._open.fullmatch(path):
            if not self._inside.fullmatch(path):
                return answer(404)
            if not is_logged_in(HTTPConnection(scope)):
                return answer(401)
        if scope["method"] == "POST" and self._leaving.is_set() and WORK.fullmatch(path):
            return answer(503, LEAVING)
        return None

    def _sees_to_its_own_size(self, scope: Scope) -> bool:
        return scope["path"].rstrip("/").endswith(f"{API}/upload")


def answer(status: int, text: str | None = None) -> Response:
    """One sentence, where Gradio's page and its clients look for it."""
    text = text or SENTENCES.get(status, SENTENCES[400])
    return JSONResponse({"detail": text, "error": text}, status)


async def refuse(request: Request, error: Exception) -> Response:
    """A handler for HTTPException and RequestValidationError: neither repeats what was sent, nor says where things lie."""
    if isinstance(error, RequestValidationError):
        return answer(422)
    if request.url.path.rstrip("/").endswith("/login") and error.status_code == 400:
        return answer(400, "This is not the right name and password: try again.")
    if error.status_code == 503 and "full" in str(error.detail):
        waiting = request.app.get_blocks()._queue
        return answer(429, f"The app is busy: {len(waiting)} requests are waiting before yours. Try again in a minute.")
    return answer(error.status_code)


HANDLERS = {HTTPException: refuse, RequestValidationError: refuse}
