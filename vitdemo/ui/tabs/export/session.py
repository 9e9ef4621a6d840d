"""One visitor's export: what was given and asked for, and where what comes of it lies."""

import logging
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from gradio.utils import get_upload_folder

from vitdemo.core.errors import UserError
from vitdemo.core.jobs.jobs import Job
from vitdemo.core.jobs.workspace import inside
from vitdemo.export.plan import Plan

KINDS = ("photos", "calibration")
NOTHING_YET = "There is no bundle yet: start, and wait until it is done."
NO_ROOM = "The server has no room for this export, and nothing was kept: choose a smaller model or precision, or tell the operator."
GONE_MODEL = "This model is not here any more: choose another one at the top of the page."
PATH_PATTERN = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:]+[/\\])*([^\s/\\:]+)")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GivenPhotos:
    """Photos that a visitor gave: how many, how many of them are used, and how many folders they came in."""

    photos: int
    used: int
    folders: int


@dataclass(eq=False)
class ExportSession:
    """One visitor's export.

    Attributes:
        folder: its workspace, whose name is its id; nothing in it is served.
        shelf: where its downloads come to lie, which is.
        given: what there is of KINDS.
        model: the name in the store of the model it is made from.
        bundle: where the bundle comes to lie; its last part is what it is called.
    """

    folder: Path
    given: dict[str, GivenPhotos] = field(default_factory=dict)
    model: str = ""
    bundle: Path = Path()
    plan: Plan | None = None
    job: Job | None = None
    shelf: Path = field(default_factory=lambda: Path(get_upload_folder(), f"download-{secrets.token_urlsafe(24)}"))
    seen: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def busy(self) -> bool:
        return self.job is not None and not self.job.over

    @property
    def done(self) -> bool:
        return self.job is not None and self.job.state == "done" and self.bundle.is_dir()

    @property
    def error(self) -> str:
        """Why it failed, without a path of the server's."""
        return _without_paths(self.job.error, self.folder) if self.job else ""

    def photos(self, kind: str) -> Path:
        """Where the photos of a kind lie: a zip, so that no name of a visitor's becomes one on our disk."""
        return self.folder / f"{kind}.zip"

    def files(self) -> list[tuple[str, int]]:
        """The bundle's files, the model first: name and bytes.

        Raises: UserError where there is no bundle.
        """
        if not self.done:
            raise UserError(NOTHING_YET)
        found = [(path.relative_to(self.bundle).as_posix(), path.stat().st_size) for path in self.bundle.rglob("*") if path.is_file()]
        return sorted(found, key=lambda each: (each[0] != self.plan.file, each[0].count("/"), each[0].lower()))

    def file(self, name: str) -> Path:
        """One of its files. Raises: UserError where there is none of that name."""
        self.files()
        return inside(self.bundle, name)


def read_plan(asked: object) -> Plan:
    """What a page or a program asks for.

    Raises: UserError for what can't be done.
    """
    asked = asked if isinstance(asked, dict) else {}
    lists = {name: asked.get(name) or [] for name in ("extras", "kits")}
    words = {name: asked.get(name) or default for name, default in (("format", ""), ("precision", "fp32"), ("prefer", "fastest"))}
    if not all(isinstance(each, str) for each in words.values()) or not all(
        isinstance(each, list) and all(isinstance(one, str) for one in each) for each in lists.values()
    ):
        raise UserError("Send what to export as words.")
    return Plan(**words, baked=asked.get("baked") is True, **{name: tuple(dict.fromkeys(each)) for name, each in lists.items()})


def _without_paths(text: str, folder: Path) -> str:
    """A sentence that was made for the command line, for a visitor."""
    if str(folder) in text:
        log.error("an export failed: %s", text)
        return NO_ROOM if "room" in text or "full" in text else "The server can't keep this export: tell the operator."
    if "There is no folder" in text:
        return GONE_MODEL
    return PATH_PATTERN.sub(r"\1", text)
