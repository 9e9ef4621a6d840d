"""The child process that draws maps. The process keeps running, so that UMAP is imported only once, and can be killed at any moment.

Numba compiles UMAP at its first run, which takes 15 to 40 seconds. The compiled code is kept on disk, so that later starts only import.
Two fits at once can abort their process (umap issue 665), so all work waits for the one child.
"""

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.niceness import lower_priority
from vitdemo.embeddings.maps.atlas import Atlas, MapOptions, OnProgress, draw
from vitdemo.embeddings.maps.scores import LayerScore, score_layer
from vitdemo.embeddings.progress import WorkProgress

LOOKS = 0.2  # seconds between two polls of the child, and so the delay of a Stop
STARTING = WorkProgress("starting", 0, 1)
WAITING = WorkProgress("waiting", 0, 1)
BROKEN = "The map's process has ended by itself, perhaps for want of memory: try again, or with fewer photos."
log = logging.getLogger(__name__)


class Mapper:
    """Draws maps and computes scores in a child process, one task at a time, for all threads."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._turn = threading.Lock()
        self._starting = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def warm(self) -> None:
        """Start the child in the background, so that the first map need not wait for the start."""

        def start() -> None:
            with contextlib.suppress(UserError):  # the app is stopping
                self._ensure()

        threading.Thread(target=start, name="warm the mapper", daemon=True).start()

    def wait(self) -> None:
        """Wait until the child is ready. Raises: as `map`."""
        with self._turn:
            for _ in self._ready():
                pass

    def map(self, vectors: np.ndarray, options: MapOptions, start: np.ndarray | None = None) -> Generator[WorkProgress | Atlas, None, None]:
        """Draw a map: yield its progress, then the Atlas. Arguments as `draw`. Closing the iterator kills the child and starts another.

        Raises: UserError for a map that takes too long, a child process that has died, or an app that is stopping.
        """
        return self._ask("map", vectors, options, start)

    def scores(
        self, layers: Sequence[tuple[int | str, np.ndarray]], labels: Sequence[str]
    ) -> Generator[WorkProgress | LayerScore, None, None]:
        """Compute scores: yield each layer's score, and the progress in between. Arguments as `score_layer`. Raises: as `map`."""
        for number, (layer, vectors) in enumerate(layers):
            yield WorkProgress("scores", number, len(layers))
            yield from (step for step in self._ask("score", layer, vectors, labels) if isinstance(step, LayerScore))
        yield WorkProgress("scores", len(layers), len(layers))

    def close(self) -> None:
        """End the child. A running task fails."""
        self._closed = True
        with self._starting:
            self._drop()

    def _ask(self, task: str, *arguments) -> Generator[Any, None, None]:
        while not self._turn.acquire(timeout=LOOKS):
            yield WAITING
        busy = False
        try:
            child = yield from self._ready()
            busy = True
            child.send((task, arguments))
            deadline = time.monotonic() + self._settings.map_timeout
            while True:
                kind, value = child.receive(LOOKS) or ("", None)
                if kind == "progress":
                    yield value
                elif kind:
                    busy = False
                    break
                if time.monotonic() > deadline:
                    raise UserError(
                        f"The map was given up after {self._settings.map_timeout:g} seconds: choose fewer photos or neighbours, "
                        "or start with a longer --map-timeout."
                    )
            if kind == "refused":
                raise UserError(value)
            if kind == "failed":
                log.error("the mapper failed:\n%s", value)
                raise RuntimeError("the mapper failed: see the log")
        except (EOFError, OSError):
            raise UserError(BROKEN) from None
        finally:
            if busy:  # stopped, timed out or broken: kill the child, because its task is not needed any more
                self._drop()
                self.warm()
            self._turn.release()
        yield value

    def _ready(self) -> Generator[WorkProgress, None, "_Child"]:
        """Wait for the child, and retry once if it dies: a child that fails to start deletes its compiled code, which may be damaged.

        Returns: the child.
        """
        retry = True
        while True:
            child = self._ensure()
            try:
                while not child.ready:
                    yield STARTING
                    child.wait_ready()
                return child
            except EOFError:
                self._drop()
                if not retry:
                    raise
                retry = False

    def _ensure(self) -> "_Child":
        with self._starting:
            if self._closed:
                raise UserError("The app is stopping: start it again for another map.")
            if self._child is None or not self._child.alive:
                self._child = _Child(self._settings.cache_folder / "compiled")
            return self._child

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child:
            child.kill()


class _Child:
    """One child process, and the pipe to it.

    Attributes:
        ready: whether the child has imported and compiled UMAP.
    """

    def __init__(self, cache: Path):
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, cache), name="mapper", daemon=True)
        self._process.start()
        child_end.close()
        self.ready = False

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def wait_ready(self) -> None:
        """Wait up to LOOKS seconds for the child to become ready. Raises: EOFError if the child has died."""
        self.ready = self.receive(LOOKS) is not None

    def send(self, work: tuple) -> None:
        self._pipe.send(work)

    def receive(self, seconds: float) -> tuple | None:
        """The child's next message, None if there is none within `seconds`. Raises: EOFError or OSError if the child has died."""
        return self._pipe.recv() if self._pipe.poll(seconds) else None

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, cache: Path) -> None:
    """The child's main function: compile UMAP, then run tasks from the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    lower_priority()
    try:
        keep_compiled(cache)
        for dimensions in (2, 3):  # numba compiles each of them separately
            draw(np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32), MapOptions(dimensions))
    except Exception:
        shutil.rmtree(cache, ignore_errors=True)
        raise
    pipe.send(("ready", None))
    with contextlib.suppress(EOFError, OSError):  # the parent has ended
        while True:
            task, arguments = pipe.recv()
            pipe.send(_run_task(task, arguments, lambda progress: pipe.send(("progress", progress))))


def _run_task(task: str, arguments: tuple, on_progress: OnProgress) -> tuple[str, object]:
    """Run a task. Returns: (`done`, result), (`refused`, sentence for people) or (`failed`, traceback)."""
    try:
        if task == "map":
            vectors, options, start = arguments
            return "done", draw(vectors, options, start, on_progress)
        return "done", score_layer(*arguments)
    except UserError as error:
        return "refused", str(error)
    except MemoryError:
        return "refused", "There isn't enough memory for so many photos: choose fewer."
    except Exception:
        return "failed", traceback.format_exc()


def keep_compiled(cache: Path) -> None:
    """Make numba cache its compiled code on disk. Call this function before anything imports umap."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("compiled code can't be kept in %s, so every start compiles anew: %s", cache, error)
        return
    os.environ["NUMBA_CACHE_DIR"] = str(cache)
    import numba
    import tqdm

    tqdm.tqdm.set_lock(threading.RLock())  # tqdm's default lock is shared between processes, and stays locked when its process is killed

    njit = numba.njit

    def cached_njit(*arguments, **options):
        return njit(*arguments, **({"cache": True} | options))

    numba.njit = cached_njit
