"""The folder for what visitors give and make: private, within a limit, and gone with the app, however that ends.

The app holds a lock in it for as long as it lives. An app that was killed leaves the folder behind without one, and the next start in the
same place removes it.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: nothing is swept there at a start
    fcntl = None

PREFIX = "vitdemo-app-"
LOCK = ".in-use"
YOUNG = 60  # seconds for which a folder without a lock may be one that is just being made
BLOCK = 4096  # bytes that a file takes beside its contents, so that empty ones count as well
LEAST = 600  # seconds for which everything is kept, however little room there is
RESERVE = 64 << 20  # bytes of the disk that are left to others
FULL = "The server has no room for more files just now: try again in a few minutes."


@contextmanager
def made(settings: Settings) -> Iterator[Path]:
    """A new folder below `--temp-dir`, or the system's temporary folder, that goes at the end; those of killed apps go at the beginning."""
    parent = settings.temp_dir or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    with (folder / LOCK).open("w") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*") if fcntl else ():
        with contextlib.suppress(OSError):  # another user's, or one that another app is removing as well
            if folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid() and not _in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _in_use(folder: Path) -> bool:
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime < YOUNG
    except OSError:
        return True


class Scratch:
    """What lies in the folder, and whether more may come.

    Where room runs short, what nobody has touched for the longest goes before its time, if it has had `LEAST` seconds.

    Attributes:
        folder: all of it is counted, whoever put it there.
    """

    def __init__(self, folder: Path, settings: Settings):
        self.folder, self._settings = folder, settings
        self._lock = threading.Lock()
        self._taken, self._looked = 0, float("-inf")

    def taken(self) -> int:
        """Bytes, as of a second ago at most, with those that were let in since."""
        with self._lock:
            if time.monotonic() - self._looked > 1:
                self._look()
            return self._taken

    def check(self, coming: int = 0) -> None:
        """See that there is room for so many bytes more, and make some. Raises: UserError where there is none."""
        if self._short_of(coming) > 0:
            self._make_room(coming)
            if self._short_of(coming) > 0:
                raise UserError(FULL)
        with self._lock:
            self._taken += coming

    def sweep(self) -> None:
        """Remove what nobody has touched for as long as uploads are kept: files, and folders with nothing newer in them."""
        oldest = time.time() - 60 * self._settings.upload_minutes
        with self._lock:
            for newest, _, path in self._look():
                if newest < oldest:
                    _remove(path)

    def _short_of(self, coming: int) -> int:
        """Bytes by which there is too little room."""
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError:
            free = 0
        return max(coming + RESERVE - free, self.taken() + coming - (self._settings.temp_mb << 20))

    def _make_room(self, coming: int) -> None:
        """Remove the longest untouched until a tenth of all is free as well, so that this is not to be done for every file."""
        wanted = self._short_of(coming) + (self._settings.temp_mb << 20) // 10
        with self._lock:
            for newest, bytes, path in sorted(self._look()):
                if wanted <= 0 or newest > time.time() - LEAST:
                    break
                _remove(path)
                wanted, self._taken = wanted - bytes, self._taken - bytes

    def _look(self) -> list[tuple[float, int, Path]]:
        """The last change, the bytes and the path of everything that lies directly in the folder."""
        found = []
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                with contextlib.suppress(OSError):  # gone meanwhile
                    stat = path.lstat()
                    inside = [*_files(path)] if path.is_dir() and not path.is_symlink() else [(stat.st_size, stat.st_mtime)]
                    newest = max(stat.st_mtime, *(changed for _, changed in inside)) if inside else stat.st_mtime
                    found.append((newest, sum(size + BLOCK for size, _ in inside), path))
        self._taken, self._looked = sum(bytes for _, bytes, _ in found), time.monotonic()
        return [each for each in found if each[2].name != LOCK]


def _files(folder: Path) -> Iterator[tuple[int, float]]:
    """Bytes on the disk and time of the last change of every file, links not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                stat = os.lstat(os.path.join(place, name))
                yield 512 * getattr(stat, "st_blocks", stat.st_size // 512), stat.st_mtime


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
