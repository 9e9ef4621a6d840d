"""A cache of recent traces, limited in bytes, so that moving a slider doesn't run the model again."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

import torch

from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Trace, check_room, trace
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.preprocessing import Preprocessing

Key = tuple[str, "weakref.ref[Vit]", Preprocessing]


class TraceCache:
    """Traces by photo, model and preprocessing. Thread-safe: threads that request the same trace at the same time share one computation.

    Models are compared by identity, not by name. Cached traces don't keep a model alive.

    Args:
        megabytes: size limit of the cache, and of a single trace.
    """

    def __init__(self, megabytes: int):
        self.megabytes = megabytes
        self._traces: OrderedDict[Key, Trace] = OrderedDict()  # least recently used first
        self._pending: dict[Key, Future[Trace]] = {}
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Memory that all cached traces take."""
        with self._lock:
            return sum(cached.bytes for cached in self._traces.values())

    def get(self, photo: Photo, vit: Vit, engine: Engine, preprocessing: Preprocessing | None = None) -> Trace:
        """Return the trace of a photo, made on the engine's thread if it is not cached.

        Args:
            preprocessing: replaces the model's own.

        Raises: UserError where the trace would not fit in the cache, or the model's attention can't be read.
        """
        preprocessing = preprocessing or vit.preprocessing
        return self.get_input(photo.id, lambda: preprocessing(photo.image), vit, engine, preprocessing)

    def get_input(self, photo: str, make: Callable[[], torch.Tensor], vit: Vit, engine: Engine, preprocessing: Preprocessing) -> Trace:
        """As `get`, for a caller that has only the photo's id and can `make` the model input, (3, height, width). Raises: as `get`."""
        key = photo, weakref.ref(vit), preprocessing
        with self._lock:
            if cached := self._traces.get(key):
                self._traces.move_to_end(key)
                return cached
            future = self._pending.get(key)
            if is_first := future is None:
                future = self._pending[key] = Future()
        if is_first:
            try:
                check_room(vit, preprocessing.size, self.megabytes)
                made = run_trace(vit, engine, make())
            except BaseException as error:
                future.set_exception(error)
            else:
                self._keep(key, made)
                future.set_result(made)
            finally:
                with self._lock:
                    del self._pending[key]
        return future.result()

    def _keep(self, key: Key, made: Trace) -> None:
        with self._lock:
            for dead in [old for old in self._traces if old[1]() is None]:  # keys whose model has been garbage-collected
                del self._traces[dead]
            self._traces[key] = made
            taken = sum(cached.bytes for cached in self._traces.values())
            while taken > self.megabytes * 1_000_000:
                taken -= self._traces.popitem(last=False)[1].bytes


def run_trace(vit: Vit, engine: Engine, tensor: torch.Tensor) -> Trace:
    """Trace one model input, (3, height, width), on the engine's thread. Raises: as `trace`."""
    return engine.run(lambda: trace(vit, tensor))
