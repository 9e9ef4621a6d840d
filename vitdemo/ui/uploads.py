"""Uploads, in the place of Gradio's own route: bounded in all that they take, under names that can't be guessed, nothing left half done."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from gradio.route_utils import GradioMultiPartParser, GradioUploadFile
from gradio.routes import API_PREFIX, file_upload_statuses
from gradio.utils import get_upload_folder
from gradio_client.utils import strip_invalid_filename_characters
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos import shown_name
from vitdemo.ui.login import is_logged_in
from vitdemo.ui.served import scratch

MOST = 1000  # files in a request
FIELD = 64 << 10  # bytes of a form's field that is no file
LOOK_EVERY = 8 << 20  # bytes after which the room left is looked at again
TRACKED = 60  # seconds for which the page may ask how far an upload has come, once it has ended
UNREADABLE = "The upload can't be read: reload the page and give the files again."


class Uploads:
    """Takes files in.

    Attributes:
        route: has to stand before Gradio's own.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self.route = Route(f"{API_PREFIX}/upload", self._receive, methods=["POST"])

    async def _receive(self, request: Request) -> Response:
        """The paths of the files of a form, as a list."""
        if not is_logged_in(request):
            raise HTTPException(401)
        request.scope["route"] = self.route  # for who counts requests; Starlette does not say it
        progress = request.query_params.get("upload_id")
        parser = None
        try:
            await asyncio.to_thread(scratch(self._settings).check, int(request.headers.get("content-length") or 0))
            parser = _Parser(request, self._counted(request), self._settings, progress)
            form = await parser.parse()
            return JSONResponse([_placed(each) for each in form.getlist("files") if isinstance(each, GradioUploadFile)])
        except UserError as error:
            return PlainTextResponse(str(error), 413 if isinstance(error, _TooLarge) else 507)
        except OSError as error:
            return PlainTextResponse(f"The upload can't be kept on the server's disk ({error.strerror}): try again in a few minutes.", 507)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except (MultiPartException, LookupError, ValueError, AttributeError, AssertionError):
            return PlainTextResponse(UNREADABLE, 400)
        finally:
            if parser:
                parser.discard()
            if progress:
                asyncio.get_running_loop().call_later(TRACKED, file_upload_statuses.stop_tracking, progress)

    async def _counted(self, request: Request) -> AsyncIterator[bytes]:
        """The request's body, as long as there is room for it."""
        since = 0
        async for chunk in request.stream():
            since += len(chunk)
            if since > LOOK_EVERY:
                since = 0
                await asyncio.to_thread(scratch(self._settings).check)
            yield chunk


class _TooLarge(UserError):
    pass


class _Parser(GradioMultiPartParser):
    """Gradio's own, with a limit for each file by its kind and for fields, and what it has written removed unless it was placed."""

    def __init__(self, request: Request, stream: AsyncIterator[bytes], settings: Settings, progress: str | None):
        super().__init__(
            request.headers,
            stream,
            max_files=MOST,
            max_fields=MOST,
            upload_dir=get_upload_folder(),
            upload_id=progress,
            upload_progress=file_upload_statuses if progress else None,
            max_file_size=max(settings.max_upload_bytes, settings.max_zip_bytes),
        )
        self._settings, self._sizes = settings, {}
        if progress:
            file_upload_statuses.track(progress)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._current_part
        if part.file is None:
            part.data += data[start:end]
            if len(part.data) > FIELD:
                raise _TooLarge(UNREADABLE)
            return
        taken = self._sizes[id(part)] = self._sizes.get(id(part), 0) + end - start
        name = part.file.filename or ""
        most = self._settings.max_zip_mb if name.lower().endswith(".zip") else self._settings.max_upload_mb
        if taken > most << 20:
            raise _TooLarge(f"“{shown_name(Path(name).name)}” is larger than {most} MB: leave it out, or save a smaller copy of it.")
        super().on_part_data(data, start, end)

    def discard(self) -> None:
        """Close every file, and remove those that were not placed."""
        for file in self._files_to_close_on_error:
            file.close()
            with contextlib.suppress(OSError):
                Path(file.name).unlink(missing_ok=True)
        if self.upload_progress is not None:
            self.upload_progress.set_done(self.upload_id)


def _placed(upload: GradioUploadFile) -> str:
    """Move a file to a folder of its own, under the name that it had. Returns its path."""
    name = strip_invalid_filename_characters(Path(upload.filename or "").name)
    folder = Path(get_upload_folder(), secrets.token_hex(32))
    folder.mkdir()
    upload.file.close()
    path = folder / (name if name not in ("", ".", "..") else "unnamed")
    Path(upload.file.name).rename(path)
    return str(path)
