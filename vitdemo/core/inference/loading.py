"""One model on its way into memory: how far it is, and the model, or why there is none."""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError

if TYPE_CHECKING:  # torch and timm are imported by the loading thread, so that the page opens without waiting for them
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.models.weights import LoadProgress

_importing = threading.Lock()


def import_first() -> None:
    """Import torch and timm in one thread at a time: two threads that import them at once can deadlock."""
    with _importing:
        import timm  # noqa: F401 (torch comes with it)


class LicenceNotAccepted(UserError):
    """The model is not downloaded before its licence has been shown and accepted."""


@dataclass(eq=False)
class Loading:
    """A model that is loading, or loaded, or failed to load. Read `vit` and `error` only after `done` is set.

    Attributes:
        name: the name that was requested, without a precision.
        title: what the page calls the model.
        asked: the precision that was requested, perhaps `auto`.
        progress: how far the load is.
        vit: the loaded model.
        error: why the model could not be loaded.
        instead: why the demo model is in the place of `auto`; empty where it is not.
        done: set when the load has ended.
        ended, used: when the load ended, and when the model was last requested; seconds on the monotonic clock.
        reserved: bytes that the model will take, from when they are known until the load has ended.
        holders: visitor → when the visitor last used the model, seconds on the monotonic clock.
    """

    name: str
    title: str
    asked: str = "fp32"
    progress: "LoadProgress | None" = None
    vit: "Vit | None" = None
    error: Exception | None = None
    instead: str = ""
    done: threading.Event = field(default_factory=threading.Event)
    ended: float = 0.0
    used: float = 0.0
    reserved: int = 0
    holders: dict[str, float] = field(default_factory=dict)

    def result(self, timeout: float | None = None) -> "Vit":
        """Wait for the model, at most `timeout` seconds.

        Raises: UserError that says why the model could not be loaded, or that it is still loading.
        """
        if not self.done.wait(timeout):
            raise UserError("The model is still loading: try again in a moment.")
        if self.vit is None:
            raise self.error or UserError("The model could not be loaded: try again.")
        return self.vit
