"""The only place that runs a model: one device, one thread, short work before long work."""

import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import torch

from vitdemo.core.errors import UserError
from vitdemo.core.models import Vit

T = TypeVar("T")
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
    """Runs work on the model's device, one piece at a time, in a thread of its own.

    A bulk job hands over one batch after another, so that a visitor's single photo waits for one batch at most.
    """

    def __init__(self, device: torch.device, precision: str = "fp32"):
        if precision != "fp32" and device.type != "cuda":
            raise UserError(f"Precision {precision} needs a CUDA device, and this is {device.type}: leave --precision out.")
        self.device = device
        self._dtype = _DTYPES.get(precision)
        self._waiting: queue.PriorityQueue = queue.PriorityQueue()
        self._order = itertools.count()
        threading.Thread(target=self._serve, name="engine", daemon=True).start()

    def run(self, work: Callable[[], T], *, long: bool = False) -> T:
        """Run `work` on the model thread and wait for its result. Short work goes before all long work that has not begun.

        Raises: whatever `work` raises; UserError where the device's memory is not enough.
        """
        future: Future = Future()
        self._waiting.put((long, next(self._order), work, future))
        return future.result()

    def logits(self, vit: Vit, batch: torch.Tensor, *, long: bool = False) -> tuple[torch.Tensor, float]:
        """One forward pass.

        Args:
            batch: (images, 3, height, width) float32 on the CPU.

        Returns: (images, classes) float32 on the CPU, and the seconds the pass took.
        """

        (logits,), seconds = self._forward(vit, lambda images: (vit.logits(images),), batch, long)
        return logits, seconds

    def logits_and_features(self, vit: Vit, batch: torch.Tensor, *, long: bool = False) -> tuple[torch.Tensor, torch.Tensor, float]:
        """As `logits`, with what goes into the head between the two: (images, width) float32 on the CPU."""
        (logits, features), seconds = self._forward(vit, vit.logits_and_features, batch, long)
        return logits, features, seconds

    def _forward(self, vit: Vit, network: Callable[[torch.Tensor], tuple[torch.Tensor, ...]], batch: torch.Tensor, long: bool):
        def forward() -> tuple[tuple[torch.Tensor, ...], float]:
            begin = time.perf_counter()
            with torch.inference_mode(), torch.autocast(vit.device.type, self._dtype, enabled=self._dtype is not None):
                outputs = network(batch.to(vit.device))
                outputs = tuple(each.float().cpu() for each in outputs)  # copying to the CPU waits for the device
            return outputs, time.perf_counter() - begin

        return self.run(forward, long=long)

    def _serve(self) -> None:
        while True:
            *_, work, future = self._waiting.get()
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(_in_words(error))
            del work, future  # or the last batch and its answer stay in memory until the next one


def _in_words(error: BaseException) -> BaseException:
    """Too little memory as a sentence, anything else as it is. On the CPU torch says it in a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        torch.cuda.empty_cache()
        return UserError("The device ran out of memory: choose a smaller model or image size.")
    return error
