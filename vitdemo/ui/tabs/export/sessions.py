"""What visitors export: the photos to compare on, the work in a child process, and the bundle, found again by an id after a reload."""

import os
import re
import secrets
import shutil
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from vitdemo.core.errors import UserError
from vitdemo.core.jobs import Jobs
from vitdemo.core.store import ModelStore
from vitdemo.core.workspace import Workspaces, size_of
from vitdemo.export.plan import Plan
from vitdemo.ui.export_order import KINDS, Export, Given
from vitdemo.ui.run import PATIENCE
from vitdemo.ui.served import RECENT, scratch, touch

if TYPE_CHECKING:
    from vitdemo.core.gallery import Item

MOST = 200  # exports remembered
AT_WORK = "An export is at work here: wait for it, or stop it first."


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
        path = export.photos(kind)
        try:
            with zipfile.ZipFile(path, "w") as archive:
                used = self._keep(evenly(items, self.settings.compare_photos), archive, size_of(export.folder))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise UserError(f"The photos can't be kept ({error.strerror}): tell the operator.") from None
        except UserError:
            path.unlink(missing_ok=True)
            raise
        export.given[kind] = Given(len(items), used, len({item.folder for item in items} - {""}))

    def _keep(self, items: list["Item"], archive: zipfile.ZipFile, taken: int) -> int:
        """Write photos into a zip, after a look whether one of them can be decoded: which of the others can't is found out at work.

        Returns: how many there are.
        """
        from vitdemo.core.photos import decode

        used, readable, reason = 0, False, None
        for item in items:
            try:
                data = item.read(self.settings)
                readable = readable or decode(data, item.shown, self.settings) is not None
            except UserError as error:
                reason = reason or error
                continue
            taken += len(data)
            self._check_room(taken, "These photos take", "give fewer, or smaller copies")
            scratch(self.settings).check(len(data))
            archive.writestr(f"{item.folder}/{used:06}.jpg", data)  # the folder may name its class; what it is, its bytes tell
            used += 1
        if not used:
            raise reason or UserError("None of these photos can be read: give others.")
        return used

    def take_back(self, export: Export, kind: str) -> None:
        """Forget photos that were given."""
        if export.busy:
            raise UserError(AT_WORK)
        export.given.pop(kind, None)
        export.photos(kind).unlink(missing_ok=True)

    def start(self, export: Export, model: str, plan: Plan, caller: str = "") -> None:
        """Export, in a child process. An earlier bundle of the same export goes.

        Raises: UserError where the model or the machine won't do.
        """
        if export.busy:
            raise UserError(AT_WORK)
        name = self.store.allowed(model)
        vit = self.store.get(name).result(1)
        given = sum(export.photos(kind).stat().st_size for kind in export.given)
        self._check_room(given + plan.expected_bytes(vit.parameters), "The bundle would take", "choose a smaller model or precision")
        place = export.folder / f"bundle-{secrets.token_hex(4)}"
        bundle = place / _plain_name(f"{vit.name}-{plan.format}-{plan.precision}")
        command = ["export", f"--format={plan.format}", f"--precision={plan.precision}", f"--prefer={plan.prefer}"]
        command += ["--bake-preprocessing"] * plan.baked
        command += [f"--with={each}" for each in plan.extras] + [f"--serve={each}" for each in plan.kits]
        for kind, flag in zip(KINDS, ("--photos", "--calibrate"), strict=True):
            if kind in export.given and (kind == "photos" or plan.precision == "int8"):
                command.append(f"{flag}={export.photos(kind)}")
        command += [*self.store.flags_of(name), f"--device={self.settings.device}", f"--output={bundle}"]
        command += [f"--{each.replace('_', '-')}={getattr(self.settings, each)}" for each in ("max_megapixels", "compare_photos")]
        export.job = self.jobs.start(command, export.folder / "job", lambda: _clear(place), caller=caller)
        export.model, export.plan, export.bundle = name, plan, bundle
        for each in (export.shelf, *export.folder.glob("bundle-*")):
            if each != place:
                shutil.rmtree(each, ignore_errors=True)

    def pack(self, export: Export) -> Path:
        """A zip of the whole bundle, for Gradio to serve. Raises: UserError where there is none, or no room for it."""
        files, path = export.files(), export.shelf / f"{export.bundle.name}.zip"
        if path.is_file():
            return path
        coming = sum(size for _, size in files)
        self._check_room(size_of(export.folder) + coming, "The bundle and a zip of it take", "take the files one by one")
        partial = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            export.shelf.mkdir(parents=True, exist_ok=True)
            with scratch(self.settings).promised(coming), zipfile.ZipFile(partial, "w") as archive:
                for name, _ in files:
                    archive.write(export.bundle / name, f"{export.bundle.name}/{name}")
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
        for export in list(self._exports.values()):
            if export.busy or time.monotonic() - export.seen < RECENT:
                touch((export.folder, export.shelf))
        self.spaces.sweep()
        for export in list(self._exports.values()):
            if export.busy and time.monotonic() - export.seen > PATIENCE and self.jobs.waiting:
                self.jobs.stop(export.job)
            if not export.folder.is_dir():
                del self._exports[export.id]
                shutil.rmtree(export.shelf, ignore_errors=True)

    def _check_room(self, bytes: int, what: str, remedy: str) -> None:
        if bytes > self.settings.workspace_mb << 20:
            raise UserError(f"{what} more than the {self.settings.workspace_mb} MB that one visitor may keep here: {remedy}.")


def _plain_name(name: str) -> str:
    """A name for a folder and a download that no system stumbles over."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[-80:] or "bundle"


def _clear(folder: Path) -> None:
    """Remove what a child that was killed has left half-written."""
    for each in folder.glob(".export-*"):
        shutil.rmtree(each, ignore_errors=True)
