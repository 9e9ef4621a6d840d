"""Everything that this app uses of Gradio, uvicorn and Starlette without their promise: read here first when one of them changes.

No other file under ui/ may touch their private attributes, undocumented modules or undocumented behaviour (tests/test_house.py checks the
first two). Only the touching is here; decisions stay with the callers. Each piece says in which version it was read, why it is needed, and
which test notices a change; a test without a file is in tests/ui/server/test_gradio_internals.py.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Callable
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gradio as gr
import gradio.utils
from fastapi import FastAPI
from gradio.queueing import Queue
from gradio.route_utils import CustomCORSMiddleware, GradioMultiPartParser, GradioUploadFile
from gradio.state_holder import SessionState, StateHolder
from gradio_client.utils import strip_invalid_filename_characters
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import HTTPConnection, Request
from starlette.routing import Route
from starlette.types import Scope
from uvicorn import Server

from vitdemo.ui.errors import error_message

if TYPE_CHECKING:  # AutoHTTPProtocol is one of two classes, which agree in all that is used here; mypy accepts only a class as a base
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as AutoHTTPProtocol
else:
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

# What Gradio's form parser raises for a malformed form, to answer it with a sentence (gradio 6.31.0). Noticed by test_malformed_forms.
MALFORMED_FORM_ERRORS = (MultiPartException, LookupError, ValueError, AttributeError, AssertionError)

# Of gr.Blocks.launch: no request to itself, which a proxy's settings or a busy machine can fail (gradio 6.31.0). Noticed by
# test_a_launch_asks_itself_nothing.
NO_SELF_CHECK: dict[str, Any] = {"_frontend": False}


# Files


def get_upload_folder() -> str:
    """The folder of uploads, which Gradio serves: GRADIO_TEMP_DIR, or Gradio's default.

    gradio 6.31.0, which documents the variable, but not the function; for the default. Noticed by test_uploads_lie_in_one_folder.
    """
    return gradio.utils.get_upload_folder()


def upload_folder_of(component: gr.blocks.Block) -> str:
    """The folder of uploads as a component knows it, since it was made.

    gradio 6.31.0; to accept no other file in its payload. Noticed by test_uploads_lie_in_one_folder.
    """
    return component.GRADIO_CACHE


def safe_file_name(name: str) -> str:
    """A file name without the characters that file systems or shells take for something else, and of 200 bytes at most.

    gradio_client 2.7.2; to name uploads as Gradio's own route does. Noticed by test_gatekeeper.test_odd_names_stay_in_their_folder.
    """
    return strip_invalid_filename_characters(name)


# The page and its events


class Page(gr.Blocks):
    """The Gradio page. It answers its own errors, and requests that it can't read, with one sentence."""

    async def process_api(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """Run one event.

        gradio 6.31.0, where every event runs through this undocumented method. Needed because Gradio reports errors in its own words.
        Noticed by test_an_event_that_fails_is_answered_with_a_sentence.

        Raises: gr.Error with a sentence for the visitor.
        """
        try:
            return await super().process_api(*arguments, **named)
        except Exception as error:
            if type(error) is gr.Error and not error.print_exception:  # already a sentence of ours
                raise
            raise gr.Error(error_message(error), print_exception=False) from None

    def handle_streaming_diffs(
        self, block_fn: Any, data: list, session_hash: str | None, run: str | None, final: bool, simple_format: bool = False
    ) -> list:
        """What a further step of an event sends to the page: edits of each output's value before it.

        gradio 6.31.0, whose page makes an edit within a value on the very object that it was given before. Where two steps arrive together,
        the second edit comes before the first value is shown, which is then lost. So a value that would be edited within is replaced.
        Noticed by test_each_step_replaces_the_value_before_it.
        """
        goes_on = session_hash is not None and run in self.pending_diff_streams[session_hash]
        values = list(data)
        sent = super().handle_streaming_diffs(block_fn, data, session_hash, run, final, simple_format)
        if not goes_on or final or simple_format:
            return sent
        return [[["replace", [], value]] if any(path for _, path, _ in edits) else edits for edits, value in zip(sent, values, strict=True)]


def event_payload(event: gr.EventData) -> dict:
    """The object that the page's script sent with an event; an empty one for anything else.

    gradio 6.31.0. Gradio documents the object's fields as attributes of the event, but no way to ask for an object of unknown fields.
    Noticed by test_an_event_has_what_the_script_sent.
    """
    return event._data if isinstance(event._data, dict) else {}


def page_of(request: HTTPConnection) -> gr.Blocks:
    """The page that a request is for.

    gradio 6.31.0; for callers that have only a request. Noticed by test_the_queue_tells_what_waits_and_what_runs.
    """
    return request.app.get_blocks()


def is_logged_in(request: HTTPConnection) -> bool:
    """Whether a request carries a valid login, as Gradio's own routes check it; true where the app needs no login.

    gradio 6.31.0, `get_current_user` in gradio/routes.py. Needed because Gradio checks it only in some of its routes, and not in ours.
    Noticed by test_auth.test_after_login_all_is_there.
    """
    app = request.app
    if app.auth is None:
        return True
    tokens = (request.cookies.get(f"access-token-{kind}{app.cookie_id}") for kind in ("", "unsecure-"))
    return any(token and token in app.tokens for token in tokens)


def keep_other_sites_out(app: FastAPI) -> None:
    """Remove Gradio's CORS middleware from a running app: it would let the pages of any site use the app as their visitor.

    gradio 6.31.0 and starlette 1.10.0. Gradio has no setting for it, and its middleware stands in front of any of ours. Noticed by
    test_auth.test_pages_of_other_sites_are_refused and test_gradios_own_middleware_lets_other_sites_in_until_removed.
    """
    app.user_middleware = [middleware for middleware in app.user_middleware if middleware.cls is not CustomCORSMiddleware]
    app.middleware_stack = app.build_middleware_stack()


def set_route(request: Request, route: Route) -> None:
    """Note the route that answers a request, for `route_of`.

    starlette 1.10.0 and fastapi 0.165.0, which do so for some kinds of routes. Needed for the log and the metrics. Noticed by
    test_every_route_is_known_by_its_path.
    """
    request.scope["route"] = route


def route_of(scope: Scope) -> str:
    """The route that answered, with the names of its parameters in place of their values; “none” where no route answered.

    starlette 1.10.0 and fastapi 0.165.0. Needed to log and count requests without naming what visitors ask for. Noticed by
    test_every_route_is_known_by_its_path.
    """
    return getattr(scope.get("route"), "path", "none")


# Gradio's queue


def set_queue_pace(page: gr.Blocks, seconds: float) -> None:
    """Set the time between two polls of Gradio's queue.

    gradio 6.31.0. Gradio's own pace, a millisecond, takes a twentieth of a core all day long. Noticed by
    test_the_queue_polls_at_our_pace.
    """
    page._queue.sleep_when_free = page._queue.progress_update_sleep_when_free = seconds


def queue_length(page: gr.Blocks) -> int:
    """Number of requests that wait for their turn.

    gradio 6.31.0, which publishes it nowhere else. Noticed by test_the_queue_tells_what_waits_and_what_runs.
    """
    return len(page._queue)


def is_at_work(page: gr.Blocks) -> bool:
    """Whether Gradio runs a request, or has one that waits.

    gradio 6.31.0. Needed to let work end before the app does. Noticed by test_the_queue_tells_what_waits_and_what_runs.
    """
    return bool(len(page._queue)) or any(page._queue.active_jobs)


def has_unfetched_answers(page: gr.Blocks) -> bool:
    """Whether a client has not yet fetched the answers to all of its requests.

    gradio 6.31.0. Needed to let clients fetch them before the app ends. Noticed by test_the_queue_tells_what_waits_and_what_runs.
    """
    return any(page._queue.pending_event_ids_session.values())


def requests_under_way(page: gr.Blocks) -> tuple[list[Request], int]:
    """The requests that run or wait, and the number of slots for running ones.

    gradio 6.31.0. Needed to give every client its share, of which Gradio knows nothing. Noticed by
    test_the_queue_tells_what_waits_and_what_runs.
    """
    queue = page._queue
    events = [event for job in queue.active_jobs if job for event in job]
    events += [event for waiting in queue.event_queue_per_concurrency_id.values() for event in waiting.queue]
    return [event.request for event in events], len(queue.active_jobs)


def says_queue_is_full(error: HTTPException) -> bool:
    """Whether Gradio refused a request because its queue is full.

    gradio 6.31.0, which says so only in words. Needed to answer with a sentence and a status of ours. Noticed by
    test_the_queue_tells_what_waits_and_what_runs.
    """
    return error.status_code == 503 and "full" in str(error.detail)


# Gradio's sessions


class Session(SessionState):
    """A session that stores only the values of gr.State, and nothing else of the page.

    gradio 6.31.0. Gradio's own session stores the whole page, every component with its latest value, for links to a state; this app has no
    such links. Each API call is a new session, so that this storage took more of the server's time than the model did, and a hundred
    kilobytes per call. Noticed by test_a_session_has_all_that_gradio_keeps_in_its_own, test_a_session_remembers_states_alone.
    """

    def __init__(self, page: gr.Blocks):
        self.blocks_config = copy(page.default_config)
        self.config_values = {}
        self.state_data = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 60  # seconds; a visitor who comes back later gets a new state

    def __setitem__(self, key: int, value: Any) -> None:
        if isinstance(self.blocks_config.blocks.get(key), gr.State):
            super().__setitem__(key, value)
            self.config_values.clear()
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class Sessions(StateHolder):
    """The sessions of a page, created on first use.

    gradio 6.31.0. Needed to make each a `Session`. Noticed by test_sessions_are_bounded.
    """

    def __init__(self, page: gr.Blocks):
        super().__init__()
        self.set_blocks(page)

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = Session(self.blocks)
        return super().__getitem__(session_id)


def replace_sessions(page: gr.Blocks, new_mailboxes: Callable[[Queue], dict]) -> None:
    """Replace the sessions of a launched page by `Sessions`, and its message queues by those that a function makes for Gradio's queue.

    gradio 6.31.0. The message queues are an LRUCache, of which Gradio uses only what every dict has. Noticed by
    test_a_launched_page_uses_our_sessions_and_mailboxes.
    """
    page.app.state_holder = Sessions(page)
    page._queue.pending_messages_per_session = cast(Any, new_mailboxes(page._queue))


def waiting_sessions(queue: Queue) -> set[str]:
    """The sessions that wait for an answer.

    gradio 6.31.0. Needed to keep their message queues. Noticed by test_the_queue_tells_what_waits_and_what_runs.
    """
    return {event.session_hash for event in list(queue.event_ids_to_events.values())}


def forget_session(queue: Queue, session_id: str) -> None:
    """Forget the answers that a session has not fetched.

    gradio 6.31.0, which forgets them only where the session fetches them. Noticed by
    test_the_queue_tells_what_waits_and_what_runs.
    """
    queue.pending_event_ids_session.pop(session_id, None)


# The server and its connections


class Connection(AutoHTTPProtocol):
    """One connection of uvicorn, under names of ours.

    uvicorn 0.54.0, which limits neither the time nor the number of a client's connections, and lets nobody add it. A subclass may override
    asyncio's connection_made, data_received and connection_lost, and uvicorn's on_response_complete. Noticed by test_connections.py.
    """

    @property
    def host(self) -> str:
        """The client's address; empty where it has none."""
        return self.client[0] if self.client else ""

    @property
    def is_answering(self) -> bool:
        """Whether a request is being answered."""
        return bool(self.cycle) and not self.cycle.response_complete

    @property
    def all_open(self) -> set:
        """All open connections of the server."""
        return self.connections

    def close_after(self, seconds: float) -> asyncio.TimerHandle:
        """Close the connection after a time, unless the timer is cancelled."""
        return self.loop.call_later(seconds, self.transport.close)

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()


def server_of(page: gr.Blocks) -> Server:
    """The server of a launched page.

    gradio 6.31.0, whose `launch` returns the app and the address, but not the server. Noticed by
    test_a_launched_page_has_the_server_that_answers.
    """
    return page.server


def use_connections(server: Server, kind: type[Connection], keep_alive_seconds: int) -> None:
    """Make every new connection of a running server one of this kind, and let an idle one stay open for so long.

    uvicorn 0.54.0, which reads both for each connection; gr.Blocks.launch passes no such setting on. Noticed by test_connections.py and
    test_new_connections_stay_open_as_long_as_set.
    """
    server.config.timeout_keep_alive = keep_alive_seconds
    server.config.http_protocol_class = kind


def hang_up(server: Server, seconds: int) -> None:
    """Close every connection, as if its client had disconnected, so that streams end by themselves. Then `close` waits so long for them.

    uvicorn 0.54.0, which waits for streams without end, and reads the limit of that once it is told to end. Noticed by
    test_connections.test_hanging_up_ends_streams_in_silence, test_hanging_up_limits_the_wait_for_work.
    """

    def close() -> None:
        for connection in list(server.server_state.connections):
            cast(Connection, connection).transport.close()

    server.config.timeout_graceful_shutdown = seconds
    server.servers[0].get_loop().call_soon_threadsafe(close)


# Upload forms


class UploadedFile(GradioUploadFile):
    """An uploaded file that nobody reads: it is closed where Gradio would rewind it, once it is whole.

    gradio 6.31.0; or uploads would hold files open that the process needs. Noticed by test_a_form_closes_each_file_and_leaves_none_behind.
    """

    arrived = 0  # bytes received, written or not

    async def seek(self, offset: int) -> None:
        """Close the file instead of rewinding it."""
        await self.close()


class UploadForm(GradioMultiPartParser):
    """Gradio's parser of an upload's form, whose files a subclass may limit by `check`.

    gradio 6.31.0, whose own limit is one size for all files. Starlette's documented parser writes no files to a folder of our choice.
    Noticed by test_upload_route.py and test_a_form_closes_each_file_and_leaves_none_behind.
    """

    def __init__(self, request: Request, stream: AsyncGenerator[bytes, None], *, max_fields: int, max_file_size: int):
        super().__init__(
            request.headers,
            stream,
            max_files=math.inf,  # the subclass limits them, with a sentence of ours
            max_fields=max_fields,
            upload_dir=get_upload_folder(),
            max_file_size=max_file_size,
        )

    def check(self, file: UploadedFile | None, size: int, files: int) -> None:
        """Check what has arrived, before it is written; a subclass raises what its caller wants.

        Args:
            file: the file that has begun or grown; None for a field that is not a file.
            size: bytes of the file or the field so far.
            files: number of the form's files so far.
        """

    def on_headers_finished(self) -> None:
        """The parser's call for a new part."""
        super().on_headers_finished()
        if (file := self._current_part.file) is not None:
            self._current_part.file = UploadedFile(file.file, size=0, filename=file.filename, headers=file.headers)
            self.check(self._current_part.file, 0, self._current_files)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """The parser's call for a part's next bytes."""
        part = self._current_part
        if part.file is None:
            part.data += data[start:end]
            return self.check(None, len(part.data), self._current_files)
        file = cast(UploadedFile, part.file)  # `on_headers_finished` made it
        file.arrived += end - start
        self.check(file, file.arrived, self._current_files)
        super().on_part_data(data, start, end)

    def discard(self) -> None:
        """Close every file, and remove the files that have not been moved away."""
        for file in self._files_to_close_on_error:
            file.close()
            with contextlib.suppress(OSError):
                Path(file.name).unlink(missing_ok=True)
