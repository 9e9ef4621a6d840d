"""The child process that maps galleries. It stays, so that imports and compiled code are paid for once, and can be killed at any moment.

UMAP is compiled by numba when it first runs: 15 to 40 seconds, kept on disk from then on, so that a later start pays for its imports alone.
Two fits at once can abort the process that runs them (umap issue 665): work waits in line for the one child.
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
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.niceness import lower_priority
from vitdemo.embeddings.maps.atlas import Atlas, MapOptions, OnProgress, draw
from vitdemo.embeddings.maps.scores import LayerScore, score_layer
from vitdemo.embeddings.progress import WorkProgress

LOOKS = 0.2  # seconds between looks at the child, and so between a Stop and its taking effect
STARTING = WorkProgress("starting", 0, 1)
WAITING = WorkProgress("waiting", 0, 1)
BROKEN = "The map's process has ended by itself, perhaps for want of memory: try again, or with fewer photos."
log = logging.getLogger(__name__)


class Mapper:
    """Maps and scores galleries in a child process, one at a time, for all threads."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._turn = threading.Lock()
        self._starting = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def warm(self) -> None:
        """Start the child in the background, so that the first map needn't wait for it."""

        def start() -> None:
            with contextlib.suppress(UserError):  # the app is stopping
                self._ensure()

        threading.Thread(target=start, name="warm the mapper", daemon=True).start()

    def wait(self) -> None:
        """Wait until the child is ready. Raises: as `map`."""
        with self._turn:
            for _ in self._ready():
                pass

    def map(self, vectors: np.ndarray, options: MapOptions, start: np.ndarray | None = None) -> Iterator[WorkProgress | Atlas]:
        """Steps, and last the Atlas; arguments as of `draw`. Closing the iterator kills the child, and another is started.

        Raises: UserError for a map that takes too long, or whose process has died.
        """
        return self._ask("map", vectors, options, start)

    def scores(self, layers: Sequence[tuple[int | str, np.ndarray]], labels: Sequence[str]) -> Iterator[WorkProgress | LayerScore]:
        """Each layer's score as it is done, with steps between; arguments as of `score_layer`. Raises: as `map`."""
        for number, (layer, vectors) in enumerate(layers):
            yield WorkProgress("scores", number, len(layers))
            yield from (each for each in self._ask("score", layer, vectors, labels) if isinstance(each, LayerScore))
        yield WorkProgress("scores", len(layers), len(layers))

    def close(self) -> None:
        """End the child. Work under way fails."""
        self._closed = True
        with self._starting:
            self._drop()

    def _ask(self, task: str, *arguments) -> Iterator:
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
            if busy:  # stopped, too long, or broken: whatever it is doing is not wanted any more
                self._drop()
                self.warm()
            self._turn.release()
        yield value

    def _ready(self) -> Iterator[WorkProgress]:
        """Wait for the child. One that dies on the way has thrown damaged compiled code away, and the next makes it anew.

        Returns: the child.
        """
        for again in (True, False):
            child = self._ensure()
            try:
                while not child.ready:
                    yield STARTING
                    child.look()
                return child
            except EOFError:
                self._drop()
                if not again:
                    raise

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
    """One process, and the pipe to it.

    Attributes:
        ready: it has imported and compiled what it needs.
    """

    def __init__(self, cache: Path):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, cache), name="mapper", daemon=True)
        self._process.start()
        theirs.close()
        self.ready = False

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def look(self) -> None:
        """Wait a moment for it to become ready. Raises: EOFError if it has died."""
        self.ready = self.receive(LOOKS) is not None

    def send(self, work: tuple) -> None:
        self._pipe.send(work)

    def receive(self, seconds: float) -> tuple | None:
        """What it says within so many seconds. Raises: EOFError or OSError if it has died."""
        return self._pipe.recv() if self._pipe.poll(seconds) else None

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, cache: Path) -> None:
    """What the child does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to act on
    lower_priority()
    try:
        keep_compiled(cache)
        for dimensions in (2, 3):  # compiled apart
            draw(np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32), MapOptions(dimensions))
    except Exception:
        shutil.rmtree(cache, ignore_errors=True)
        raise
    pipe.send(("ready", None))
    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        while True:
            task, arguments = pipe.recv()
            pipe.send(_done(task, arguments, lambda progress: pipe.send(("progress", progress))))


def _done(task: str, arguments: tuple, on_progress: OnProgress) -> tuple[str, object]:
    try:
        return "done", draw(*arguments, on_progress=on_progress) if task == "map" else score_layer(*arguments)
    except UserError as error:
        return "refused", str(error)
    except MemoryError:
        return "refused", "There isn't enough memory for so many photos: choose fewer."
    except Exception:
        return "failed", traceback.format_exc()


def keep_compiled(cache: Path) -> None:
    """Have numba keep on disk what it compiles. To be called before anything imports umap."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("compiled code can't be kept in %s, so every start compiles anew: %s", cache, error)
        return
    os.environ["NUMBA_CACHE_DIR"] = str(cache)
    import numba
    import tqdm

    tqdm.tqdm.set_lock(threading.RLock())  # its own one is shared between processes, and left behind by one that is killed

    compile = numba.njit

    def cached(*arguments, **options):
        return compile(*arguments, **({"cache": True} | options))

    numba.njit = cached
