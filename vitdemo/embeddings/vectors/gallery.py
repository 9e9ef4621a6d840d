"""A gallery's vectors: every photo through the model once, all layers at a time, what is known already from disk."""

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
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
from vitdemo.core.models.predictions import Prediction
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo, thumbnail
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead
from vitdemo.core.photos.preprocessing import Preprocessing
from vitdemo.embeddings.progress import Clock, WorkProgress
from vitdemo.embeddings.vectors.extract import Layer, all_layers, layers_of, pools_of
from vitdemo.embeddings.vectors.store import KEPT_PREDICTIONS, Record, VectorStore

THUMBNAIL_WIDTH = 96  # pixels wide


@dataclass(frozen=True)
class EmbeddingRow:
    """One file's outcome.

    Attributes:
        path: what the file is called (Item.name).
        folder: the folder it lies in, which may be its label.
        sha256: of its bytes.
        error: the sentence that says why there are no vectors of it.
        predictions: the likeliest classes, best first; none of a feature backbone.
        duplicate_of: the path of the earlier file with the same bytes.
        thumbnail: a small JPEG of what the model sees, where it was asked for.
        at: its place among the photos that went through the model; None for an error.
    """

    path: str
    folder: str = ""
    sha256: str | None = None
    error: str | None = None
    predictions: tuple[Prediction, ...] = ()
    duplicate_of: str | None = None
    thumbnail: bytes | None = field(default=None, repr=False)
    at: int | None = None


def not_finite(item: Item) -> str:
    """What to say of a photo for which a model gives NaN or infinity."""
    return f"The model gives no finite numbers for “{item.shown}”: its weights may be damaged."


class EmbeddingGallery:
    """A gallery's vectors, of all layers and poolings. They lie in a file that goes with this object: 5,000 photos of ViT-B take 400 MB,
    and one layer of them 15.

    Args:
        folder: for that file; the system's temporary folder if None.

    Attributes:
        model: the model's name.
        layers: 1 … the number of blocks, then `final`.
        pools: the poolings this model has.
        rows: one for each file, in order, as far as the work has come.
        total: how many files there are.
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
        self.model, self.layers, self.pools = vit.name, layers_of(vit), pools_of(vit)
        self.rows: list[EmbeddingRow] = []
        self.total = len(items)
        self._table = _Table(len(self.layers), len(self.pools), self.total, vit.module.embed_dim, settings, folder)
        self._steps = self._embed(items, vit, engine, settings, preprocessing or vit.preprocessing, thumbnails)

    def work(self) -> Iterator[WorkProgress]:
        """Take the photos through the model, or go on with them. Closing the iterator stops the work; what is done stays.

        Raises: UserError where the device has too little memory, or the disk too little room.
        """
        return self._steps

    @property
    def bytes(self) -> int:
        """What the vectors of all files take on the disk."""
        return self._table.bytes

    @property
    def done(self) -> list[EmbeddingRow]:
        """The rows that have vectors, in order."""
        return [row for row in self.rows[:] if row.at is not None]

    def vectors(self, layer: Layer, pool: str = "cls") -> np.ndarray:
        """(rows in `done`, width) float32, row for row; a duplicate has its own row."""
        at = [row.at for row in self.done]
        return self._table.read(self.layers.index(layer), self.pools.index(pool), max(at, default=-1) + 1)[at]

    def _embed(
        self, items: Sequence[Item], vit: Vit, engine: Engine, settings: Settings, preprocessing: Preprocessing, thumbnails: bool
    ) -> Iterator[WorkProgress]:
        clock = Clock("photos", self.total)
        yield clock.at(0)
        shape = len(self.layers), len(self.pools), vit.module.embed_dim
        key = key_of(vit, preprocessing, settings.precision) if settings.vector_cache_mb else ""
        store = VectorStore(settings.cache_folder / "vectors", key, shape, min(KEPT_PREDICTIONS, len(vit.labels)), settings.vector_cache_mb)
        network, size = all_layers(vit), engine.batch_size(vit, settings.batch_size)

        def prepare(photo: Photo) -> _Made:
            record, crop = store.get(photo.id), preprocessing.crop(photo.image)
            return _Made(
                record, None if record else preprocessing.normalised(crop), thumbnail(crop, THUMBNAIL_WIDTH) if thumbnails else None
            )

        def known(id: str) -> _Made | None:
            return _Made(record) if (record := store.get(id)) else None

        def look(batch: list[PreparedPhoto[_Made]]) -> tuple[list[PreparedPhoto[_Made]], list[Record]]:
            inputs = [each.made.input for each in batch if each.made and each.made.input is not None]
            if not inputs:
                return batch, []
            (logits, vectors), _ = engine.forward(network, torch.stack(inputs))
            return batch, [_record(*each, len(vit.labels)) for each in zip(vectors, logits, strict=True)]

        firsts: dict[int, EmbeddingRow] = {}
        places = 0
        with (
            closing(
                photos_ahead(items, prepare, settings, ahead=size * (engine.lanes + 2), known=(lambda id: None) if thumbnails else known)
            ) as ready,
            closing(engine.map(look, batches(ready, size))) as looked,
        ):
            for batch, records in looked:
                fresh = iter(records)
                rows, found = [], []
                for each in batch:
                    row = EmbeddingRow(each.item.name, each.item.folder, each.id, each.error)
                    if each.first is not None:
                        first = firsts[each.first]
                        row = replace(first, path=row.path, folder=row.folder, duplicate_of=first.path)
                    elif each.made:
                        record = each.made.record or next(fresh)
                        if not np.isfinite(record.vectors).all():
                            row = replace(row, error=not_finite(each.item))
                        else:
                            if each.made.record is None:
                                store.put(each.id, record)
                            predictions = tuple(
                                Prediction(vit.labels[index], probability)
                                for index, probability in zip(record.classes.tolist(), record.probabilities.tolist(), strict=True)
                            )
                            row = replace(row, predictions=predictions, thumbnail=each.made.thumbnail, at=places + len(found))
                            found.append(record.vectors)
                        firsts[each.index] = row
                    rows.append(row)
                if found:
                    self._table.write(places, np.stack(found))
                    places += len(found)
                self.rows += rows
                yield clock.at(len(self.rows))


@dataclass(frozen=True, eq=False)
class _Made:
    """What there is of a photo: its record, or the input for the model that will give one."""

    record: Record | None
    input: torch.Tensor | None = None
    thumbnail: bytes | None = None


def _record(vectors: torch.Tensor, logits: torch.Tensor, classes: int) -> Record:
    probabilities, indices = logits[:classes].softmax(-1).topk(min(KEPT_PREDICTIONS, classes))
    return Record(vectors.numpy(), indices.int().numpy(), probabilities.numpy())


class _Table:
    """Vectors in a file, layer by layer and pool by pool, so that one layer of a whole gallery is read in one piece."""

    def __init__(self, layers: int, pools: int, rows: int, width: int, settings: Settings, folder: Path | None):
        self._file = _file_in(folder) if folder else tempfile.TemporaryFile(dir=settings.temp_dir)  # noqa: SIM115 (it lives as long as the table)
        self.bytes = 4 * layers * pools * rows * width
        self._pools, self._rows, self._width = pools, rows, width
        self._lock = threading.Lock()

    def write(self, first: int, vectors: np.ndarray) -> None:
        """(rows, layers, pools, width) float32, to stand from row `first` on. Raises: UserError where the disk can't take them."""
        try:
            with self._lock:
                for layer in range(vectors.shape[1]):
                    for pool in range(self._pools):
                        self._file.seek(self._offset(layer, pool) + 4 * first * self._width)
                        self._file.write(np.ascontiguousarray(vectors[:, layer, pool]))
                self._file.flush()
        except OSError as error:
            raise UserError(f"The vectors can't be written to disk ({error.strerror}): make room, or choose another --temp-dir.") from None

    def read(self, layer: int, pool: int, rows: int) -> np.ndarray:
        """The first `rows` rows, (rows, width) float32."""
        with self._lock:
            self._file.seek(self._offset(layer, pool))
            data = self._file.read(4 * rows * self._width)
        return np.frombuffer(data, np.float32).reshape(rows, self._width)

    def _offset(self, layer: int, pool: int) -> int:
        return 4 * (layer * self._pools + pool) * self._rows * self._width


def _file_in(folder: Path) -> IO[bytes]:
    """A file that goes when it is not needed any more, and has a name until then, so that who counts the folder's bytes finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder)
    file = os.fdopen(descriptor, "w+b")
    weakref.finalize(file, Path(name).unlink, missing_ok=True)
    return file
