"""A visitor's own folders: named so that nobody can guess them, bounded in size, and gone when nobody has come for them."""

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError

NOT_HERE = "This is not here any more: begin again."


class Workspaces:
    """All visitors' folders, below `root`. Whoever knows a folder's id may use it, and nobody can list them."""

    def __init__(self, root: Path, settings: Settings):
        self.root, self.settings = root, settings

    def create(self) -> Path:
        """A new, empty folder. Its name is its id.

        Raises: UserError where the disk has no room for it.
        """
        self.sweep()
        folder = self.root / secrets.token_urlsafe(24)
        try:
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise UserError(f"No folder could be made for this ({error.strerror}): tell the operator.") from None
        return folder

    def get(self, id: object) -> Path:
        """The folder of this id, whose time begins anew.

        Raises: UserError where there is none, or no more.
        """
        folder = self.root / id if isinstance(id, str) and re.fullmatch(r"[\w-]{32}", id, re.ASCII) else None
        if folder is None or folder.is_symlink() or not folder.is_dir():
            raise UserError(NOT_HERE)
        os.utime(folder)
        return folder

    def check_room(self, folder: Path, coming: int = 0) -> None:
        """See that a folder with `coming` more bytes keeps within its limit.

        Raises: UserError where it does not.
        """
        if size_of(folder) + coming > self.settings.workspace_mb << 20:
            raise UserError(f"This would take more than {self.settings.workspace_mb} MB: give fewer or smaller files.")

    def sweep(self) -> None:
        """Remove the folders that nobody has touched for as long as uploads are kept: who works in one touches it now and then."""
        if not self.root.is_dir():
            return
        oldest = time.time() - 60 * self.settings.upload_minutes
        for folder in self.root.iterdir():
            with contextlib.suppress(FileNotFoundError):  # somebody else's sweep was here
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)


def files_in(folder: Path) -> Iterator[os.stat_result]:
    """What the system knows of each file, links not followed. What goes meanwhile is left out: a child at work renames what it writes."""
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield os.lstat(os.path.join(place, name))


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.st_size for file in files_in(folder))


def inside(folder: Path, name: str) -> Path:
    """A file in a folder, by its name.

    Raises: UserError for a name that leads anywhere else.
    """
    path = (folder / name.replace("\0", "")).resolve()
    if "\0" in name or not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise UserError(NOT_HERE)
    return path
