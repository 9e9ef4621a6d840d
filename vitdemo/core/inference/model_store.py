"""The loaded models: each loads once, in the background, for everyone; memory is bounded; nobody evicts what others are using."""

import logging
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.config import DEFAULT_MODEL, DEMO_MODEL, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models import catalogue

if TYPE_CHECKING:  # torch and timm are imported by the loading thread, so that the page opens without waiting for them
    from vitdemo.core.inference.engine import Engine, Observe
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.models.weights import LoadProgress

RETRY_SECONDS = 10  # seconds for which a failed load answers with the same sentence before it is tried again
AUTO_OFFLINE = (
    "ViT-B/16 is not on this machine yet and the model hub can't be reached: connect and try again, "
    "or start with --checkpoint FILE.safetensors (the README's “Offline” says where to get it)."
)
_importing = threading.Lock()
log = logging.getLogger(__name__)


def _import_first() -> None:
    """Import what models stand on, in one thread at a time: two that begin at once can each wait for what the other has half imported."""
    with _importing:
        import timm  # noqa: F401 (torch comes with it)


@dataclass(eq=False)
class Loading:
    """One model on its way, or arrived, or failed. `vit` and `error` are read after `done` is set.

    Attributes:
        name: as it was asked for.
        progress: how far it is.
        reserved: bytes it will take, from when they are known until it has arrived.
        holders: visitor → when they last used it, seconds on the monotonic clock.
    """

    name: str
    progress: "LoadProgress | None" = None
    vit: "Vit | None" = None
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)
    ended: float = 0.0
    used: float = 0.0
    reserved: int = 0
    holders: dict[str, float] = field(default_factory=dict)

    def result(self, timeout: float | None = None) -> "Vit":
        """Wait for the model.

        Raises: UserError that says why it could not be loaded, or that it is still on its way.
        """
        if not self.done.wait(timeout):
            raise UserError("The model is still loading: try again in a moment.")
        if self.vit is None:
            raise self.error or UserError("The model could not be loaded: try again.")
        return self.vit


class ModelStore:
    """Loads models by name and keeps them, up to `model_cache_mb`.

    The operator's model always stays. Another visitor's model stays while they hold it: until they choose another, or have not used it for
    `model_hold_minutes`.

    Args:
        observe: what the engine tells of its work (`engine.Observe`).
    """

    def __init__(self, settings: Settings, observe: "Observe | None" = None):
        self.settings = settings
        self._observe = observe
        self._models: dict[str, Loading] = {}
        self._own: dict[str, str] = {}  # visitors' own models: a name that can't be guessed → local-dir:DIR
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._engine_lock = threading.Lock()

    @property
    def engine(self) -> "Engine":
        """The engine, made on first use. Raises: UserError where the device or precision can't be had."""
        _import_first()
        from vitdemo.core.inference.engine import Engine, choose_device

        with self._engine_lock:
            if self._engine is None:
                self._engine = Engine(choose_device(self.settings.device), self.settings.precision, self._observe, self.settings.max_queue)
            return self._engine

    def coming(self) -> AbstractContextManager[None]:
        """A visitor's photo is being prepared for the model, for as long as this context lasts."""
        return self._engine.coming() if self._engine else nullcontext()

    def get(self, name: str | None = None, visitor: str = "") -> Loading:
        """The model of that name, on its way if it was not there.

        Args:
            name: the operator's model if None; else a catalogue entry.
            visitor: who asks; the model is held for them.

        Raises: UserError for a name visitors may not choose.
        """
        name = self.allowed(name)
        now = time.monotonic()
        with self._lock:
            same = (key for key, each in self._models.items() if each.vit and each.vit.name == name)
            name = next(same, name)  # one copy serves `auto`, a name without its tag, and the full name
            loading = self._models.get(name)
            if loading is None or (loading.error and now - loading.ended > RETRY_SECONDS):
                loading = self._models[name] = Loading(name)
                threading.Thread(target=self._load, args=(loading,), name=f"load {name}", daemon=True).start()
            for other in self._models.values():
                if visitor and other is not loading:
                    other.holders.pop(visitor, None)
            if visitor:
                loading.holders[visitor] = now
                self._forget_expired(loading, now)
            loading.used = now
            return loading

    def add(self, name: str, folder: Path) -> None:
        """Take in a visitor's own model. Whoever knows the name may use it, so it must be one that can't be guessed.

        Raises: UserError where everybody is kept to the operator's model.
        """
        if self.settings.lock_model:
            raise UserError("This app keeps everybody to one model: download yours, and use it where you may choose.")
        self._own[name] = f"local-dir:{folder}"

    def place_of(self, name: str) -> str:
        """The name under which a child process finds this model: local-dir:DIR for a visitor's own."""
        return self._own.get(name, name)

    def flags_of(self, name: str) -> list[str]:
        """The flags by which a child process finds the model that answers here under this name. It has begun to load by now."""
        if name == "auto":  # it may have come to the demo model
            name = DEMO_MODEL if self.get(name).result(1).name == DEMO_MODEL else DEFAULT_MODEL
        elif name == self.settings.model and self.settings.checkpoint:
            return [f"--model={name}", f"--checkpoint={self.settings.checkpoint.resolve()}"]
        return [f"--model={self.place_of(name)}"]

    def leave(self, visitor: str) -> None:
        """A visitor has gone: nothing is held for them any more."""
        with self._lock:
            for loading in self._models.values():
                loading.holders.pop(visitor, None)

    def allowed(self, name: str | None) -> str:
        """The name a visitor's choice comes to.

        Raises: UserError for a name visitors may not choose.
        """
        if not isinstance(name, str | None):
            raise UserError("Name the model by a text.")
        operators = self.settings.model
        if not name or name == operators or self.settings.lock_model:
            return operators
        if not catalogue.find(name) and name not in self._own:
            raise UserError("There is no model of that name here: choose one from the list.")
        return name

    def _load(self, loading: Loading) -> None:
        def report(progress: "LoadProgress") -> None:
            loading.progress = progress

        try:
            _import_first()
            loading.vit = self._load_auto(loading, report) if loading.name == "auto" else self._load_named(loading.name, loading, report)
        except Exception as error:
            if not isinstance(error, UserError):
                log.exception("could not load %s", loading.name)
                error = UserError("The model could not be loaded, and the server's log says why: try another one.")
            loading.error = error
        loading.reserved, loading.ended = 0, time.monotonic()
        loading.done.set()

    def _load_auto(self, loading: Loading, report) -> "Vit":
        from vitdemo.core.models import loader
        from vitdemo.core.models.weights import HubUnreachable

        try:
            return self._load_named(DEFAULT_MODEL, loading, report)
        except HubUnreachable:
            if not loader.bundle_folder(DEMO_MODEL).is_dir():
                raise UserError(AUTO_OFFLINE) from None
            return self._load_named(DEMO_MODEL, loading, report)

    def _load_named(self, name: str, loading: Loading, report) -> "Vit":
        from vitdemo.core.models import loader

        engine, name = self.engine, self.place_of(name)
        self._make_room(sum(4 * each.numel() for each in loader.skeleton(name).parameters()), loading)
        return loader.load(name, self.settings, engine.device, report)

    def _make_room(self, wanted: int, coming: Loading) -> None:
        """Reserve `wanted` bytes for a model, dropping models that nobody holds, the longest unused first, until they fit."""
        budget, now = self.settings.model_cache_mb * 1_000_000, time.monotonic()
        with self._lock:
            taken = {key: each.vit.bytes if each.vit else each.reserved for key, each in self._models.items() if each is not coming}
            for key in sorted(taken, key=lambda key: self._models[key].used):
                if wanted + sum(taken.values()) <= budget:
                    break
                each = self._models[key]
                self._forget_expired(each, now)
                if each.vit and not each.holders and key != self.settings.model:
                    del self._models[key], taken[key]
            if wanted + sum(taken.values()) > budget and coming.name != self.settings.model:
                raise UserError(
                    f"There is no room for this model ({wanted / 1e6:.0f} MB): other visitors are using the ones in memory. "
                    "Choose a smaller one, or try again later."
                )
            coming.reserved = wanted

    def _forget_expired(self, loading: Loading, now: float) -> None:
        hold = 60 * self.settings.model_hold_minutes
        loading.holders = {visitor: last for visitor, last in loading.holders.items() if now - last < hold}
