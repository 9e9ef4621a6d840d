"""Disk cache of vectors, so that a photo runs through a model only once.

Each record has its own file, named by the photo's id, in a folder named by a key of everything else that the vectors depend on. A record
is written to a temporary file and then moved, with a checksum in front. Other processes therefore see a whole record or none, and damaged
records are ignored.
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

KEPT_PREDICTIONS = 5  # per photo
TRIMMED_TO = 0.9  # share of the limit that remains after the least recently used records are evicted
SUFFIX = ".vectors"
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Record:
    """The cached results of one forward pass on a photo.

    Attributes:
        vectors: (layers + 1, pools, width) float32.
        classes: (top,) int32 indices of the top classes, most probable first; empty for a feature backbone.
        probabilities: (top,) float32; NaN where the model refuses the photo.
    """

    vectors: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray


class VectorStore:
    """The cache of one model with one preprocessing. All records have the same shape.

    Args:
        folder: folder of the records of all models; only this class may use the folder.
        key: everything but the photo that the vectors depend on, as a folder name.
        shape: (layers + 1, pools, width).
        top: predictions per record.
        megabytes: limit for the records of all models, 0 for no cache; the least recently used records are evicted first.
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, int, int], top: int, megabytes: int):
        self._folder, self._here, self._limit = folder, folder / key, megabytes * 1_000_000
        self._shape, self._top = shape, top
        self._numbers = int(np.prod(shape))
        self._lock = threading.Lock()
        self._taken = 0  # bytes used, as far as this process knows
        self._due = 0.0  # bytes at which it counts the files again
        self._works = megabytes > 0

    def get(self, id: str) -> Record | None:
        """The cached record of a photo; None where there is no record, or a damaged one."""
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
        """Store a record. If the disk can't store the record, log a warning and stop caching: vectors are then computed again."""
        if not self._works:
            return
        data = b"".join(
            np.ascontiguousarray(array, dtype).tobytes()
            for array, dtype in ((record.vectors, "<f4"), (record.classes, "<i4"), (record.probabilities, "<f4"))
        )
        with self._lock:
            if self._taken + self._bytes > self._due:
                self._evict()
            self._taken += self._bytes
        try:
            self._here.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._here, delete=False) as file:
                file.write(zlib.crc32(data).to_bytes(4, "little") + data)
            os.replace(file.name, self._path(id))
        except OSError as error:
            log.warning("vectors can't be kept in %s: %s", self._here, error)
            self._works = False

    def _evict(self) -> None:
        """Make room for one more record: evict the least recently used records of all models, a tenth of the limit at a time."""
        records = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):  # another process may be evicting records too
                records.append(((stat := path.stat()).st_mtime, stat.st_size, path))
        self._taken = sum(size for _, size, _ in records)
        if self._taken + self._bytes > self._limit:
            for _, size, path in sorted(records):
                if self._taken + self._bytes <= self._limit * TRIMMED_TO:
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                self._taken -= size
        self._due = min(self._limit, self._taken + self._limit * (1 - TRIMMED_TO))

    @property
    def _bytes(self) -> int:
        """Size of a record's file."""
        return 4 + 4 * self._numbers + 8 * self._top

    def _path(self, id: str) -> Path:
        return self._here / f"{id}{SUFFIX}"
