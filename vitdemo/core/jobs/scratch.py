"""The scratch folder for uploads and visitors' results: private, limited in size, and removed with the app, however the app ends.

The app holds a file lock in the folder for as long as it runs. A killed app leaves its folder behind unlocked, and the next app that starts
in the same place removes that folder.
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
except ImportError:  # Windows: folders of killed apps are not removed there
    fcntl = None  # type: ignore[assignment]  # a module that may be missing has no other spelling

PREFIX = "vitdemo-app-"
LOCK_FILE = ".in-use"
NEW_FOLDER_SECONDS = 60  # a folder without a lock file counts as in use until this age: another app may just be making it
FILE_OVERHEAD_BYTES = 4096  # added to each file's size, so that empty files count as well
MIN_AGE_SECONDS = 600  # nothing is evicted before this age, however little room there is
LOOK_INTERVAL_FACTOR = 50  # the next scan of the folder waits this many times as long as the last scan took,
MIN_LOOK_SECONDS, MAX_LOOK_SECONDS = 1, 10  # but at least and at most this long
DISK_RESERVE_BYTES = 64 << 20  # disk space left free for other programs
NO_ROOM = "The server has no room for more files just now: try again in a few minutes."


@contextmanager
def scratch_folder(settings: Settings) -> Iterator[Path]:
    """Make a folder in `--temp-dir` or the system's temporary folder, and remove it at the end. First remove those of killed apps."""
    parent = settings.temp_dir or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    with (folder / LOCK_FILE).open("w") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*") if fcntl else ():
        with contextlib.suppress(OSError):  # the folder is another user's, or another app is removing it as well
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
class _Entry:
    """A file or folder that is removed as a whole: its newest modification time (seconds since 1970), its size, its path."""

    newest: float
    bytes: int
    path: Path


class Scratch:
    """Tracks the disk use of the scratch folder, and evicts entries where room runs short.

    Each file or folder directly in the scratch folder is one entry; in a shared folder, each visitor's folder is one. The least recently
    changed entries are evicted first, before they expire, but not before they are `MIN_AGE_SECONDS` old.

    Args:
        shared: names of folders that hold one folder per visitor; these shared folders are never removed themselves.

    Attributes:
        folder: the scratch folder; everything in it counts, whoever wrote it.
    """

    def __init__(self, folder: Path, settings: Settings, shared: Collection[str] = ()):
        self.folder, self._settings, self._shared = folder, settings, shared
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []  # as of the latest scan
        self._taken, self._promised, self._next_scan = 0, 0, float("-inf")

    def taken(self) -> int:
        """Return the bytes in use: as of the latest scan, plus those admitted since."""
        with self._lock:
            self._scan_if_due()
            return self._taken

    def check(self, coming: int = 0) -> None:
        """Admit `coming` more bytes, which have arrived already; evict entries to make room. Raises: UserError where there is no room."""
        with self._lock:
            self._scan_if_due()
            if (missing := self._missing_bytes(coming)) > 0:
                self._choose_evictions(missing)  # raises where no eviction would be enough; that needs no scan
                self._scan()  # bytes that were admitted may never have arrived
                if (missing := self._missing_bytes(coming)) > 0:
                    self._remove(self._choose_evictions(missing))
            self._taken += coming

    @contextmanager
    def promised(self, coming: int) -> Iterator[None]:
        """Reserve room for `coming` bytes that arrive bit by bit; all of them count while the context is open. Raises: as `check`."""
        self.check(coming)
        with self._lock:
            self._promised += coming
        try:
            yield
        finally:
            with self._lock:
                self._promised -= coming

    def sweep(self) -> None:
        """Remove expired entries: those in which no file or folder has changed for `upload_minutes`."""
        cutoff = time.time() - 60 * self._settings.upload_minutes
        with self._lock:
            self._scan()
            self._remove([entry for entry in self._entries if entry.newest < cutoff])

    def _missing_bytes(self, coming: int) -> int:
        """Return by how many bytes the room is too small; 0 or less where there is enough."""
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError:
            free = 0
        return max(coming + DISK_RESERVE_BYTES - free, self._taken + coming - (self._settings.temp_mb << 20))

    def _choose_evictions(self, missing: int) -> list[_Entry]:
        """Choose the entries to evict: the least recently changed first.

        They free a tenth of the limit beyond `missing` bytes, so that the next file needs no eviction. Raises: UserError where they free
        fewer than `missing` bytes.
        """
        cutoff, wanted, evicted = time.time() - MIN_AGE_SECONDS, missing + (self._settings.temp_mb << 20) // 10, []
        for entry in sorted(self._entries):
            if wanted <= 0 or entry.newest > cutoff:
                break
            evicted.append(entry)
            wanted -= entry.bytes
        if sum(entry.bytes for entry in evicted) < missing:
            raise UserError(NO_ROOM)
        return evicted

    def _remove(self, removed: list[_Entry]) -> None:
        for entry in removed:
            with contextlib.suppress(OSError):
                is_folder = entry.path.is_dir() and not entry.path.is_symlink()
                shutil.rmtree(entry.path, ignore_errors=True) if is_folder else entry.path.unlink(missing_ok=True)
        paths = {entry.path for entry in removed}
        self._entries = [entry for entry in self._entries if entry.path not in paths]
        self._taken -= sum(entry.bytes for entry in removed)

    def _scan_if_due(self) -> None:
        if time.monotonic() > self._next_scan:
            self._scan()

    def _scan(self) -> None:
        """Measure all entries, and list those that may be removed."""
        begin = time.monotonic()
        entries = [_measure(path) for path in self._paths()]
        self._taken = self._promised + sum(entry.bytes for entry in entries)
        self._entries = [entry for entry in entries if entry.path.name != LOCK_FILE]
        now = time.monotonic()
        self._next_scan = now + min(max(MIN_LOOK_SECONDS, LOOK_INTERVAL_FACTOR * (now - begin)), MAX_LOOK_SECONDS)

    def _paths(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.name in self._shared:
                    with contextlib.suppress(OSError):
                        yield from path.iterdir()
                else:
                    yield path


def _measure(path: Path) -> _Entry:
    """Measure one entry. An entry that has vanished meanwhile has no bytes and counts as the newest."""
    try:
        stat = path.lstat()
    except OSError:
        return _Entry(math.inf, 0, path)
    files = [*files_in(path)] if S_ISDIR(stat.st_mode) else [stat]
    return _Entry(max(file.st_mtime for file in (stat, *files)), sum(_disk_bytes(file) + FILE_OVERHEAD_BYTES for file in files), path)


def _disk_bytes(file: os.stat_result) -> int:
    """Return the disk space of a file; on Windows, which reports no blocks, the file's length."""
    return 512 * file.st_blocks if hasattr(file, "st_blocks") else file.st_size
