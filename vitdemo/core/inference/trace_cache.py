"""The traces of late, up to so many bytes, so that no photo goes through a model twice because somebody moves a slider."""

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
    """Traces by photo, model and preprocessing; for all threads, and each is made once however many ask for it at the same time.

    A model is told from others by what it is, not by its name, and is not kept alive by its traces.
    """

    def __init__(self, megabytes: int):
        self.megabytes = megabytes
        self._traces: OrderedDict[Key, Trace] = OrderedDict()  # the longest unused first
        self._coming: dict[Key, Future[Trace]] = {}
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        with self._lock:
            return sum(each.bytes for each in self._traces.values())

    def get(self, photo: Photo, vit: Vit, engine: Engine, preprocessing: Preprocessing | None = None) -> Trace:
        """The trace of a photo, made on the engine's thread if it is not here.

        Args:
            preprocessing: instead of the model's own.

        Raises: UserError where the trace would not fit in the cache, or the model's attention can't be read.
        """
        preprocessing = preprocessing or vit.preprocessing
        return self.get_input(photo.id, lambda: preprocessing(photo.image), vit, engine, preprocessing)

    def get_input(self, photo: str, make: Callable[[], torch.Tensor], vit: Vit, engine: Engine, preprocessing: Preprocessing) -> Trace:
        """As `get`, for who kept a photo's id and can `make` its model input, (3, height, width), without the photo."""
        key = photo, weakref.ref(vit), preprocessing
        with self._lock:
            if found := self._traces.get(key):
                self._traces.move_to_end(key)
                return found
            coming = self._coming.get(key)
            if mine := coming is None:
                coming = self._coming[key] = Future()
        if mine:
            try:
                check_room(vit, preprocessing.size, self.megabytes)
                made = run_trace(vit, engine, make())
            except BaseException as error:
                coming.set_exception(error)
            else:
                self._keep(key, made)
                coming.set_result(made)
            finally:
                with self._lock:
                    del self._coming[key]
        return coming.result()

    def _keep(self, key: Key, made: Trace) -> None:
        with self._lock:
            for each in [each for each in self._traces if each[1]() is None]:  # their model has gone
                del self._traces[each]
            self._traces[key] = made
            taken = sum(each.bytes for each in self._traces.values())
            while taken > self.megabytes * 1_000_000:
                taken -= self._traces.popitem(last=False)[1].bytes


def run_trace(vit: Vit, engine: Engine, tensor: torch.Tensor) -> Trace:
    """Trace one model input, (3, height, width), on the engine's thread. Raises: as `trace`."""

    def work() -> Trace:
        with engine.inference():
            return trace(vit, tensor)

    return engine.run(work)
