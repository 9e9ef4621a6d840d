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
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Jobs
from vitdemo.core.jobs.workspace import Workspaces, size_of
from vitdemo.export.plan import Plan
from vitdemo.ui.server.served_files import RECENT_SECONDS, scratch_of, touch
from vitdemo.ui.sessions.gallery_job import UNSEEN_SECONDS
from vitdemo.ui.tabs.export.session import KINDS, ExportSession, GivenPhotos

if TYPE_CHECKING:
    from vitdemo.core.photos.gallery import Item

MAX_SESSIONS = 200  # exports remembered
AT_WORK = "An export is at work here: wait for it, or stop it first."


class ExportSessions:
    """All visitors' exports."""

    def __init__(self, store: ModelStore, jobs: Jobs):
        self.store, self.settings, self.jobs = store, store.settings, jobs
        self._sessions: dict[str, ExportSession] = {}

    @property
    def spaces(self) -> Workspaces:
        return Workspaces(Path(get_upload_folder(), "exports"), self.settings)

    def begin(self) -> ExportSession:
        """A new one. Raises: UserError where there are too many, or no room."""
        self.sweep()
        if len(self._sessions) >= MAX_SESSIONS:
            raise UserError("The app is busy with other visitors' exports: try again later.")
        session = ExportSession(self.spaces.create())
        self._sessions[session.id] = session
        return session

    def get(self, id: object) -> ExportSession:
        """Raises: UserError where there is no such export, or no more."""
        session = self._sessions.get(id) if isinstance(id, str) else None
        if session is None:
            raise UserError("This export is not here any more: start again.")
        self.spaces.get(session.id)
        session.seen = time.monotonic()
        return session

    def give(self, session: ExportSession, kind: str, items: list["Item"]) -> None:
        """Keep photos to compare on, or to calibrate on: as many as can be used, from all over the gallery.

        Raises: UserError where none of them can be had, or they take too much room.
        """
        from vitdemo.core.photos.gallery import spread_evenly

        if session.busy:
            raise UserError(AT_WORK)
        self.take_back(session, kind)
        path = session.photos(kind)
        try:
            with zipfile.ZipFile(path, "w") as archive:
                used = self._keep(spread_evenly(items, self.settings.compare_photos), archive, size_of(session.folder))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise UserError(f"The photos can't be kept ({error.strerror}): tell the operator.") from None
        except UserError:
            path.unlink(missing_ok=True)
            raise
        session.given[kind] = GivenPhotos(len(items), used, len({item.folder for item in items} - {""}))

    def _keep(self, items: list["Item"], archive: zipfile.ZipFile, taken: int) -> int:
        """Write photos into a zip, after a look whether one of them can be decoded: which of the others can't is found out at work.

        Returns: how many there are.
        """
        from vitdemo.core.photos.photo import decode

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
            scratch_of(self.settings).check(len(data))
            archive.writestr(f"{item.folder}/{used:06}.jpg", data)  # the folder may name its class; what it is, its bytes tell
            used += 1
        if not used:
            raise reason or UserError("None of these photos can be read: give others.")
        return used

    def take_back(self, session: ExportSession, kind: str) -> None:
        """Forget photos that were given."""
        if session.busy:
            raise UserError(AT_WORK)
        session.given.pop(kind, None)
        session.photos(kind).unlink(missing_ok=True)

    def start(self, session: ExportSession, model: str, plan: Plan, client: str = "") -> None:
        """Export, in a child process. An earlier bundle of the same export goes.

        Raises: UserError where the model or the machine won't do.
        """
        if session.busy:
            raise UserError(AT_WORK)
        name = self.store.allowed(model)
        vit = self.store.get(name).result(1)
        given = sum(session.photos(kind).stat().st_size for kind in session.given)
        self._check_room(given + plan.expected_bytes(vit.parameters), "The bundle would take", "choose a smaller model or precision")
        place = session.folder / f"bundle-{secrets.token_hex(4)}"
        bundle = place / _plain_name(f"{vit.name}-{plan.format}-{plan.precision}")
        command = ["export", f"--format={plan.format}", f"--precision={plan.precision}", f"--prefer={plan.prefer}"]
        command += ["--bake-preprocessing"] * plan.baked
        command += [f"--with={each}" for each in plan.extras] + [f"--serve={each}" for each in plan.kits]
        for kind, flag in zip(KINDS, ("--photos", "--calibrate"), strict=True):
            if kind in session.given and (kind == "photos" or plan.precision == "int8"):
                command.append(f"{flag}={session.photos(kind)}")
        command += [*self.store.flags_of(name), f"--device={self.settings.device}", f"--output={bundle}"]
        command += [f"--{each.replace('_', '-')}={getattr(self.settings, each)}" for each in ("max_megapixels", "compare_photos")]
        session.job = self.jobs.start(command, session.folder / "job", lambda: _clear(place), client=client)
        session.model, session.plan, session.bundle = name, plan, bundle
        for each in (session.shelf, *session.folder.glob("bundle-*")):
            if each != place:
                shutil.rmtree(each, ignore_errors=True)

    def pack(self, session: ExportSession) -> Path:
        """A zip of the whole bundle, for Gradio to serve. Raises: UserError where there is none, or no room for it."""
        files, path = session.files(), session.shelf / f"{session.bundle.name}.zip"
        if path.is_file():
            return path
        coming = sum(size for _, size in files)
        self._check_room(size_of(session.folder) + coming, "The bundle and a zip of it take", "take the files one by one")
        partial = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            session.shelf.mkdir(parents=True, exist_ok=True)
            with scratch_of(self.settings).promised(coming), zipfile.ZipFile(partial, "w") as archive:
                for name, _ in files:
                    archive.write(session.bundle / name, f"{session.bundle.name}/{name}")
            partial.replace(path)
        except OSError as error:
            raise UserError(f"The zip can't be made ({error.strerror}): take the files one by one, or tell the operator.") from None
        finally:
            partial.unlink(missing_ok=True)
        return path

    def take(self, session: ExportSession, name: str) -> Path:
        """One of the bundle's files, for Gradio to serve; it takes no room of its own. Raises: UserError for a name of none of them."""
        source = session.file(name)
        path = session.shelf / source.relative_to(session.bundle.resolve())
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
        return any(each.busy for each in list(self._sessions.values()))

    def stop(self) -> None:
        """End all that is at work: nothing half-written stays."""
        for session in list(self._sessions.values()):
            if session.busy:
                self.jobs.stop(session.job)

    def sweep(self) -> None:
        """Drop what nobody has asked for as long as uploads are kept. Work that nobody looks at ends where others wait for it."""
        for session in list(self._sessions.values()):
            if session.busy or time.monotonic() - session.seen < RECENT_SECONDS:
                touch((session.folder, session.shelf))
        self.spaces.sweep()
        for session in list(self._sessions.values()):
            if session.busy and time.monotonic() - session.seen > UNSEEN_SECONDS and self.jobs.waiting:
                self.jobs.stop(session.job)
            if not session.folder.is_dir():
                del self._sessions[session.id]
                shutil.rmtree(session.shelf, ignore_errors=True)

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
