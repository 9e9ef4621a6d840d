"""The only place that runs a model: one device, short work before long work."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TypeVar

import torch

from vitdemo.core.errors import UserError
from vitdemo.core.inference.work_queue import PriorityLock, WorkItem, WorkQueue, run_items
from vitdemo.core.models.classifier import Classifier
from vitdemo.core.models.vit import Vit

S, T = TypeVar("S"), TypeVar("T")
Outputs = tuple[torch.Tensor, ...]
Network = Callable[[torch.Tensor], Outputs]
Observe = Callable[[str, float, float], None]
"""Is told of every piece of work: "short" or "long", and the seconds for which it waited and ran."""
UNKNOWN_MEMORY = 4e9  # bytes taken to be free where the system doesn't say
MAX_LANES = 8  # batches at a time on a CPU
MAX_MERGED_PHOTOS = 8  # single photos that go through the model at once
LAYER_WIDTHS = 24  # numbers alive per token and unit of width during a forward pass: 4 in and out of the MLP, 3 for q, k, v, and copies
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(asked: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU.

    Raises: UserError where the asked-for device is not there.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(asked)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"torch sees {torch.cuda.device_count()} CUDA devices, so there is no {asked}: choose --device cpu, or install a CUDA torch."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("There is no MPS device on this machine: choose --device cpu.")
    return device


class Engine:
    """Runs work on the model's device: short work alone and at once, long work piece by piece beside itself.

    A piece of long work that has begun is finished; then short work that waits goes first. So a visitor's single photo waits for the
    running batches of a gallery at most, never for all of it. Where short work never ends, long work has a fifth of the time (`Gate`).

    On a CPU, several batches at a time with few threads each get more photos through than one batch with all threads: ViT-Tiny 1.3 times as
    many on two cores, ViT-B/16 1.07 times. A GPU takes one batch at a time. Single photos for the same model that wait at the same time go
    through it together.

    Args:
        observe: is told of every piece of work.
        most: short work that may wait; None for no limit.
    """

    def __init__(self, device: torch.device, precision: str = "fp32", observe: Observe | None = None, most: int | None = None):
        if precision != "fp32" and device.type != "cuda":
            raise UserError(f"Precision {precision} needs a CUDA device, and this is {device.type}: leave --precision out.")
        self.device = device
        cores = torch.get_num_threads()
        self.lanes = min(cores, MAX_LANES) if device.type == "cpu" else 1
        self._dtype = _DTYPES.get(precision)
        self._observe = observe or (lambda *_: None)
        self._gate = PriorityLock()
        self._most = most
        self._short, self._long = WorkQueue(), WorkQueue()
        ready = threading.Barrier(self.lanes + 1)
        for lane in range(self.lanes):
            self._start(
                f"engine lane {lane + 1}", self._long, self._gate.beside, ready, cores // self.lanes if device.type == "cpu" else cores
            )
        ready.wait()  # the engine's own thread comes last, so that threads which are not the engine's have all cores, too
        self._start("engine", self._short, self._gate.alone, threading.Barrier(1), cores)

    def run(self, work: Callable[[], T]) -> T:
        """Run `work` before all long work that has not begun, and wait for its result.

        Raises: whatever `work` raises; UserError where the device's memory is not enough, or too many wait already.
        """
        return self._wait_in_line(WorkItem(work))

    def map(self, work: Callable[[S], T], pieces: Iterable[S]) -> Iterator[T]:
        """Long work: each piece's result, in order. Pieces are asked for as they are needed, a few ahead of the results.

        Raises: as `run`, at the piece that failed.
        """
        waiting: deque[Future] = deque()
        try:
            for piece in pieces:
                waiting.append(self._long.join(WorkItem(partial(work, piece))))
                if len(waiting) > self.lanes:  # one more than runs, so that no lane waits for the caller
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()

    def coming(self) -> AbstractContextManager[None]:
        """Short work is on its way, for as long as this context lasts."""
        return self._gate.coming()

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients, and the precision asked for: what every forward pass on the model's threads runs under."""
        with torch.inference_mode(), torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None):
            yield

    def logits(self, model: Classifier, batch: torch.Tensor) -> tuple[torch.Tensor, float]:
        """One short forward pass.

        Args:
            batch: (images, 3, height, width) float32 on the CPU.

        Returns: (images, classes) float32 on the CPU, and the seconds the pass took.
        """
        (logits,), seconds = self._pass("logits", lambda images: (model.logits(images),), model, batch)
        return logits, seconds

    def logits_and_features(self, vit: Vit, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
        """As `logits`, with what goes into the head between the two: (images, width) float32 on the CPU."""
        (logits, features), seconds = self._pass("logits and features", vit.logits_and_features, vit, batch)
        return logits, features, seconds

    def forward(self, network: Network, batch: torch.Tensor) -> tuple[Outputs, float]:
        """A forward pass of `network` in the calling thread, for work that `run` or `map` carries.

        A batch for which the device has too little memory is taken in halves.

        Returns: the outputs, float32 on the CPU, and the seconds it took.
        """
        begin = time.perf_counter()
        try:
            with self.inference():
                outputs = network(batch.to(self.device))
                outputs = tuple(each.float().cpu() for each in outputs)  # copying to the CPU waits for the device
            return outputs, time.perf_counter() - begin
        except (RuntimeError, MemoryError) as error:
            if not _too_little_memory(error) or len(batch) == 1:
                raise
        torch.cuda.empty_cache()
        halves = [self.forward(network, part)[0] for part in batch.chunk(2)]
        return tuple(torch.cat(parts) for parts in zip(*halves, strict=True)), time.perf_counter() - begin

    def batch_size(self, vit: Vit, asked: int = 0) -> int:
        """Photos per batch of long work.

        Args:
            asked: photos that the model shall take at a time, of which each lane has its share. 0: what a quarter of the free memory
                holds, at most 256, or 8 for each lane of a CPU, where more gain nothing.
        """
        if asked:
            return -(-asked // self.lanes)
        height, width = vit.preprocessing.size
        tokens = height * width / (vit.patch[0] * vit.patch[1])
        photo = 4 * tokens * vit.module.embed_dim * LAYER_WIDTHS  # bytes
        most = 256 if self.device.type == "cuda" else 8
        return int(max(1, min(most, self._free_memory() / 4 / self.lanes // photo)))

    def _pass(self, what: str, network: Network, model: Classifier, batch: torch.Tensor) -> tuple[Outputs, float]:
        """A short forward pass, together with those of the same kind that wait when its turn comes."""
        piece = WorkItem(lambda: self.forward(network, batch), (what, model, batch.shape[1:]), batch)

        def together(pieces: list[WorkItem]) -> list[tuple[Outputs, float]]:
            outputs, seconds = self.forward(network, torch.cat([each.batch for each in pieces]))
            parts = zip(*(each.split([len(piece.batch) for piece in pieces]) for each in outputs), strict=True)
            return [(part, seconds) for part in parts]

        piece.together = together
        return self._wait_in_line(piece)

    def _wait_in_line(self, piece: WorkItem):
        if self._most is not None and (waiting := len(self._short)) >= self._most:
            raise UserError(f"The app is busy: {waiting} requests are waiting before yours. Try again in a minute.")
        return self._short.join(piece).result()

    def _free_memory(self) -> float:
        """Bytes, on the device."""
        if self.device.type == "cuda":
            return torch.cuda.mem_get_info(self.device)[0]
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):  # not on every system
            return UNKNOWN_MEMORY

    def _start(self, name: str, line: WorkQueue, gate: Callable, ready: threading.Barrier, threads: int) -> None:
        kind, most = ("short", MAX_MERGED_PHOTOS) if line is self._short else ("long", 1)

        def serve() -> None:
            torch.set_num_threads(threads)
            torch.get_num_threads()  # from its first question on, a thread keeps its own number; until then it follows the last one set
            ready.wait()
            while True:
                line.wait()
                with gate():
                    pieces = [each for each in line.take(most) if each.future.set_running_or_notify_cancel()]
                    begin = time.perf_counter()
                    answers = run_items(pieces)
                    ran = time.perf_counter() - begin
                for each, (result, error) in zip(pieces, answers, strict=True):
                    self._observe(kind, begin - each.handed_in, ran)
                    if error:
                        each.future.set_exception(_in_words(error))
                    else:
                        each.future.set_result(result)
                pieces = answers = each = result = error = None  # or the last batch and its answer stay in memory until the next one

        threading.Thread(target=serve, name=name, daemon=True).start()


def _in_words(error: BaseException) -> BaseException:
    """Too little memory as a sentence, anything else as it is. On the CPU torch says it in a plain RuntimeError."""
    if _too_little_memory(error):
        torch.cuda.empty_cache()
        return UserError("The device ran out of memory: choose a smaller model or image size.")
    return error


def _too_little_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
