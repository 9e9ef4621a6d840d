"""The folder for what visitors give and make: private, within a limit, and gone with the app, however that ends.

The app holds a lock in it for as long as it lives. An app that was killed leaves the folder behind without one, and the next start in the
same place removes it.
"""

import contextlib
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.workspace import files_in

try:
    import fcntl
except ImportError:  # Windows: nothing is swept there at a start
    fcntl = None

PREFIX = "vitdemo-app-"
LOCK_FILE = ".in-use"
NEW_FOLDER_SECONDS = 60  # seconds for which a folder without a lock may be one that is just being made
FILE_OVERHEAD_BYTES = 4096  # bytes that a file takes beside its contents, so that empty ones count as well
MIN_AGE_SECONDS = 600  # seconds for which everything is kept, however little room there is
LOOK_INTERVAL_FACTOR = 50  # times as long as a look takes, until the next one,
MIN_LOOK_SECONDS, MAX_LOOK_SECONDS = 1, 10  # though not sooner and not later than after so many seconds
DISK_RESERVE_BYTES = 64 << 20  # bytes of the disk that are left to others
NO_ROOM = "The server has no room for more files just now: try again in a few minutes."


@contextmanager
def scratch_folder(settings: Settings) -> Iterator[Path]:
    """A new folder below `--temp-dir`, or the system's temporary folder, that goes at the end; those of killed apps go at the beginning."""
    parent = settings.temp_dir or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    with (folder / LOCK_FILE).open("w") as lock:
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
        with (folder / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime < NEW_FOLDER_SECONDS
    except OSError:
        return True


@dataclass(frozen=True, order=True)
class _Piece:
    """What goes in one piece: its last change, its bytes, where it lies."""

    newest: float
    bytes: int
    path: Path


class Scratch:
    """What lies in the folder, and whether more may come.

    It is counted in the pieces in which it goes: what lies directly in the folder, but a shared folder's own folders each by itself. Where
    room runs short, what nobody has touched for the longest goes before its time, if it has had `LEAST` seconds.

    Args:
        shared: names of folders in it that hold a folder for each visitor, and stay themselves.

    Attributes:
        folder: all of it is counted, whoever put it there.
    """

    def __init__(self, folder: Path, settings: Settings, shared: Collection[str] = ()):
        self.folder, self._settings, self._shared = folder, settings, shared
        self._lock = threading.Lock()
        self._things: list[_Piece] = []  # as of the latest look
        self._taken, self._promised, self._next = 0, 0, float("-inf")

    def taken(self) -> int:
        """Bytes, as of the latest look, with those that were let in since."""
        with self._lock:
            self._look_now_and_then()
            return self._taken

    def check(self, coming: int = 0) -> None:
        """See that there is room for so many bytes more, which have come already, and make some. Raises: UserError where there is none."""
        with self._lock:
            self._look_now_and_then()
            if (short := self._short_of(coming)) > 0:
                self._longest_untouched(short)  # where they are not enough, there is no need to look
                self._look()  # what was let in may never have come
                if (short := self._short_of(coming)) > 0:
                    self._remove(self._longest_untouched(short))
            self._taken += coming

    @contextmanager
    def promised(self, coming: int) -> Iterator[None]:
        """Room for bytes that come by and by: all of them count until the end. Raises: as `check`."""
        self.check(coming)
        with self._lock:
            self._promised += coming
        try:
            yield
        finally:
            with self._lock:
                self._promised -= coming

    def sweep(self) -> None:
        """Remove what nobody has touched for as long as uploads are kept: files, and folders with nothing newer in them."""
        oldest = time.time() - 60 * self._settings.upload_minutes
        with self._lock:
            self._look()
            self._remove([each for each in self._things if each.newest < oldest])

    def _short_of(self, coming: int) -> int:
        """Bytes by which there is too little room."""
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError:
            free = 0
        return max(coming + DISK_RESERVE_BYTES - free, self._taken + coming - (self._settings.temp_mb << 20))

    def _longest_untouched(self, short: int) -> list[_Piece]:
        """What has to go, so that a tenth of all is free as well, and this is not to be done for every file.

        Raises: UserError where it would not be enough.
        """
        oldest, wanted, going = time.time() - MIN_AGE_SECONDS, short + (self._settings.temp_mb << 20) // 10, []
        for thing in sorted(self._things):
            if wanted <= 0 or thing.newest > oldest:
                break
            going.append(thing)
            wanted -= thing.bytes
        if sum(each.bytes for each in going) < short:
            raise UserError(NO_ROOM)
        return going

    def _remove(self, going: list[_Piece]) -> None:
        for thing in going:
            with contextlib.suppress(OSError):
                folder = thing.path.is_dir() and not thing.path.is_symlink()
                shutil.rmtree(thing.path, ignore_errors=True) if folder else thing.path.unlink(missing_ok=True)
        gone = {each.path for each in going}
        self._things = [each for each in self._things if each.path not in gone]
        self._taken -= sum(each.bytes for each in going)

    def _look_now_and_then(self) -> None:
        if time.monotonic() > self._next:
            self._look()

    def _look(self) -> None:
        """Count everything, and note what may go."""
        begin = time.monotonic()
        found = [_thing(path) for path in self._paths()]
        self._taken = self._promised + sum(each.bytes for each in found)
        self._things = [each for each in found if each.path.name != LOCK_FILE]
        now = time.monotonic()
        self._next = now + min(max(MIN_LOOK_SECONDS, LOOK_INTERVAL_FACTOR * (now - begin)), MAX_LOOK_SECONDS)

    def _paths(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.name in self._shared:
                    with contextlib.suppress(OSError):
                        yield from path.iterdir()
                else:
                    yield path


def _thing(path: Path) -> _Piece:
    """What is gone meanwhile has no bytes, and is as new as can be."""
    try:
        stat = path.lstat()
    except OSError:
        return _Piece(math.inf, 0, path)
    files = [*files_in(path)] if S_ISDIR(stat.st_mode) else [stat]
    return _Piece(max(each.st_mtime for each in (stat, *files)), sum(_on_disk(each) + FILE_OVERHEAD_BYTES for each in files), path)


def _on_disk(file: os.stat_result) -> int:
    """Bytes. Windows does not tell the blocks."""
    return 512 * file.st_blocks if hasattr(file, "st_blocks") else file.st_size
