"""Visitors' workspaces: folders with unguessable names, limited in size, and removed when unused."""

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
    """All visitors' folders, below `root`. Anybody who knows a folder's id may use the folder, and nobody can list the ids."""

    def __init__(self, root: Path, settings: Settings):
        self.root, self.settings = root, settings

    def create(self) -> Path:
        """Make a new, empty folder. Its name is its id.

        Raises: UserError where the folder can't be made, such as on a full disk.
        """
        self.sweep()
        folder = self.root / secrets.token_urlsafe(24)
        try:
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise UserError(f"No folder could be made for this ({error.strerror}): tell the operator.") from None
        return folder

    def get(self, id: object) -> Path:
        """Return the folder with this id, and restart the time until it expires.

        Raises: UserError where the folder does not exist, or no longer exists.
        """
        folder = self.root / id if isinstance(id, str) and re.fullmatch(r"[\w-]{32}", id, re.ASCII) else None
        if folder is None or folder.is_symlink() or not folder.is_dir():
            raise UserError(NOT_HERE)
        os.utime(folder)
        return folder

    def check_room(self, folder: Path, coming: int = 0) -> None:
        """Check that a folder with `coming` more bytes stays within its limit.

        Raises: UserError where the folder would exceed the limit.
        """
        if size_of(folder) + coming > self.settings.workspace_mb << 20:
            raise UserError(f"This would take more than {self.settings.workspace_mb} MB: give fewer or smaller files.")

    def sweep(self) -> None:
        """Remove the folders that have not been touched for `upload_minutes`. Work in a folder touches the folder from time to time."""
        if not self.root.is_dir():
            return
        cutoff = time.time() - 60 * self.settings.upload_minutes
        for folder in self.root.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another thread's sweep has removed the folder
                if folder.stat().st_mtime < cutoff:
                    shutil.rmtree(folder, ignore_errors=True)


def files_in(folder: Path) -> Iterator[os.stat_result]:
    """Yield the `lstat` of each file below a folder. Files that vanish meanwhile are skipped: a running child renames its files."""
    for subfolder, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield os.lstat(os.path.join(subfolder, name))


def size_of(folder: Path) -> int:
    """Return the total size of all files below a folder, in bytes."""
    return sum(file.st_size for file in files_in(folder))


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder, by the file's name.

    Raises: UserError for a name that leads out of the folder, or for which there is no file.
    """
    path = (folder / name.replace("\0", "")).resolve()
    if "\0" in name or not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise UserError(NOT_HERE)
    return path
