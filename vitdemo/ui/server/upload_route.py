"""The upload route, in place of Gradio's own: with limits on everything, names that can't be guessed, and no half-written files left."""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.scratch import FILE_OVERHEAD_BYTES, MIN_AGE_SECONDS
from vitdemo.core.names import shown_name
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.gradio_internals import (
    MALFORMED_FORM_ERRORS,
    UploadedFile,
    UploadForm,
    get_upload_folder,
    is_logged_in,
    safe_file_name,
    set_route,
)
from vitdemo.ui.server.served_files import scratch_of

PATH = "/gradio_api/upload"  # Gradio's, which is part of its documented API
MAX_FILES = 60  # in one request, and as many fields; the page sends 50
MAX_FIELD_BYTES = 64 << 10  # of a form field that is not a file
STALL_SECONDS = 60  # within which PROGRESS_BYTES more must arrive
PROGRESS_BYTES = 64 << 10
MAX_CLIENT_SHARE = 0.75  # of the room; above it, a client that holds more than half of the bytes there may upload no more
UPLOAD_THREADS = 4  # chunks written or counted at the same time
STALLED = "The upload has come to a halt: check the connection and give the files again."
UPLOADS_CROWDED = "Most of what the server keeps just now comes from your network: wait a few minutes, then send more."
UNREADABLE = "The upload can't be read: reload the page and give the files again."

T = TypeVar("T")


class Uploads:
    """Receives uploads.

    Attributes:
        route: must come before Gradio's own.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._placed: dict[Path, tuple[str, int]] = {}  # file → its client and bytes
        self._most_placed = 1000  # entries, before those of removed files are dropped
        self._arriving: Counter[str] = Counter()  # client → bytes of requests under way
        self._threads = ThreadPoolExecutor(UPLOAD_THREADS, thread_name_prefix="upload")  # apart from the threads in which requests wait
        self.route = Route(PATH, self._receive, methods=["POST"])

    async def _receive(self, request: Request) -> Response:
        """Store the files of a form. Returns: a response with the list of their paths."""
        if not is_logged_in(request):
            raise HTTPException(401)
        set_route(request, self.route)
        parser, client = None, client_of(request)
        request.state.arrived = 0
        try:
            self._check_size(int(request.headers.get("content-length") or 0))
            async with asyncio.timeout(STALL_SECONDS) as limit:
                parser = _Form(request, self._counted(request, limit), self._settings)
                form = await parser.parse()
            files = [file for file in form.getlist("files") if isinstance(file, UploadedFile)]
            return JSONResponse(await self._in_thread(self._place, files, client))
        except UserError as error:
            return PlainTextResponse(str(error), 413 if isinstance(error, _TooLarge) else 507)
        except TimeoutError:
            return PlainTextResponse(STALLED, 408)
        except OSError as error:
            return PlainTextResponse(f"The upload can't be kept on the server's disk ({error.strerror}): try again in a few minutes.", 507)
        except ClientDisconnect:
            return Response(status_code=499)  # the client has gone and reads no answer
        except MALFORMED_FORM_ERRORS:
            return PlainTextResponse(UNREADABLE, 400)
        finally:
            self._arriving[client] -= request.state.arrived
            self._arriving = +self._arriving  # drops clients without bytes
            if parser:
                await self._in_thread(parser.discard)

    def _check_size(self, size: int) -> None:
        """Check the bytes of one request. Raises: _TooLarge for more than a request can need, or than ever fits."""
        most = min(self._settings.temp_mb, MAX_FILES * max(self._settings.max_upload_mb, self._settings.max_zip_mb))
        if size > most << 20:
            raise _TooLarge(f"This is more than the {most} MB that may be sent at once: send fewer or smaller files.")

    def _check_room(self, size: int, client: str) -> None:
        """Check that there is room for more bytes. Raises: UserError where there is none, or none for this client."""
        room = scratch_of(self._settings)
        if (taken := room.taken() + size) > MAX_CLIENT_SHARE * (self._settings.temp_mb << 20) and self._held(client) > taken / 2:
            raise UserError(UPLOADS_CROWDED)
        room.check(size)

    def _held(self, client: str) -> int:
        """Bytes of the client's uploads that may not be evicted yet."""
        held, oldest = self._arriving[client], time.time() - MIN_AGE_SECONDS
        for path, (owner, size) in list(self._placed.items()):
            with contextlib.suppress(FileNotFoundError):
                held += size * (owner == client and path.stat().st_mtime > oldest)
        return held

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _counted(self, request: Request, limit: asyncio.Timeout) -> AsyncGenerator[bytes, None]:
        """Yield the request's body while there is room for it and it makes progress."""
        arrived, noted, client = 0, 0, client_of(request)
        async for chunk in request.stream():
            arrived += len(chunk)
            self._check_size(arrived)
            self._arriving[client] += len(chunk)
            request.state.arrived = arrived
            await self._in_thread(self._check_room, len(chunk), client)
            if arrived - noted >= PROGRESS_BYTES:
                noted = arrived
                limit.reschedule(asyncio.get_running_loop().time() + STALL_SECONDS)
            yield chunk

    def _place(self, files: list[UploadedFile], client: str) -> list[str]:
        """Move each file to a new folder, under its original name. Returns: the paths."""
        scratch_of(self._settings).check(FILE_OVERHEAD_BYTES * len(files))
        paths = []
        for file in files:
            name = safe_file_name(Path(file.filename or "").name)
            folder = Path(get_upload_folder(), secrets.token_hex(32))
            folder.mkdir()
            path = folder / (name if name not in ("", ".", "..") else "unnamed")
            Path(file.file.name).rename(path)
            paths.append(str(path))
            self._placed[path] = client, file.arrived
        if len(self._placed) > self._most_placed:
            self._placed = {path: placed for path, placed in list(self._placed.items()) if path.exists()}
            self._most_placed = 2 * len(self._placed) + 1000
        return paths


async def progress(request: Request) -> Response:
    """Tell Gradio's photo box nothing of how far its upload is: the box shows that by itself, and complains of other answers."""
    if not is_logged_in(request):
        raise HTTPException(401)
    return Response(media_type="text/event-stream")


PROGRESS = Route(f"{PATH}_progress", progress, methods=["GET"])


class _TooLarge(UserError):
    pass


class _Form(UploadForm):
    """A form with a limit for the number of files, for fields, and for each file by its type."""

    def __init__(self, request: Request, stream: AsyncGenerator[bytes, None], settings: Settings):
        super().__init__(request, stream, max_fields=MAX_FILES, max_file_size=max(settings.max_upload_bytes, settings.max_zip_bytes))
        self._settings = settings

    def check(self, file: UploadedFile | None, size: int, files: int) -> None:
        """Check what has arrived. Raises: _TooLarge for too many files, and for a file or a field over its limit."""
        if files > MAX_FILES:
            raise _TooLarge(f"These are more than the {MAX_FILES} files that may be sent at once: send a zip of them, or a part at a time.")
        if file is None:
            if size > MAX_FIELD_BYTES:
                raise _TooLarge(UNREADABLE)
            return
        name = file.filename or ""
        most = self._settings.max_zip_mb if name.lower().endswith(".zip") else self._settings.max_upload_mb
        if size > most << 20:
            raise _TooLarge(f"“{shown_name(Path(name).name)}” is larger than {most} MB: leave it out, or save a smaller copy of it.")
