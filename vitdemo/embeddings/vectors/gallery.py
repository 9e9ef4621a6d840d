"""A gallery's vectors: run every photo through the model once for all layers, or read the photo's vectors from the disk cache."""

import math
import os
import tempfile
import threading
import weakref
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np
import torch

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.fingerprint import key_of
from vitdemo.core.models.predictions import Prediction, not_finite
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.encode import thumbnail
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead
from vitdemo.core.photos.preprocessing import Preprocessing, pixels_of
from vitdemo.embeddings.progress import Clock, WorkProgress
from vitdemo.embeddings.vectors.extract import Layer, all_layers, layers_of, pools_of
from vitdemo.embeddings.vectors.store import KEPT_PREDICTIONS, Record, VectorStore

THUMBNAIL_WIDTH = 96  # pixels


@dataclass(frozen=True)
class EmbeddingRow:
    """The result of one file.

    Attributes:
        path: the file's name in the results (Item.name).
        folder: the folder that the file lies in, which may be its label.
        sha256: hash of the file's bytes.
        error: the reason why the file has no vectors.
        predictions: the top classes, most probable first; empty for a feature backbone, or where the model refuses an unfamiliar photo.
        duplicate_of: the path of the earlier file with the same bytes.
        thumbnail: a small JPEG of the model's crop, if thumbnails were requested.
        notes: what decoding changed, one sentence each; none for a photo whose vectors were in the cache.
        at: row number of the photo's vectors, the first photo's row for a duplicate; None for an error.
    """

    path: str
    folder: str = ""
    sha256: str | None = None
    error: str | None = None
    predictions: tuple[Prediction, ...] = ()
    duplicate_of: str | None = None
    thumbnail: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    at: int | None = None


class EmbeddingGallery:
    """A gallery's vectors of all layers and poolings, in a file that is deleted with this object.

    The vectors of 5,000 photos take 400 MB with ViT-B; those of one layer take 15 MB.

    Args:
        preprocessing: replaces the model's own preprocessing.
        thumbnails: whether to make a thumbnail of each photo.
        folder: folder of the file; the system's temporary folder if None.

    Attributes:
        model: `Vit.id`.
        layers: 1 … the number of blocks, then `final`.
        pools: the poolings that this model has.
        rows: one row per processed file, in order; the list grows during the work.
        total: number of files.
    """

    def __init__(
        self,
        items: Sequence[Item],
        vit: Vit,
        engine: Engine,
        settings: Settings,
        *,
        preprocessing: Preprocessing | None = None,
        thumbnails: bool = False,
        folder: Path | None = None,
    ):
        self.model, self.layers, self.pools = vit.id, layers_of(vit), pools_of(vit)
        self.rows: list[EmbeddingRow] = []
        self.total = len(items)
        self._table = _Table(len(self.layers), len(self.pools), self.total, vit.adapter.width, settings, folder)
        self._steps = self._embed(items, vit, engine, settings, preprocessing or vit.preprocessing, thumbnails)

    def work(self) -> Generator[WorkProgress, None, None]:
        """Run the photos through the model, or continue after a pause. Closing the iterator stops the work and keeps the finished rows.

        Raises: UserError where the device has too little memory, or the disk too little space.
        """
        return self._steps

    @property
    def bytes(self) -> int:
        """Disk space of the vectors of all files, in bytes."""
        return self._table.bytes

    @property
    def done(self) -> list[EmbeddingRow]:
        """The rows that have vectors, in order."""
        return [row for row in self.rows[:] if row.at is not None]

    def vectors(self, layer: Layer, pool: str = "cls") -> np.ndarray:
        """The vectors of one layer and pooling, (rows in `done`, width) float32, row for row; a duplicate has a row of its own."""
        at = [row.at for row in self.done if row.at is not None]
        return self._table.read(self.layers.index(layer), self.pools.index(pool), max(at, default=-1) + 1)[at]

    def _embed(
        self, items: Sequence[Item], vit: Vit, engine: Engine, settings: Settings, preprocessing: Preprocessing, thumbnails: bool
    ) -> Generator[WorkProgress, None, None]:
        clock = Clock("photos", self.total)
        yield clock.at(0)
        shape = len(self.layers), len(self.pools), vit.adapter.width
        key = key_of(vit, preprocessing, settings.jpeg_draft) if settings.vector_cache_mb else ""
        store = VectorStore(settings.cache_folder / "vectors", key, shape, min(KEPT_PREDICTIONS, len(vit.labels)), settings.vector_cache_mb)
        network, size = all_layers(vit), engine.batch_size(vit, settings.batch_size)
        draft = preprocessing.draft_side if settings.jpeg_draft else 0

        def prepare(photo: Photo) -> _Prepared:
            record, crop = store.get(photo.id), preprocessing.crop(photo.image)
            return _Prepared(record, None if record else pixels_of(crop), thumbnail(crop, THUMBNAIL_WIDTH) if thumbnails else None)

        def cached(id: str) -> _Prepared | None:
            return _Prepared(record) if (record := store.get(id)) else None

        known = (lambda id: None) if thumbnails else cached

        def run_model(batch: list[PreparedPhoto[_Prepared]]) -> tuple[list[PreparedPhoto[_Prepared]], list[Record]]:
            inputs = [photo.made.input for photo in batch if photo.made and photo.made.input is not None]
            if not inputs:
                return batch, []
            (logits, vectors), _ = engine.forward(network, preprocessing.batch(inputs))
            return batch, [_record(*outputs, len(vit.labels)) for outputs in zip(vectors, logits, strict=True)]

        first_rows: dict[int, EmbeddingRow] = {}
        written = 0
        with (
            closing(photos_ahead(items, prepare, settings, ahead=size * (engine.lanes + 2), known=known, draft=draft)) as ready,
            closing(engine.map(run_model, batches(ready, size))) as processed,
        ):
            for batch, records in processed:
                new_records = iter(records)
                rows: list[EmbeddingRow] = []
                vectors: list[np.ndarray] = []
                for photo in batch:
                    row = EmbeddingRow(photo.item.name, photo.item.folder, photo.id, photo.error, notes=photo.notes)
                    if photo.first is not None:
                        first = first_rows[photo.first]
                        row = replace(first, path=row.path, folder=row.folder, duplicate_of=first.path)
                    elif photo.made:
                        record = photo.made.record or next(new_records)
                        if not np.isfinite(record.vectors).all():
                            row = replace(row, error=not_finite(f"“{photo.item.shown}”"))
                        else:
                            if photo.made.record is None:
                                assert photo.id is not None  # the file was read
                                store.put(photo.id, record)
                            predictions = tuple(
                                Prediction(vit.labels[index], probability)
                                for index, probability in zip(record.classes.tolist(), record.probabilities.tolist(), strict=True)
                                if not math.isnan(probability)
                            )
                            row = replace(row, predictions=predictions, thumbnail=photo.made.thumbnail, at=written + len(vectors))
                            vectors.append(record.vectors)
                        first_rows[photo.index] = row
                    rows.append(row)
                if vectors:
                    self._table.write(written, np.stack(vectors))
                    written += len(vectors)
                self.rows += rows
                yield clock.at(len(self.rows))


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A prepared photo: its cached record, or what the model sees of it if the cache has none, (height, width, 3) uint8."""

    record: Record | None
    input: torch.Tensor | None = None
    thumbnail: bytes | None = None


def _record(vectors: torch.Tensor, logits: torch.Tensor, classes: int) -> Record:
    probabilities, indices = logits[:classes].softmax(-1).topk(min(KEPT_PREDICTIONS, classes))
    return Record(vectors.numpy(), indices.int().numpy(), probabilities.numpy())


class _Table:
    """Vectors in a file, ordered by layer and pooling, so that one layer of a whole gallery is one contiguous read."""

    def __init__(self, layers: int, pools: int, rows: int, width: int, settings: Settings, folder: Path | None):
        self._file = _file_in(folder) if folder else tempfile.TemporaryFile(dir=settings.temp_dir)  # noqa: SIM115 (the file stays open as long as the table)
        self.bytes = 4 * layers * pools * rows * width
        self._pools, self._rows, self._width = pools, rows, width
        self._lock = threading.Lock()

    def write(self, first: int, vectors: np.ndarray) -> None:
        """Write vectors, (rows, layers, pools, width) float32, from row `first` on. Raises: UserError where the disk can't store them."""
        try:
            with self._lock:
                for layer in range(vectors.shape[1]):
                    for pool in range(self._pools):
                        self._file.seek(self._offset(layer, pool) + 4 * first * self._width)
                        self._file.write(np.ascontiguousarray(vectors[:, layer, pool]).data)
                self._file.flush()
        except OSError as error:
            raise UserError(f"The vectors can't be written to disk ({error.strerror}): make room, or choose another --temp-dir.") from None

    def read(self, layer: int, pool: int, rows: int) -> np.ndarray:
        """Read the first `rows` rows of one layer and pooling, (rows, width) float32."""
        with self._lock:
            self._file.seek(self._offset(layer, pool))
            data = self._file.read(4 * rows * self._width)
        return np.frombuffer(data, np.float32).reshape(rows, self._width)

    def _offset(self, layer: int, pool: int) -> int:
        return 4 * (layer * self._pools + pool) * self._rows * self._width


def _file_in(folder: Path) -> IO[bytes]:
    """Open a file that is deleted with the file object. The file has a name, so that it counts when the folder's size is measured."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder)
    file = os.fdopen(descriptor, "w+b")
    weakref.finalize(file, Path(name).unlink, missing_ok=True)
    return file
