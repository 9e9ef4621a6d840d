"""The loaded models: each loads once, in the background, for all visitors. Memory is bounded, and models in use are not evicted."""

import logging
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.config import DEFAULT_MODEL, DEMO_MODEL, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.loading import LicenceNotAccepted, Loading, import_first
from vitdemo.core.models import catalogue

if TYPE_CHECKING:  # torch and timm are imported by the loading thread, so that the page opens without waiting for them
    from vitdemo.core.inference.engine import Engine, Observe
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.models.weights import LoadProgress

VISITORS_PRECISIONS = ("fp32", "bf16", "auto")
PAUSE_SECONDS = 3  # between two retries that visitors ask for where the demo model answers: for each, all wait for the hub
RETRY_SECONDS = 10  # a failed load returns the same error for this long before it is tried again
AUTO_OFFLINE = (
    "ViT-B/16 is not on this machine yet and the model hub can't be reached: connect and try again, "
    "or start with --checkpoint FILE.safetensors (the README's “Offline” says where to get it)."
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Own:
    """A visitor's own model: its folder, and what the visitor calls it."""

    folder: Path
    title: str


class ModelStore:
    """Loads models by name and precision and keeps them, up to `model_cache_mb`.

    A name may end in the precision, such as `demo@bf16`; without one, a model has the operator's precision.

    The operator's model always stays. Any other model stays while a visitor holds it: until that visitor chooses another model, or has not
    used the model for `model_hold_minutes`.

    Args:
        observe: called by the engine for every work item (`engine.Observe`).
    """

    def __init__(self, settings: Settings, observe: "Observe | None" = None):
        self.settings = settings
        self._observe = observe
        self._models: dict[str, Loading] = {}  # by `allowed` names
        self._own: dict[str, _Own] = {}  # visitors' own models, by unguessable names
        self._accepted: set[str] = set()  # models whose own licence a visitor has been shown, and has accepted
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._engine_lock = threading.Lock()

    @property
    def engine(self) -> "Engine":
        """The engine, made on first use. Raises: UserError where the device is not available."""
        import_first()
        from vitdemo.core.inference.engine import Engine, choose_device

        with self._engine_lock:
            if self._engine is None:
                self._engine = Engine(choose_device(self.settings.device), self._observe, self.settings.max_queue)
            return self._engine

    def expecting(self) -> AbstractContextManager[None]:
        """Announce to the engine that a visitor's photo is being prepared, for as long as this context lasts."""
        return self._engine.expecting() if self._engine else nullcontext()

    def get(self, name: str | None = None, visitor: str = "") -> Loading:
        """Return the model of this name, and start to load it if it is not loaded.

        Args:
            name: a catalogue entry or a visitor's own model, perhaps with a precision; None for the operator's model.
            visitor: the visitor to hold the model for.

        Raises: UserError for a name that visitors may not choose.
        """
        name = self.allowed(name)
        now = time.monotonic()
        with self._lock:
            plain, precision = self.parts_of(name)
            same = (
                key
                for key, model in self._models.items()
                if model.vit and plain in self._names_of(model) and precision in (model.asked, model.vit.precision)
            )
            name = next(same, name)  # one copy serves `auto`, a name without its tag, and the full name
            loading = self._models.get(name)
            if loading is None or (loading.error and now - loading.ended > RETRY_SECONDS):
                loading = self._models[name] = Loading(plain, self.title_of(plain), precision)
                threading.Thread(target=self._load, args=(loading,), name=f"load {name}", daemon=True).start()
            for other in self._models.values():
                if visitor and other is not loading:
                    other.holders.pop(visitor, None)
            if visitor:
                loading.holders[visitor] = now
                self._drop_expired(loading, now)
            loading.used = now
            return loading

    def retry(self, name: str | None = None) -> None:
        """Load a model again at its next use, where it could not be loaded, or where the demo model answers in its place.

        A model whose licence was shown counts as accepted.

        Raises: UserError for a name that visitors may not choose.
        """
        name = self.allowed(name)
        with self._lock:
            loading = self._models.get(name)
            rested = loading and time.monotonic() - loading.ended > PAUSE_SECONDS
            if loading and loading.done.is_set() and (loading.error or (loading.instead and rested)):
                del self._models[name]
                if isinstance(loading.error, LicenceNotAccepted):
                    self._accepted.add(loading.name)
                    log.warning("a visitor accepted the licence of %s, for everybody", loading.name)

    def add(self, name: str, folder: Path, title: str) -> None:
        """Register a visitor's own model, or give it another title; forget those that are neither loaded nor in their folders any more.

        Anybody who knows the name may use the model, so the name must be unguessable.

        Args:
            title: what the visitor calls the model.

        Raises: UserError where all visitors must use the operator's model.
        """
        if self.settings.lock_model:
            raise UserError("This app keeps everybody to one model: download yours, and use it where you may choose.")
        with self._lock:
            for gone in [own for own, model in self._own.items() if not model.folder.is_dir()]:
                loads = {key: loading for key, loading in self._models.items() if loading.name == gone}  # one for each precision
                if all(loading.error for loading in loads.values()):
                    del self._own[gone]
                    for key in loads:
                        del self._models[key]
            self._own[name] = _Own(folder, title)
            for loading in self._models.values():
                if loading.name == name and loading.vit:
                    loading.vit = replace(loading.vit, own_title=title)

    def place_of(self, name: str) -> str:
        """Return the name by which a child process finds this model: local-dir:DIR for a visitor's own."""
        return f"local-dir:{own.folder}" if (own := self._own.get(name)) else name

    def title_of(self, name: str) -> str:
        """Return the title of a model by the name it is requested by: a visitor's own has the visitor's."""
        return self.own_title(name) or catalogue.title_of(name)

    def own_title(self, name: str) -> str:
        """Return what a visitor calls the model of this name, and its precision where it is named; empty for others than visitors' own."""
        plain, precision = catalogue.split_precision(_text(name))
        own = self._own.get(plain)
        return catalogue.with_precision(own.title, precision) if own else ""

    def flags_of(self, name: str) -> list[str]:
        """Return the flags by which a child process finds the model that this name stands for here. The model must be loading already.

        Raises: UserError where `auto` is still loading or could not be loaded.
        """
        choice, (name, _) = name, self.parts_of(name)  # a child process chooses its own precision
        icc = [] if self.settings.icc == "auto" else [f"--icc={self.settings.icc}"]
        labels = [f"--labels={self.settings.labels.resolve()}"] if self.settings.labels and name == self.settings.model else []
        if name == "auto":  # `auto` may have loaded the demo model
            name = DEMO_MODEL if self.get(choice).result(1).name == DEMO_MODEL else DEFAULT_MODEL
        given = self.settings.checkpoint if name == self.settings.model else None
        checkpoint = [f"--checkpoint={given.resolve()}"] if given else []
        kind, _, folder = (place := self.place_of(name)).partition(":")
        if kind == "local-dir":  # a child process works in another folder
            place = f"{kind}:{Path(folder).absolute()}"
        return [f"--model={place}", *checkpoint, *labels, *icc]

    def leave(self, visitor: str) -> None:
        """Release the models that a visitor holds, because the visitor has left."""
        with self._lock:
            for loading in self._models.values():
                loading.holders.pop(visitor, None)

    def allowed(self, name: str | None) -> str:
        """Return the name of the model that a visitor's choice stands for, with its precision where it is not the operator's.

        Raises: UserError for a name that visitors may not choose.
        """
        operators, name = self.settings.model, _text(name or "")
        if not name or name in (operators, self.settings.public_model) or self.settings.lock_model:
            return operators
        plain, precision = self.parts_of(name)
        if plain != operators and not catalogue.find(plain) and plain not in self._own:
            raise UserError("There is no model of that name here: choose one from the list.")
        return plain if precision == self.settings.precision else f"{plain}@{precision}"

    def parts_of(self, name: str) -> tuple[str, str]:
        """Return a model's name and its precision: the operator's where the name ends in none. `@bf16` is the operator's model in bf16."""
        operators = {"", self.settings.model, self.settings.public_model}
        plain, precision = (name, "") if _text(name) in operators else catalogue.split_precision(name)
        if precision not in VISITORS_PRECISIONS:
            plain, precision = name, self.settings.precision
        return self.settings.model if plain in operators else plain, precision

    def _names_of(self, model: Loading) -> tuple[str, ...]:
        """The names that a loaded model stands for: also timm's full one, unless its weights are from a file or folder given here."""
        assert model.vit is not None  # it is loaded
        given = (
            model.name in self._own
            or model.name.startswith("local-dir:")
            or (model.name == self.settings.model and self.settings.checkpoint)
        )
        return (model.name,) if given else (model.name, model.vit.name)

    def _load(self, loading: Loading) -> None:
        def report(progress: "LoadProgress") -> None:
            loading.progress = progress

        try:
            import_first()
            vit = self._load_auto(loading, report) if loading.name == "auto" else self._load_named(loading.name, loading, report)
            own = self._own.get(loading.name)
            loading.vit = replace(vit, own_title=own.title) if own else vit
        except Exception as error:
            if not isinstance(error, UserError):
                log.exception("could not load %s", loading.name)
                error = UserError("The model could not be loaded, and the server's log says why: try another one.")
            loading.error = error
        loading.reserved, loading.ended = 0, time.monotonic()
        loading.done.set()

    def _load_auto(self, loading: Loading, report) -> "Vit":
        from vitdemo.core.models.names import bundle_folder
        from vitdemo.core.models.weights import HubUnreachable

        try:
            return self._load_named(DEFAULT_MODEL, loading, report)
        except HubUnreachable as error:
            if not ((folder := bundle_folder(DEMO_MODEL)) and folder.is_dir()):
                raise UserError(AUTO_OFFLINE) from None
            loading.instead = f"ViT-B/16 is not on this machine. {str(error).split(':')[0]}."
            return self._load_named(DEMO_MODEL, loading, report)

    def _load_named(self, name: str, loading: Loading, report) -> "Vit":
        from vitdemo.core.inference.precision import chosen, slow_on
        from vitdemo.core.models import loader

        entry = catalogue.find(name)
        if entry and entry.terms and name not in (self.settings.model, *self._accepted) and not catalogue.is_here(entry):
            raise LicenceNotAccepted(
                f"{entry.title} comes under a licence of its own: read {entry.terms} and press Retry in the header, which accepts it "
                "and downloads the model."
            )
        engine, asked = self.engine, loading.asked
        vit = loader.load(
            self.place_of(name),
            self.settings,
            engine.device,
            report,
            # `auto` measures with a copy of half the size beside the model
            lambda wanted: self._make_room(wanted * 3 // 2 if asked == "auto" and not slow_on(engine.device, asked) else wanted, loading),
            precision="fp32" if asked == "auto" else asked,
        )
        if asked == "auto":
            return chosen(vit, engine, self.settings)
        return replace(vit, notes=(*vit.notes, said)) if (said := slow_on(engine.device, asked)) else vit

    def _make_room(self, wanted: int, loading: Loading) -> None:
        """Reserve `wanted` bytes for a model. Until they fit, evict models that nobody holds, the least recently used first.

        Raises: UserError where the held models leave too little room.
        """
        budget, now = self.settings.model_cache_mb * 1_000_000, time.monotonic()
        with self._lock:
            taken = {key: other.vit.bytes if other.vit else other.reserved for key, other in self._models.items() if other is not loading}
            for key in sorted(taken, key=lambda key: self._models[key].used):
                if wanted + sum(taken.values()) <= budget:
                    break
                candidate = self._models[key]
                self._drop_expired(candidate, now)
                if candidate.vit and not candidate.holders and key != self.settings.model:
                    del self._models[key], taken[key]
            if wanted + sum(taken.values()) > budget and (loading.name, loading.asked) != (self.settings.model, self.settings.precision):
                raise UserError(
                    f"There is no room for this model ({wanted / 1e6:.0f} MB): other visitors are using the ones in memory. "
                    "Choose a smaller one, or try again later."
                )
            loading.reserved = wanted

    def _drop_expired(self, loading: Loading, now: float) -> None:
        """Drop the holders that have not used the model for `model_hold_minutes`."""
        hold = 60 * self.settings.model_hold_minutes
        loading.holders = {visitor: last for visitor, last in loading.holders.items() if now - last < hold}


def _text(name: object) -> str:
    """A name, as a visitor gave it. Raises: UserError for anything else than a text."""
    if not isinstance(name, str):
        raise UserError("Name the model by a text.")
    return name
