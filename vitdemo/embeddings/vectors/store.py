"""Vectors kept on disk, so that a photo goes through a model once.

A record stands in a file of its own, named by the photo's id, in a folder named by everything else that its numbers depend on. It is
written beside its place and then moved there, with a checksum before it: another process sees a whole record or none, and a damaged one
counts as none.
"""

import contextlib
import logging
import os
import tempfile
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

KEPT_PREDICTIONS = 5  # predictions kept of a photo
TRIMMED_TO = 0.9  # share of the limit that stays after the oldest records went
SUFFIX = ".vectors"
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Record:
    """What one pass tells about a photo.

    Attributes:
        vectors: (layers + 1, pools, width) float32.
        classes: (top,) int32, the likeliest classes, best first; empty for a feature backbone.
        probabilities: (top,) float32.
    """

    vectors: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray


class VectorStore:
    """Records of one model with one preprocessing, in the shape that this model gives.

    Args:
        folder: where the records of all models lie; it and what is in it are this class's alone.
        key: what the numbers depend on beside the photo, fit for a folder's name.
        shape: (layers + 1, pools, width).
        top: predictions of a record.
        megabytes: for the records of all models; the longest unused go first.
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, int, int], top: int, megabytes: int):
        self._folder, self._here, self._limit = folder, folder / key, megabytes * 1_000_000
        self._shape, self._top = shape, top
        self._numbers = int(np.prod(shape))
        self._lock = threading.Lock()
        self._taken = self._due = 0  # bytes taken, as far as this process knows, and at how many of them it looks again
        self._works = megabytes > 0

    def get(self, id: str) -> Record | None:
        """The record of a photo; None where there is none, or a damaged one."""
        if not self._works:
            return None
        path = self._path(id)
        try:
            data = path.read_bytes()
            if len(data) != self._bytes or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
                path.unlink(missing_ok=True)
                return None
            os.utime(path)
        except OSError:
            return None
        vectors, rest = np.split(np.frombuffer(data, "<f4", offset=4), [self._numbers])
        return Record(vectors.reshape(self._shape), rest[: self._top].view("<i4"), rest[self._top :])

    def put(self, id: str, record: Record) -> None:
        """Keep a record. A disk that can't take it is no reason to fail: the next time computes it again."""
        if not self._works:
            return
        data = b"".join(
            np.ascontiguousarray(each, kind).tobytes()
            for each, kind in ((record.vectors, "<f4"), (record.classes, "<i4"), (record.probabilities, "<f4"))
        )
        with self._lock:
            if self._taken + self._bytes > self._due:
                self._tidy_up()
            self._taken += self._bytes
        try:
            self._here.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._here, delete=False) as file:
                file.write(zlib.crc32(data).to_bytes(4, "little") + data)
            os.replace(file.name, self._path(id))
        except OSError as error:
            log.warning("vectors can't be kept in %s: %s", self._here, error)
            self._works = False

    def _tidy_up(self) -> None:
        """Make room for one more record: let the longest unused ones of all models go, a tenth of all there may be at a time."""
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):  # another process may be tidying up as well
                found.append(((stat := path.stat()).st_mtime, stat.st_size, path))
        self._taken = sum(size for _, size, _ in found)
        if self._taken + self._bytes > self._limit:
            for _, size, path in sorted(found):
                if self._taken + self._bytes <= self._limit * TRIMMED_TO:
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                self._taken -= size
        self._due = min(self._limit, self._taken + self._limit * (1 - TRIMMED_TO))

    @property
    def _bytes(self) -> int:
        """Of one file."""
        return 4 + 4 * self._numbers + 8 * self._top

    def _path(self, id: str) -> Path:
        return self._here / f"{id}{SUFFIX}"
