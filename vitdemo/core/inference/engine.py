"""The engine: the only place that runs a model, on one device, short work before long work."""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

import torch

from vitdemo.core.errors import QueueFull, UsageError, UserError
from vitdemo.core.inference.work_queue import PriorityLock, WorkItem, WorkQueue, run_items
from vitdemo.core.models.classifier import Classifier
from vitdemo.core.models.predictions import not_finite
from vitdemo.core.models.vit import Vit

S = TypeVar("S")
T = TypeVar("T")
Outputs = tuple[torch.Tensor, ...]
Network = Callable[[torch.Tensor], Outputs]
Observe = Callable[[str, float, float], None]
"""Called for every work item with "short" or "long", and the seconds for which the item waited and ran."""
UNKNOWN_MEMORY = 4e9  # bytes assumed to be free where the system doesn't report it
MAX_LANES = 8  # batches that run at a time on a CPU
MAX_MERGED_PHOTOS = 8  # single photos that go through the model in one pass
LAYER_WIDTHS = 24  # numbers in memory per token and unit of width during a pass: 4 in and out of the MLP, 3 for q, k, v, and copies
LONGEST_WAIT_AT_EXIT = 30  # seconds for which a program that ends waits for the pass that runs
log = logging.getLogger(__name__)


def choose_device(asked: str) -> torch.device:
    """Return the torch device of this name; `auto` takes CUDA, then MPS, then the CPU.

    Raises: UserError where the device is not available.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(asked)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"torch sees {torch.cuda.device_count()} CUDA devices, so there is no {asked}: choose --device cpu, or install a CUDA torch."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("There is no MPS device on this machine: choose --device cpu.")
    return device


def free_memory(device: torch.device) -> float:
    """Return the device's free memory in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # some systems don't report it
        return UNKNOWN_MEMORY


class Engine:
    """Runs work on the model's device: short work alone and as soon as possible, long work in pieces, several of them in parallel.

    A running piece of long work is finished; then waiting short work goes first. So a visitor's single photo waits at most for the running
    batches of a gallery, never for the whole gallery. Where short work never ends, long work gets a fifth of the time (`PriorityLock`).

    On a CPU, several parallel batches with few threads each are faster than one batch with all threads: 1.3 times for ViT-Tiny on two
    cores, 1.07 times for ViT-B/16. A GPU runs one batch at a time. Single photos that wait for the same model go through it in one pass.

    Args:
        device: where the models are. Each runs in its own precision (`Vit.precision`).
        observe: called for every work item.
        most: short work items that may wait; None for no limit.
    """

    def __init__(self, device: torch.device, observe: Observe | None = None, most: int | None = None):
        self.device = device
        cores = torch.get_num_threads()
        self.lanes = min(cores, MAX_LANES) if device.type == "cpu" else 1
        self._observe = observe or (lambda *_: None)
        self._gate = PriorityLock()
        self._most = most
        self._short, self._long = WorkQueue(), WorkQueue()
        ready = threading.Barrier(self.lanes + 1)
        for lane in range(self.lanes):
            self._start(
                f"engine lane {lane + 1}", self._long, self._gate.beside, ready, cores // self.lanes if device.type == "cpu" else cores
            )
        ready.wait()  # the thread for short work sets its thread count last: threads outside the engine follow it and use all cores
        self._start("engine", self._short, self._gate.alone, threading.Barrier(1), cores)

    def run(self, work: Callable[[], T]) -> T:
        """Run short `work` before all long work that has not started, and return its result.

        Raises: whatever `work` raises; UserError where the device runs out of memory, or too many requests wait already.
        """
        return self._run_short(WorkItem(work))

    def map(self, work: Callable[[S], T], pieces: Iterable[S]) -> Generator[T, None, None]:
        """Run long `work` on each piece, and yield the results in order. Pieces are drawn as needed, a few ahead of the results.

        Raises: as `run`, at the piece that failed.
        """
        waiting: deque[Future] = deque()
        try:
            for piece in pieces:
                waiting.append(self._long.put(WorkItem(partial(work, piece))))
                if len(waiting) > self.lanes:  # one more than runs, so that no lane waits for the caller
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def expecting(self) -> AbstractContextManager[None]:
        """Announce short work that is still being prepared, for as long as this context lasts."""
        return self._gate.expecting()

    def logits(self, model: Classifier, batch: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Run one short forward pass.

        Args:
            batch: (images, 3, height, width) float32 on the CPU.

        Returns: (images, classes) float32 on the CPU, and the seconds the pass took.
        Raises: UserError for NaN or infinity.
        """
        (logits,), seconds = self._short_pass("logits", lambda images: (model.logits(images),), model, batch)
        return _checked(logits), seconds

    def logits_and_features(self, vit: Vit, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
        """As `logits`, but return the head's inputs between the two: (images, width) float32 on the CPU."""
        (logits, features), seconds = self._short_pass("logits and features", vit.logits_and_features, vit, batch)
        return _checked(logits), features, seconds

    def forward(self, network: Network, batch: torch.Tensor) -> tuple[Outputs, float]:
        """Run a forward pass of `network` in the calling thread; call it only in work that `run` or `map` runs.

        A batch that doesn't fit in the device's memory is split into halves.

        Returns: the outputs, float32 on the CPU, and the seconds the pass took.
        """
        begin = time.perf_counter()
        try:
            with torch.inference_mode():
                outputs = network(batch.to(self.device))
                outputs = tuple(output.float().cpu() for output in outputs)  # copying to the CPU waits for the device
            return outputs, time.perf_counter() - begin
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error) or len(batch) == 1:
                raise
        torch.cuda.empty_cache()
        halves = [self.forward(network, part)[0] for part in batch.chunk(2)]
        return tuple(torch.cat(parts) for parts in zip(*halves, strict=True)), time.perf_counter() - begin

    def batch_size(self, vit: Vit, asked: int = 0) -> int:
        """Return the batch size for long work.

        Args:
            asked: photos that the model takes at a time, shared out among the lanes. 0: as many as fit in a quarter of the free memory, at
                most 256, or on a CPU at most 8 per lane, where larger batches gain nothing.
        """
        if asked:
            return -(-asked // self.lanes)
        height, width = vit.preprocessing.size
        tokens = height * width / (vit.patch[0] * vit.patch[1])
        photo = 4 * tokens * vit.adapter.width * LAYER_WIDTHS  # bytes
        most = 256 if self.device.type == "cuda" else 8
        return int(max(1, min(most, free_memory(self.device) / 4 / self.lanes // photo)))

    def _short_pass(self, what: str, network: Network, model: Classifier, batch: torch.Tensor) -> tuple[Outputs, float]:
        """Run a short forward pass, merged with the waiting passes of the same kind."""
        own_item = WorkItem(lambda: self.forward(network, batch), (what, model, batch.shape[1:]), batch)

        def run_merged(items: list[WorkItem]) -> list[tuple[Outputs, float]]:
            outputs, seconds = self.forward(network, torch.cat([item.batch for item in items if item.batch is not None]))
            parts = zip(*(output.split([item.images for item in items]) for output in outputs), strict=True)
            return [(part, seconds) for part in parts]

        own_item.together = run_merged
        return self._run_short(own_item)

    def _run_short(self, item: WorkItem):
        """Queue a short work item and return its result. Raises: UserError where too many items wait already."""
        if self._most is not None and (waiting := len(self._short)) >= self._most:
            raise QueueFull("requests", waiting)
        return self._short.put(item).result()

    def _start(self, name: str, queue: WorkQueue, gate: Callable, ready: threading.Barrier, threads: int) -> None:
        """Start a thread that runs the queue's items under `gate`, with this number of torch threads."""
        kind, most = ("short", MAX_MERGED_PHOTOS) if queue is self._short else ("long", 1)

        running = threading.Lock()
        # a program that ends in the middle of a pass is aborted by torch's C++: wait for the pass, and let no other begin
        atexit.register(running.acquire, timeout=LONGEST_WAIT_AT_EXIT)

        def serve() -> None:
            torch.set_num_threads(threads)
            torch.get_num_threads()  # fixes this thread's number; without a first call the thread would follow later settings of others
            ready.wait()
            while True:
                queue.wait()
                with running:
                    run_next()

        def run_next() -> None:  # a function of its own, which frees the batch and its result while the thread waits for more
            with gate():
                items = [item for item in queue.get(most) if item.future.set_running_or_notify_cancel()]
                begin = time.perf_counter()
                answers = run_items(items)
                ran = time.perf_counter() - begin
            for item, (result, error) in zip(items, answers, strict=True):
                try:
                    self._observe(kind, begin - item.handed_in, ran)
                except Exception:  # it must neither end this thread nor keep the caller waiting
                    log.exception("the engine's observer failed")
                if error:
                    item.future.set_exception(_as_user_error(error))
                else:
                    item.future.set_result(result)

        threading.Thread(target=serve, name=name, daemon=True).start()


def _checked(logits: torch.Tensor) -> torch.Tensor:
    if not logits.isfinite().all():
        raise UserError(not_finite())
    return logits


def _as_user_error(error: BaseException) -> BaseException:
    """Return a UserError for an out-of-memory error, any other error unchanged."""
    if _is_out_of_memory(error):
        torch.cuda.empty_cache()
        return UserError("The device ran out of memory: choose a smaller model or image size.")
    return error


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python ran out of memory. On the CPU torch raises a plain RuntimeError for that."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
