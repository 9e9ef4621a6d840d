"""What visitors export: the photos to compare on, the work in a child process, and the bundle, found again by an id after a reload."""

import logging
import os
import re
import secrets
import shutil
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from vitdemo.core.errors import UserError
from vitdemo.core.jobs import Job, Jobs
from vitdemo.core.store import ModelStore
from vitdemo.core.workspace import Workspaces, inside, size_of
from vitdemo.export.plan import Plan
from vitdemo.ui.served import scratch

if TYPE_CHECKING:
    from vitdemo.core.gallery import Item

MOST = 200  # exports remembered
PATIENCE = 600  # seconds that an export may be at work with nobody looking while others wait in line
KINDS = ("photos", "calibration")
AT_WORK = "An export is at work here: wait for it, or stop it first."
NOTHING_YET = "There is no bundle yet: start, and wait until it is done."
NO_ROOM = "The server has no room for this export, and nothing was kept: choose a smaller model or precision, or tell the operator."
GONE_MODEL = "This model is not here any more: choose another one at the top of the page."
PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:]+[/\\])*([^\s/\\:]+)")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """Photos that a visitor gave: how many, how many of them are used, which share can't be had, and how many folders they came in."""

    photos: int
    used: int
    folders: int


@dataclass(eq=False)
class Export:
    """One visitor's export.

    Attributes:
        folder: its workspace, whose name is its id; nothing in it is served.
        shelf: where its downloads come to lie, which is.
        given: what there is of KINDS.
        model: the name in the store of the model it is made from.
        name: what the bundle is called.
    """

    folder: Path
    given: dict[str, Given] = field(default_factory=dict)
    model: str = ""
    name: str = ""
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
    def bundle(self) -> Path:
        """Where the bundle comes to lie."""
        return self.folder / "bundle" / self.name

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


class Exports:
    """All visitors' exports."""

    def __init__(self, store: ModelStore, jobs: Jobs):
        self.store, self.settings, self.jobs = store, store.settings, jobs
        self._exports: dict[str, Export] = {}

    @property
    def spaces(self) -> Workspaces:
        return Workspaces(Path(get_upload_folder(), "exports"), self.settings)

    def begin(self) -> Export:
        """A new one. Raises: UserError where there are too many, or no room."""
        self.sweep()
        if len(self._exports) >= MOST:
            raise UserError("The app is busy with other visitors' exports: try again later.")
        export = Export(self.spaces.create())
        self._exports[export.id] = export
        return export

    def get(self, id: object) -> Export:
        """Raises: UserError where there is no such export, or no more."""
        export = self._exports.get(id) if isinstance(id, str) else None
        if export is None:
            raise UserError("This export is not here any more: start again.")
        self.spaces.get(export.id)
        export.seen = time.monotonic()
        return export

    def give(self, export: Export, kind: str, items: list["Item"]) -> None:
        """Keep photos to compare on, or to calibrate on: as many as can be used, from all over the gallery.

        Raises: UserError where none of them can be had, or they take too much room.
        """
        from vitdemo.core.gallery import evenly

        if export.busy:
            raise UserError(AT_WORK)
        self.take_back(export, kind)
        chosen, used, path = evenly(items, self.settings.compare_photos), 0, export.photos(kind)
        try:
            with zipfile.ZipFile(path, "w") as archive:
                for item in chosen:
                    try:
                        data = item.read(self.settings)
                    except UserError:  # such as a damaged one in a zip
                        continue
                    self._check_room(export, len(data), "These photos take")
                    archive.writestr(zipfile.ZipInfo(item.name), data)
                    used += 1
            if not used:
                raise UserError("None of these photos can be read: give others.")
        except OSError as error:
            path.unlink(missing_ok=True)
            raise UserError(f"The photos can't be kept ({error.strerror}): tell the operator.") from None
        except UserError:
            path.unlink(missing_ok=True)
            raise
        export.given[kind] = Given(len(items), used, len({item.folder for item in items} - {""}))

    def take_back(self, export: Export, kind: str) -> None:
        """Forget photos that were given."""
        if export.busy:
            raise UserError(AT_WORK)
        export.given.pop(kind, None)
        export.photos(kind).unlink(missing_ok=True)

    def start(self, export: Export, model: str, plan: Plan) -> None:
        """Export, in a child process. An earlier bundle of the same export goes.

        Raises: UserError where the model or the machine won't do.
        """
        if export.busy:
            raise UserError(AT_WORK)
        name = self.store.allowed(model)
        vit = self.store.get(name).result(1)
        shutil.rmtree(export.folder / "bundle", ignore_errors=True)
        shutil.rmtree(export.shelf, ignore_errors=True)
        self._check_room(export, plan.expected_bytes(vit.parameters), "The bundle would take")
        export.model, export.plan, export.name = name, plan, _plain_name(f"{vit.name}-{plan.format}-{plan.precision}")
        command = ["export", f"--format={plan.format}", f"--precision={plan.precision}", f"--prefer={plan.prefer}"]
        command += ["--bake-preprocessing"] * plan.baked
        command += [f"--with={each}" for each in plan.extras] + [f"--serve={each}" for each in plan.kits]
        for kind, flag in zip(KINDS, ("--photos", "--calibrate"), strict=True):
            if kind in export.given and (kind == "photos" or plan.precision == "int8"):
                command.append(f"{flag}={export.photos(kind)}")
        command += [*self.store.flags_of(name), f"--device={self.settings.device}", f"--output={export.bundle}"]
        command += [f"--{each.replace('_', '-')}={getattr(self.settings, each)}" for each in ("max_megapixels", "compare_photos")]
        export.job = self.jobs.start(command, export.folder / "job", lambda: _clear(export.folder / "bundle"))

    def pack(self, export: Export) -> Path:
        """A zip of the whole bundle, for Gradio to serve. Raises: UserError where there is none, or no room for it."""
        files, path = export.files(), export.shelf / f"{export.name}.zip"
        if path.is_file():
            return path
        self._check_room(export, sum(size for _, size in files), "The bundle and a zip of it take")
        scratch(self.settings).check(sum(size for _, size in files))
        partial = path.with_suffix(".partial")
        try:
            export.shelf.mkdir(exist_ok=True)
            with zipfile.ZipFile(partial, "w") as archive:
                for name, _ in files:
                    archive.write(export.bundle / name, f"{export.name}/{name}")
            partial.replace(path)
        except OSError as error:
            raise UserError(f"The zip can't be made ({error.strerror}): take the files one by one, or tell the operator.") from None
        finally:
            partial.unlink(missing_ok=True)
        return path

    def take(self, export: Export, name: str) -> Path:
        """One of the bundle's files, for Gradio to serve; it takes no room of its own. Raises: UserError for a name of none of them."""
        source = export.file(name)
        path = export.shelf / source.relative_to(export.bundle.resolve())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                os.link(source, path)
        except OSError as error:
            raise UserError(f"The file can't be fetched ({error.strerror}): take the zip, or tell the operator.") from None
        return path

    @property
    def busy(self) -> bool:
        """Whether any export waits or is at work."""
        return any(each.busy for each in list(self._exports.values()))

    def stop(self) -> None:
        """End all that is at work: nothing half-written stays."""
        for export in list(self._exports.values()):
            if export.busy:
                self.jobs.stop(export.job)

    def sweep(self) -> None:
        """Drop what nobody has asked for as long as uploads are kept. Work that nobody looks at ends where others wait for it."""
        self.spaces.sweep(in_use=lambda folder: folder.name in self._exports and self._exports[folder.name].busy)
        for export in list(self._exports.values()):
            if export.busy and time.monotonic() - export.seen > PATIENCE and self.jobs.waiting:
                self.jobs.stop(export.job)
            if not export.folder.is_dir():
                del self._exports[export.id]
                shutil.rmtree(export.shelf, ignore_errors=True)

    def _check_room(self, export: Export, coming: int, what: str) -> None:
        if size_of(export.folder) + coming > self.settings.workspace_mb << 20:
            remedy = {"These": "give fewer, or smaller copies"}.get(what.split()[0], "choose a smaller model or precision")
            remedy = "take the files one by one" if "zip" in what else remedy
            raise UserError(f"{what} more than the {self.settings.workspace_mb} MB that one visitor may keep here: {remedy}.")


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


def _plain_name(name: str) -> str:
    """A name for a folder and a download that no system stumbles over."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[-80:] or "bundle"


def _clear(folder: Path) -> None:
    """Remove what a child that was killed has left half-written."""
    for each in folder.glob(".export-*"):
        shutil.rmtree(each, ignore_errors=True)


def _without_paths(text: str, folder: Path) -> str:
    """A sentence that was made for the command line, for a visitor."""
    if str(folder) in text:
        log.error("an export failed: %s", text)
        return NO_ROOM if "room" in text or "full" in text else "The server can't keep this export: tell the operator."
    if "There is no folder" in text:
        return GONE_MODEL
    return PATH.sub(r"\1", text)
