"""Files that the page fetches. They lie in the folder that Gradio serves, within its size limit."""

import contextlib
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.scratch import Scratch
from vitdemo.ui.server.gradio_internals import get_upload_folder

HIDDEN_FOLDERS = ("lessons", "exports")  # subfolders that are never served, with a folder for each visitor
RECENT_SECONDS = 60  # longer than the time between two sweeps


def scratch_of(settings: Settings) -> Scratch:
    """The served folder with its size limit."""
    return _scratch(get_upload_folder(), settings)


def write(folder: Path, name: str, data: bytes, settings: Settings) -> str:
    """Write a file for the page. Returns: its path. Raises: UserError where the folder or the disk has no room for it."""
    scratch_of(settings).check(len(data))
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UserError(f"This can't be kept on the server's disk ({error.strerror}): try again in a few minutes.") from None
    return str(path)


def touch(paths: Iterable[Path]) -> None:
    """Restart the age of files and folders in the served folder, because their gallery or session was requested or is at work.

    A gallery with many files is touched by the next sweep instead, if it was requested within RECENT_SECONDS.
    """
    root = get_upload_folder()
    for path in set(paths):
        if path.is_relative_to(root):
            with contextlib.suppress(OSError):  # removed already
                os.utime(path)


@lru_cache(maxsize=4)
def _scratch(folder: str, settings: Settings) -> Scratch:
    return Scratch(Path(folder), settings, HIDDEN_FOLDERS)
