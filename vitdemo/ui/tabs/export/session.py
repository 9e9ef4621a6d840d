"""One export session: a visitor's uploaded photos, the requested export, and the folders of its results."""

import logging
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitdemo.core.errors import UserError
from vitdemo.core.jobs.jobs import Job
from vitdemo.core.jobs.workspace import inside
from vitdemo.export.plan import Plan
from vitdemo.ui.server.gradio_internals import get_upload_folder

KINDS = ("photos", "calibration")
NOTHING_YET = "There is no bundle yet: start, and wait until it is done."
NO_ROOM = "The server has no room for this export, and nothing was kept: choose a smaller model or precision, or tell the operator."
GONE_MODEL = "This model is not here any more: choose another one at the top of the page."
PATH_PATTERN = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:]+[/\\])*([^\s/\\:]+)")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GivenPhotos:
    """Counts of uploaded photos.

    Attributes:
        photos: number of uploaded photos.
        used: number of photos that the export uses.
        folders: number of folders that the photos came in.
        notes: what was left out or guessed when they were found, one sentence each.
    """

    photos: int
    used: int
    folders: int
    notes: list[str] = field(default_factory=list)


@dataclass(eq=False)
class ExportSession:
    """One visitor's export.

    Attributes:
        folder: the export's workspace, whose name is the export's id; its files are not served.
        given: kind of photos, one of KINDS → their counts.
        model, title: the exported model's name in the store, and its title.
        bundle: folder of the bundle; the folder's name is the bundle's name.
        plan: the options of the export, once started.
        job: the export job, once started.
        shelf: folder of the downloads, which is served.
        seen: when the page last requested the export, on the monotonic clock.
    """

    folder: Path
    given: dict[str, GivenPhotos] = field(default_factory=dict)
    model: str = ""
    title: str = ""
    bundle: Path = Path()
    plan: Plan | None = None
    job: Job | None = None
    shelf: Path = field(default_factory=lambda: Path(get_upload_folder(), f"download-{secrets.token_urlsafe(24)}"))
    seen: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        """The export's id: the name of its folder."""
        return self.folder.name

    @property
    def busy(self) -> bool:
        """Whether the job is waiting or running."""
        return self.job is not None and not self.job.over

    @property
    def done(self) -> bool:
        """Whether the bundle is finished."""
        return self.job is not None and self.job.state == "done" and self.bundle.is_dir()

    @property
    def error(self) -> str:
        """Why the export failed, without paths of the server."""
        return _without_paths(self.job.error, self.folder) if self.job else ""

    def photos(self, kind: str) -> Path:
        """Path of the zip with the photos of one kind; a zip, so that no file name from a visitor becomes a path on the server's disk."""
        return self.folder / f"{kind}.zip"

    def files(self) -> list[tuple[str, int]]:
        """The bundle's files, the model first: (name, size in bytes).

        Raises: UserError where there is no bundle.
        """
        if not self.done or self.plan is None:
            raise UserError(NOTHING_YET)
        model = self.plan.file
        files = [(path.relative_to(self.bundle).as_posix(), path.stat().st_size) for path in self.bundle.rglob("*") if path.is_file()]
        return sorted(files, key=lambda file: (file[0] != model, file[0].count("/"), file[0].lower()))

    def file(self, name: str) -> Path:
        """The path of one of the bundle's files. Raises: UserError where there is no bundle, or no file with this name."""
        self.files()
        return inside(self.bundle, name)


def read_plan(asked: object) -> Plan:
    """Read the options of an export from JSON of the page or of an API client.

    Raises: UserError for options of the wrong type, or options that can't be combined.
    """
    asked = asked if isinstance(asked, dict) else {}
    lists = {name: asked.get(name) or [] for name in ("extras", "kits")}
    words: dict[str, Any] = {
        name: asked.get(name) or default for name, default in (("format", ""), ("precision", "fp32"), ("prefer", "fastest"))
    }
    if not all(isinstance(word, str) for word in words.values()) or not all(
        isinstance(values, list) and all(isinstance(value, str) for value in values) for values in lists.values()
    ):
        raise UserError("Send what to export as words.")
    choices: dict[str, Any] = {name: tuple(dict.fromkeys(values)) for name, values in lists.items()}
    return Plan(**words, baked=asked.get("baked") is True, **choices)


def _without_paths(text: str, folder: Path) -> str:
    """Adapt an error sentence of the command line for a visitor: replace sentences about the server, and remove paths."""
    if str(folder) in text:
        log.error("an export failed: %s", text)
        return NO_ROOM if "room" in text or "full" in text else "The server can't keep this export: tell the operator."
    if "There is no folder" in text:
        return GONE_MODEL
    return PATH_PATTERN.sub(r"\1", text)
