"""One gallery on its way through a model."""

import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from vitdemo.core.config import Settings

if TYPE_CHECKING:
    from vitdemo.core.inference.model_store import Loading
    from vitdemo.core.photos.gallery import Item

UNSEEN_SECONDS = 600  # seconds that work may go on with nobody looking while others wait in line,
CLOSED_SECONDS = 60  # and with its page closed, unless its visitor comes back to it in another one
FINAL_STATES = ("done", "stopped", "failed")


@dataclass(eq=False)
class GalleryJob:
    """One gallery on its way through a model.

    Attributes:
        caller: whose share of the line and of the memory it takes.
        state: `waiting` in line, `loading` the model, `running`, then `done`, `stopped` or `failed`.
        error: why it failed, for people.
        crowded_out: it has to give way to what other callers ask for, before it could begin.
        loading: its model while it works. It is let go at the end, or a remembered gallery would keep the weights in memory.
        titled: its model's full name, once that is known.
        held, began, ended: seconds on the monotonic clock; `began` when the first photo could go, `held` when it last asked for its model.
        seen, left: the same, when its page last asked for it, and was closed.
    """

    items: list["Item"]
    model: str
    visitor: str
    settings: Settings
    client: str = field(default="", kw_only=True)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(24), kw_only=True)
    state: str = field(default="waiting", kw_only=True)
    error: str = field(default="", kw_only=True)
    loading: "Loading | None" = field(default=None, kw_only=True)
    titled: str = field(default="", kw_only=True)
    held: float = field(default=0.0, kw_only=True)
    began: float = field(default=0.0, kw_only=True)
    ended: float = field(default=0.0, kw_only=True)
    seen: float = field(default_factory=time.monotonic, kw_only=True)
    left: float = field(default=0.0, kw_only=True)
    crowded_out: bool = field(default=False, kw_only=True)
    stopping: threading.Event = field(default_factory=threading.Event, kw_only=True)

    @property
    def done(self) -> int:
        """Photos that are through, with or without an answer."""
        raise NotImplementedError

    @property
    def over(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def unseen(self) -> bool:
        """Whether nobody looks at it any more, so that it gives way to others."""
        return self.closed or time.monotonic() - self.seen > UNSEEN_SECONDS

    @property
    def closed(self) -> bool:
        """Whether its page was closed, and no other one has asked for it since."""
        return self.seen < self.left < time.monotonic() - CLOSED_SECONDS

    @property
    def speed(self) -> float:
        """Photos per second, so far."""
        seconds = (self.ended or time.monotonic()) - self.began
        return self.done / seconds if self.done and seconds > 0 else 0.0

    @property
    def folder(self) -> Path:
        """Where its files lie: served by Gradio, and named by an id that can't be guessed."""
        return Path(get_upload_folder(), f"gallery-{self.id}")

    @property
    def paths(self) -> list[Path]:
        """What it needs as long as it is here."""
        return [self.folder, *(item.path for item in self.items)]

    def forget(self, *, keep_files: bool = False) -> None:
        """It is not needed any more."""
        self.stopping.set()
        if not keep_files:
            shutil.rmtree(self.folder, ignore_errors=True)
