"""Bulk work on Ray Data: photos through a model on many cores, GPUs or machines, and the answers into a folder of Parquet parts.

The model is loaded once, by the driver, and travels to the actors; they read, decode, crop, ask and write with the functions that one
machine uses. Each actor writes its own parts and gives back a few numbers, so that neither photos nor vectors pile up anywhere.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from PIL import Image

from vitdemo.core.bulk.parquet import ParquetDataset
from vitdemo.core.bulk.ray_session import said_last
from vitdemo.core.bulk.stages import ActorPool, Pipeline
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine, choose_device
from vitdemo.core.memory import give_back_freed_memory, own_mb
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.gallery import Item, zip_items
from vitdemo.core.photos.prefetch import photos_ahead
from vitdemo.core.photos.preprocessing import Preprocessing

MAX_PART_PHOTOS = 256  # most photos of a part: 40 MB of crops, which is what an actor holds at a time
MIN_PART_PHOTOS = 16  # photos of a part, or its overheads outweigh them
MIN_PARTS_PER_ACTOR = 16  # that every actor gets at least, so that none waits long for another at the end
RELEASE_SECONDS = 5  # seconds that Ray may take to release what ended work had
REMOTE_READERS = 8  # photos asked for at a time over a network

Outputs = tuple[torch.Tensor, ...]
"""Of one photo: what the task's network gave."""


@dataclass(frozen=True, eq=False)
class Output:
    """One file, and what the network gave for it or why there is nothing."""

    item: Item
    sha256: str | None
    outputs: Outputs | None
    error: str | None


class Task(Protocol):
    """What is asked of the model: a room's own part of bulk work. It travels to the actors."""

    def network(self, vit: Vit) -> Callable[[torch.Tensor], Outputs]:
        """What `Engine.forward` runs."""

    def table(self, vit: Vit, looked: Sequence[Output]) -> pa.Table:
        """The rows to write, one for each file."""


@dataclass(frozen=True)
class PartReport:
    """One part that is written.

    Attributes:
        photos: its rows.
        errors: the sentences of those that could not be read.
        seconds: it took the actor.
        actor: which one, fit for telling it from others.
        memory_mb: that the actor held of its own afterwards, in megabytes; libraries, which processes share, left out.
    """

    photos: int
    errors: tuple[str, ...]
    seconds: float
    actor: str
    memory_mb: float


def run(task: Task, items: Sequence[Item], vit: Vit, settings: Settings, parts: ParquetDataset, stages: Pipeline) -> Iterator[PartReport]:
    """Take all files through the model. What is written stays, whatever ends the work.

    Args:
        items: those that are not in `parts` yet, at least one.
        vit: on the CPU.

    Raises: UserError where an actor can't do its work.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False  # the command has progress of its own
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it says of an error is raised as well
    rows = _rows_of(items)
    size = max(MIN_PART_PHOTOS, min(MAX_PART_PHOTOS, -(-len(items) // (MIN_PARTS_PER_ACTOR * stages.model.actors))))
    photos = ray.data.from_arrow([pa.Table.from_pylist(rows[at : at + size], _PLACES) for at in range(0, len(rows), size)])
    kept = ray.put(vit)
    decode = {"preprocessing": vit.preprocessing, "settings": settings}
    if stages.decode.actors:
        photos = photos.map_batches(_Decode, **_shape(stages.decode, decode | {"cpus": stages.decode.cpus}))
        decode = None
    work = {"task": task, "vit": kept, "settings": settings, "parts": parts.place, "stage": stages.model, "decode": decode}
    photos = photos.map_batches(_Model, **_shape(stages.model, work))
    try:
        for batch in photos.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                yield PartReport(row["photos"], tuple(row["errors"]), row["seconds"], row["actor"], row["memory_mb"])
    except ray.exceptions.RayError as error:
        raise UserError(f"Ray has given up: {said_last(error)} What is written stays, and the same command goes on from there.") from error


def free_resources() -> tuple[float, float]:
    """CPUs and GPUs of the cluster that nobody has taken; those of work that has just ended are waited for."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while True:
        free, total = ray.available_resources(), ray.cluster_resources()
        if time.monotonic() > deadline or all(free.get(each, 0) == total.get(each, 0) for each in ("CPU", "GPU")):
            return free.get("CPU", 0), free.get("GPU", 0)
        time.sleep(0.1)


def _shape(stage: ActorPool, arguments: dict) -> dict:
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
_CROPS = pa.schema({**{each.name: each.type for each in _PLACES}, "sha256": pa.string(), "error": pa.string(), "crop": pa.binary()})
_STEPS = pa.schema(
    {"photos": pa.int32(), "errors": pa.list_(pa.string()), "seconds": pa.float64(), "actor": pa.string(), "memory_mb": pa.float64()}
)


def _rows_of(items: Sequence[Item]) -> list[dict]:
    """Where photos lie, fit to travel: names as they are on disk, and a zip's member by its place among that zip's photos."""
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
    path, name, folder = (os.fsdecode(row[each]) for each in ("path", "name", "folder"))
    if row["member"] < 0:
        return Item(Path(path), name, folder, url=row["url"])
    try:
        there = _zip(path)[row["member"]]
    except (UserError, IndexError):
        return Item(Path(path), name, folder)  # the zip is gone or another one: reading it says so
    return replace(there, name=name)


@lru_cache(maxsize=8)
def _zip(path: str) -> list[Item]:
    return zip_items(Path(path), path)


class _Decode:
    """An actor that reads, decodes and crops."""

    def __init__(self, preprocessing: Preprocessing, settings: Settings, cpus: float):
        self._preprocessing, self._settings, self._threads = preprocessing, settings, max(1, round(cpus))
        give_back_freed_memory()

    def __call__(self, places: pa.Table) -> pa.Table:
        """Places → crops: (height × width × 3) uint8 each. A file that comes twice is decoded once."""
        rows = places.select(_PLACES.names).to_pylist()
        threads = REMOTE_READERS * self._threads if any(row["url"] for row in rows) else self._threads + 1  # one reads while others decode
        ready = photos_ahead(
            [_item_of(row) for row in rows],
            lambda photo: np.asarray(self._preprocessing.crop(photo.image)).tobytes(),
            self._settings,
            ahead=4 * threads,
            workers=threads,
        )
        made: list[bytes | None] = []
        found = []
        for row, each in zip(rows, ready, strict=True):
            made.append(made[each.first] if each.first is not None else each.made)
            found.append(row | {"sha256": each.id, "error": each.error, "crop": made[-1]})
        return pa.Table.from_pylist(found, _CROPS)


class _Model:
    """An actor that asks the model and writes; with `decode`, it reads and decodes as well."""

    def __init__(self, task: Task, vit: "ray.ObjectRef", settings: Settings, parts: str, stage: ActorPool, decode: dict | None):
        give_back_freed_memory()
        threads = max(1, round(stage.cpus))
        torch.set_num_threads(threads)
        wanted = settings.device if settings.device != "auto" else "cuda" if stage.gpus else "cpu"
        device = choose_device(wanted)
        vit = ray.get(vit)
        self._vit = replace(vit, module=vit.module.to(device), device=device)
        self._engine = Engine(device, settings.precision)
        self._size = self._engine.batch_size(self._vit, settings.batch_size)
        self._task, self._network, self._parts = task, task.network(self._vit), ParquetDataset(parts)
        self._decode = _Decode(**decode, cpus=threads) if decode else None
        self._name = f"{ray.util.get_node_ip_address()} {os.getpid()}"

    def __call__(self, photos: pa.Table) -> pa.Table:
        begin = time.perf_counter()
        rows = (self._decode(photos) if self._decode else photos).to_pylist()
        crops = [row.pop("crop") for row in rows]
        outputs = iter(self._outputs([each for each in crops if each is not None]))
        looked = [
            Output(_item_of(row | {"member": -1}), row["sha256"], None if crop is None else next(outputs), row["error"])
            for row, crop in zip(rows, crops, strict=True)
        ]
        table = self._task.table(self._vit, looked)
        self._parts.write(table, _name_of(looked))
        step = {
            "photos": len(table),
            "errors": [each for each in table["error"].to_pylist() if each],
            "seconds": time.perf_counter() - begin,
            "actor": self._name,
            "memory_mb": own_mb(),
        }
        return pa.Table.from_pylist([step], _STEPS)

    def _outputs(self, crops: list[bytes]) -> Iterator[Outputs]:
        """What the network gives for each crop."""
        preprocessing = self._vit.preprocessing

        def look(crops: list[bytes]) -> Outputs:
            images = [Image.frombytes("RGB", preprocessing.size[::-1], each) for each in crops]
            return self._engine.forward(self._network, torch.stack([preprocessing.normalised(each) for each in images]))[0]

        batches = (crops[at : at + self._size] for at in range(0, len(crops), self._size))
        for found in self._engine.map(look, batches):
            yield from zip(*found, strict=True)


def _name_of(looked: Sequence[Output]) -> str:
    """A part's name, the same when an actor that was killed does it again: that part then takes the place of the first."""
    return hashlib.sha256(b"\0".join(os.fsencode(each.item.name) for each in looked)).hexdigest()[:24]
