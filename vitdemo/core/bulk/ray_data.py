"""Bulk work on Ray Data: run photos through a model on many cores, GPUs or machines, and write a folder of Parquet parts.

The driver loads the model once and sends it to the actors. The actors read, decode, crop, run the model and write with the same functions
that the local engine uses. Each actor writes its own parts and returns a few numbers, so that neither photos nor vectors pile up anywhere.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch

from vitdemo.core.bulk.parquet import ParquetDataset
from vitdemo.core.bulk.ray_session import last_message
from vitdemo.core.bulk.stages import ActorPool, Pipeline
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine, choose_device
from vitdemo.core.memory import give_back_freed_memory, own_mb
from vitdemo.core.models.precision import set_precision
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.prefetch import photos_ahead
from vitdemo.core.photos.preprocessing import Preprocessing
from vitdemo.core.photos.remote import is_url
from vitdemo.core.photos.search import zip_items

MAX_PART_PHOTOS = 256  # 40 MB of crops, which an actor holds at a time
MIN_PART_PHOTOS = 16  # in smaller parts the overhead outweighs the work
MIN_PARTS_PER_ACTOR = 16  # so that no actor waits long for another at the end
RELEASE_SECONDS = 5  # for Ray to release the CPUs and GPUs of work that has ended
REMOTE_READERS = 8  # photos read over the network at the same time, per CPU

Outputs = tuple[torch.Tensor, ...]
"""What the task's network returned for one photo."""


@dataclass(frozen=True, eq=False)
class Output:
    """One file of the gallery with its result.

    Attributes:
        item: the file.
        sha256: of its bytes, hexadecimal; None where they could not be read.
        outputs: what the network returned; None for an error.
        error: why there are no outputs, one sentence; None otherwise.
    """

    item: Item
    sha256: str | None
    outputs: Outputs | None
    error: str | None


class Task(Protocol):
    """A room's own part of bulk work: the network to run and the rows to write. Tasks are pickled and sent to the actors."""

    def network(self, vit: Vit) -> Callable[[torch.Tensor], Outputs]:
        """Return the network for `Engine.forward`."""

    def table(self, vit: Vit, looked: Sequence[Output]) -> pa.Table:
        """Return the rows to write, one for each file."""


@dataclass(frozen=True)
class PartReport:
    """One written part.

    Attributes:
        photos: number of rows.
        errors: one sentence for each file that could not be read.
        seconds: how long the actor took.
        actor: the actor's unique name.
        memory_mb: memory that the actor alone held afterwards, without shared libraries.
    """

    photos: int
    errors: tuple[str, ...]
    seconds: float
    actor: str
    memory_mb: float


def run(task: Task, items: Sequence[Item], vit: Vit, settings: Settings, parts: ParquetDataset, stages: Pipeline) -> Iterator[PartReport]:
    """Run all files through the model, and yield a report of each part. Written parts stay, however the work ends.

    Args:
        items: the files that are not in `parts` yet, at least one.
        vit: the model, on the CPU.

    Raises: UserError where an actor fails.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False  # the command prints its own progress
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised as well, so they needn't be logged
    rows = _rows_of(items)
    size = max(MIN_PART_PHOTOS, min(MAX_PART_PHOTOS, -(-len(items) // (MIN_PARTS_PER_ACTOR * stages.model.actors))))
    photos: ray.data.Dataset = ray.data.from_arrow(
        [pa.Table.from_pylist(rows[at : at + size], _PLACES) for at in range(0, len(rows), size)]
    )
    vit_reference = ray.put(vit)
    decode: dict[str, Any] = {"preprocessing": vit.preprocessing, "settings": settings}
    if stages.decode.actors:
        photos = photos.map_batches(_Decode, **_map_options(stages.decode, decode | {"cpus": stages.decode.cpus}))
    arguments = {"task": task, "vit": vit_reference, "settings": settings, "parts": parts.place, "stage": stages.model}
    arguments["decode"] = None if stages.decode.actors else decode
    photos = photos.map_batches(_Model, **_map_options(stages.model, arguments))
    try:
        for batch in photos.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in cast(pa.Table, batch).to_pylist():
                yield PartReport(row["photos"], tuple(row["errors"]), row["seconds"], row["actor"], row["memory_mb"])
    except ray.exceptions.RayError as error:
        raise UserError(
            f"Ray has given up: {last_message(error)} What is written stays, and the same command goes on from there."
        ) from error


def free_resources() -> tuple[float, float]:
    """Return the cluster's free CPUs and GPUs, after waiting up to `RELEASE_SECONDS` for those of work that has just ended."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while True:
        free, total = ray.available_resources(), ray.cluster_resources()
        if time.monotonic() > deadline or all(free.get(kind, 0) == total.get(kind, 0) for kind in ("CPU", "GPU")):
            return free.get("CPU", 0), free.get("GPU", 0)
        time.sleep(0.1)


def _map_options(stage: ActorPool, arguments: dict) -> dict:
    """Return the options of `Dataset.map_batches` for a stage whose actors are made with `arguments`."""
    return {
        "fn_constructor_kwargs": arguments,
        "compute": ray.data.ActorPoolStrategy(size=stage.actors),
        "num_cpus": stage.cpus,
        "num_gpus": stage.gpus or None,
        "batch_size": None,
        "batch_format": "pyarrow",
        "zero_copy_batch": True,
    }


_PLACES = pa.schema({"path": pa.binary(), "name": pa.binary(), "folder": pa.binary(), "url": pa.string(), "member": pa.int32()})
_CROPS = pa.schema({**{column.name: column.type for column in _PLACES}, "sha256": pa.string(), "error": pa.string(), "crop": pa.binary()})
_STEPS = pa.schema(
    {"photos": pa.int32(), "errors": pa.list_(pa.string()), "seconds": pa.float64(), "actor": pa.string(), "memory_mb": pa.float64()}
)


def _rows_of(items: Sequence[Item]) -> list[dict]:
    """Return rows from which an actor finds the files: names as raw bytes, a zip's member by its number among the zip's photos."""
    return [
        {
            "path": os.fsencode(os.path.abspath(item.path)),
            "name": os.fsencode(item.name),
            "folder": os.fsencode(item.folder),
            "url": item.url,
            "member": -1 if item.archive is None else item.number,
        }
        for item in items
    ]


def _item_of(row: dict) -> Item:
    path, name, folder = (os.fsdecode(row[column]) for column in ("path", "name", "folder"))
    if row["member"] < 0:
        return Item(Path(path), name, folder, url=row["url"])
    try:
        member = _zip_items(row["url"] or path)[row["member"]]
    except (UserError, IndexError):
        return Item(Path(path), name, folder, url=row["url"])  # the zip was removed or replaced: reading this item reports that
    return replace(member, name=name)


@lru_cache(maxsize=8)
def _zip_items(place: str) -> list[Item]:
    return zip_items(place if is_url(place) else Path(place), Settings())


class _Decode:
    """An actor that reads, decodes and crops photos."""

    def __init__(self, preprocessing: Preprocessing, settings: Settings, cpus: float):
        self._preprocessing, self._settings, self._threads = preprocessing, settings, max(1, round(cpus))
        give_back_freed_memory()

    def __call__(self, places: pa.Table) -> pa.Table:
        """Rows of `_PLACES` → rows of `_CROPS`, each crop (height × width × 3) uint8. A file that occurs twice is decoded once."""
        rows = places.select(_PLACES.names).to_pylist()
        threads = REMOTE_READERS * self._threads if any(row["url"] for row in rows) else self._threads + 1  # one extra thread to read files
        ready = photos_ahead(
            [_item_of(row) for row in rows],
            lambda photo: np.asarray(self._preprocessing.crop(photo.image)).tobytes(),
            self._settings,
            ahead=4 * threads,
            workers=threads,
            draft=self._preprocessing.draft_side if self._settings.jpeg_draft else 0,
        )
        crops: list[bytes | None] = []
        results = []
        for row, photo in zip(rows, ready, strict=True):
            crops.append(crops[photo.first] if photo.first is not None else photo.made)
            results.append(row | {"sha256": photo.id, "error": photo.error, "crop": crops[-1]})
        return pa.Table.from_pylist(results, _CROPS)


class _Model:
    """An actor that runs the model and writes parts. With `decode`, the arguments of a `_Decode`, it also reads and decodes."""

    def __init__(self, task: Task, vit: "ray.ObjectRef", settings: Settings, parts: str, stage: ActorPool, decode: dict | None):
        give_back_freed_memory()
        threads = max(1, round(stage.cpus))
        torch.set_num_threads(threads)
        device_name = settings.device if settings.device != "auto" else "cuda" if stage.gpus else "cpu"
        device = choose_device(device_name)
        cpu_vit: Vit = ray.get(vit)
        self._vit = replace(cpu_vit, module=set_precision(cpu_vit.module, cpu_vit.precision, device), device=device)
        self._engine = Engine(device)
        self._size = self._engine.batch_size(self._vit, settings.batch_size)
        self._task, self._network, self._parts = task, task.network(self._vit), ParquetDataset(parts)
        self._decode = _Decode(**decode, cpus=threads) if decode else None
        self._name = f"{ray.util.get_node_ip_address()} {os.getpid()}"

    def __call__(self, photos: pa.Table) -> pa.Table:
        """Rows of `_CROPS`, or of `_PLACES` where this actor decodes → a part on disk, and one row of `_STEPS`."""
        begin = time.perf_counter()
        rows = (self._decode(photos) if self._decode else photos).to_pylist()
        crops = [row.pop("crop") for row in rows]
        outputs = iter(self._outputs([crop for crop in crops if crop is not None]))
        results = [
            Output(_item_of(row | {"member": -1}), row["sha256"], None if crop is None else next(outputs), row["error"])
            for row, crop in zip(rows, crops, strict=True)
        ]
        table = self._task.table(self._vit, results)
        self._parts.write(table, _part_name(results))
        step = {
            "photos": len(table),
            "errors": [error for error in table["error"].to_pylist() if error],
            "seconds": time.perf_counter() - begin,
            "actor": self._name,
            "memory_mb": own_mb(),
        }
        return pa.Table.from_pylist([step], _STEPS)

    def _outputs(self, crops: list[bytes]) -> Iterator[Outputs]:
        """Yield the network's outputs for each crop."""
        preprocessing = self._vit.preprocessing

        def forward(crops: list[bytes]) -> Outputs:
            pixels = [torch.frombuffer(bytearray(crop), dtype=torch.uint8).view(*preprocessing.size, 3) for crop in crops]
            return self._engine.forward(self._network, preprocessing.batch(pixels))[0]

        batches = (crops[at : at + self._size] for at in range(0, len(crops), self._size))
        for batch_outputs in self._engine.map(forward, batches):
            yield from zip(*batch_outputs, strict=True)


def _part_name(results: Sequence[Output]) -> str:
    """Return a part's name, derived from its files: a part that is redone after an actor was killed replaces the first one."""
    return hashlib.sha256(b"\0".join(os.fsencode(result.item.name) for result in results)).hexdigest()[:24]
