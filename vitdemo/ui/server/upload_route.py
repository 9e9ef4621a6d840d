"""The upload route, in place of Gradio's own: with limits on everything, names that can't be guessed, and no half-written files left."""

import asyncio
import contextlib
import math
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from gradio.route_utils import GradioMultiPartParser, GradioUploadFile
from gradio.routes import API_PREFIX
from gradio.utils import get_upload_folder
from gradio_client.utils import strip_invalid_filename_characters
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.scratch import FILE_OVERHEAD_BYTES, MIN_AGE_SECONDS
from vitdemo.core.photos.photo import shown_name
from vitdemo.ui.server.auth import is_logged_in
from vitdemo.ui.server.client import client_of
from vitdemo.ui.server.served_files import scratch_of

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
        self.route = Route(f"{API_PREFIX}/upload", self._receive, methods=["POST"])

    async def _receive(self, request: Request) -> Response:
        """Store the files of a form. Returns: a response with the list of their paths."""
        if not is_logged_in(request):
            raise HTTPException(401)
        request.scope["route"] = self.route  # for the metrics and the log; Starlette does not set it
        parser, client = None, client_of(request)
        request.state.arrived = 0
        try:
            self._check_size(int(request.headers.get("content-length") or 0))
            async with asyncio.timeout(STALL_SECONDS) as limit:
                parser = _Parser(request, self._counted(request, limit), self._settings)
                form = await parser.parse()
            files = [file for file in form.getlist("files") if isinstance(file, _File)]
            return JSONResponse(await self._in_thread(self._place, files, client))
        except UserError as error:
            return PlainTextResponse(str(error), 413 if isinstance(error, _TooLarge) else 507)
        except TimeoutError:
            return PlainTextResponse(STALLED, 408)
        except OSError as error:
            return PlainTextResponse(f"The upload can't be kept on the server's disk ({error.strerror}): try again in a few minutes.", 507)
        except ClientDisconnect:
            return Response(status_code=499)  # the client has gone and reads no answer
        except (MultiPartException, LookupError, ValueError, AttributeError, AssertionError):
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

    def _place(self, files: list["_File"], client: str) -> list[str]:
        """Move each file to a new folder, under its original name. Returns: the paths."""
        scratch_of(self._settings).check(FILE_OVERHEAD_BYTES * len(files))
        paths = []
        for file in files:
            name = strip_invalid_filename_characters(Path(file.filename or "").name)
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


class _TooLarge(UserError):
    pass


class _Parser(GradioMultiPartParser):
    """Gradio's parser, with a size limit for fields and for each file by its type.

    A file is closed as soon as its part ends. `discard` removes the files that were not placed.
    """

    def __init__(self, request: Request, stream: AsyncGenerator[bytes, None], settings: Settings):
        super().__init__(
            request.headers,
            stream,
            max_files=math.inf,  # limited below, with our own sentence
            max_fields=MAX_FILES,
            upload_dir=get_upload_folder(),
            max_file_size=max(settings.max_upload_bytes, settings.max_zip_bytes),
        )
        self._settings = settings

    def on_headers_finished(self) -> None:
        """Begin a part. Raises: _TooLarge for too many files."""
        super().on_headers_finished()
        if self._current_files > MAX_FILES:
            raise _TooLarge(f"These are more than the {MAX_FILES} files that may be sent at once: send a zip of them, or a part at a time.")
        if (file := self._current_part.file) is not None:
            self._current_part.file = _File(file.file, size=0, filename=file.filename, headers=file.headers)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Take a part's next bytes. Raises: _TooLarge for a part over its limit."""
        part = self._current_part
        if part.file is None:
            part.data += data[start:end]
            if len(part.data) > MAX_FIELD_BYTES:
                raise _TooLarge(UNREADABLE)
            return
        file = cast(_File, part.file)  # `on_headers_finished` made it
        file.arrived += end - start
        name = file.filename or ""
        most = self._settings.max_zip_mb if name.lower().endswith(".zip") else self._settings.max_upload_mb
        if file.arrived > most << 20:
            raise _TooLarge(f"“{shown_name(Path(name).name)}” is larger than {most} MB: leave it out, or save a smaller copy of it.")
        super().on_part_data(data, start, end)

    def discard(self) -> None:
        """Close every file, and remove the files that were not placed."""
        for file in self._files_to_close_on_error:
            file.close()
            with contextlib.suppress(OSError):
                Path(file.name).unlink(missing_ok=True)


class _File(GradioUploadFile):
    """An uploaded file that nobody reads: it is closed where Gradio would rewind it, once it is whole."""

    arrived = 0  # bytes received, written or not

    async def seek(self, offset: int) -> None:
        """Close the file instead of rewinding it."""
        await self.close()
