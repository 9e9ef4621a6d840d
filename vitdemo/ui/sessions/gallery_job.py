"""The job of one gallery: its photos, its state and its files."""

import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitdemo.core.config import Settings
from vitdemo.core.names import file_name
from vitdemo.ui.server.gradio_internals import get_upload_folder

if TYPE_CHECKING:
    from vitdemo.core.inference.loading import Loading
    from vitdemo.core.photos.gallery import Gallery

UNSEEN_SECONDS = 600  # for which a gallery that nobody looks at may go on while others wait in the queue
CLOSED_SECONDS = 60  # the same for a gallery whose page was closed and not opened again
FINAL_STATES = ("done", "stopped", "failed")


@dataclass(eq=False)
class GalleryJob:
    """One gallery on its way through a model.

    Attributes:
        items: the gallery's photos.
        model: the name under which the store finds the gallery's model.
        visitor: the Gradio session of the gallery's page.
        client: the client whose share of the queue and of the memory the gallery takes.
        id: finds the gallery again after a reload; can't be guessed.
        state: `waiting` in the queue, `loading` the model, `running`, then `done`, `stopped` or `failed`.
        error: the reason for a failure, for people.
        loading: the model while the job runs. The job drops it at the end, or a remembered gallery would keep the weights in memory.
        model_name, model_title: `Vit.id` and `Vit.full_title`, once they are known.
        model_requested, began, ended: seconds on the monotonic clock: when the job last requested its model, was ready for its first photo,
            and ended.
        seen, page_closed: seconds on the same clock: when the page last requested the gallery, and was closed.
        stopping: set to stop the job.
    """

    items: "Gallery"
    model: str
    visitor: str
    settings: Settings
    client: str = field(default="", kw_only=True)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(24), kw_only=True)
    state: str = field(default="waiting", kw_only=True)
    error: str = field(default="", kw_only=True)
    loading: "Loading | None" = field(default=None, kw_only=True)
    model_name: str = field(default="", kw_only=True)
    model_title: str = field(default="", kw_only=True)
    model_requested: float = field(default=0.0, kw_only=True)
    began: float = field(default=0.0, kw_only=True)
    ended: float = field(default=0.0, kw_only=True)
    seen: float = field(default_factory=time.monotonic, kw_only=True)
    page_closed: float = field(default=0.0, kw_only=True)
    stopping: threading.Event = field(default_factory=threading.Event, kw_only=True)

    @property
    def notes(self) -> list[str]:
        """What was left out or guessed when the photos were found, and what decoding changed, one sentence each."""
        from vitdemo.core.photos.prefetch import sum_up

        return [*self.items.notes, *sum_up(row.notes for row in self.done_rows)]

    @property
    def done_rows(self) -> Sequence[Any]:
        """The rows of the finished photos, each with a result or an error, and with `notes`."""
        raise NotImplementedError

    @property
    def done(self) -> int:
        """Number of finished photos, with a result or an error."""
        return len(self.done_rows)

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.state in FINAL_STATES

    @property
    def unseen(self) -> bool:
        """Whether nobody looks at the gallery any more, so that it gives way to others."""
        return self.closed or time.monotonic() - self.seen > UNSEEN_SECONDS

    @property
    def closed(self) -> bool:
        """Whether the gallery's page was closed, and no page has requested the gallery since."""
        return self.seen < self.page_closed < time.monotonic() - CLOSED_SECONDS

    @property
    def speed(self) -> float:
        """Photos per second so far."""
        seconds = (self.ended or time.monotonic()) - self.began
        return self.done / seconds if self.done and seconds > 0 else 0.0

    @property
    def folder(self) -> Path:
        """The folder of the gallery's files: served by Gradio, and named by an id that can't be guessed."""
        return Path(get_upload_folder(), f"gallery-{self.id}")

    def file_name(self, title: str, *parts: str) -> str:
        """The name of a download, without its suffix: the gallery, the model's title, `parts` and the day."""
        folders = {item.name.partition("/")[0] if "/" in item.name else "" for item in self.items}
        gallery = folders.pop() if len(folders) == 1 else ""
        return file_name(gallery.removesuffix(".zip") or "photos", title, *parts, time.strftime("%Y-%m-%d"))

    @property
    def paths(self) -> list[Path]:
        """Files and folders that the gallery needs as long as it is kept."""
        return [self.folder, *(item.path for item in self.items)]

    def forget(self, *, keep_files: bool = False) -> None:
        """Stop the job, and remove its folder unless `keep_files`."""
        self.stopping.set()
        if not keep_files:
            shutil.rmtree(self.folder, ignore_errors=True)
