"""All export sessions: keep the uploaded photos, export in a child process, and find a session by its id after a page reload."""

import os
import re
import secrets
import shutil
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Jobs
from vitdemo.core.jobs.workspace import Workspaces, size_of
from vitdemo.core.names import MAX_LETTERS
from vitdemo.export.plan import Plan
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.server.served_files import RECENT_SECONDS, scratch_of, touch
from vitdemo.ui.sessions.gallery_job import UNSEEN_SECONDS
from vitdemo.ui.tabs.export.session import KINDS, ExportSession, GivenPhotos

if TYPE_CHECKING:
    from vitdemo.core.photos.gallery import Gallery, Item

MAX_SESSIONS = 200  # in memory
AT_WORK = "An export is at work here: wait for it, or stop it first."

MAX_REASONS = 3  # told of photos that can't be read


class ExportSessions:
    """The export sessions of all visitors."""

    def __init__(self, store: ModelStore, jobs: Jobs):
        self.store, self.settings, self.jobs = store, store.settings, jobs
        self._sessions: dict[str, ExportSession] = {}

    @property
    def spaces(self) -> Workspaces:
        """The workspaces of the exports, one folder each."""
        return Workspaces(Path(get_upload_folder(), "exports"), self.settings)

    def begin(self) -> ExportSession:
        """Create an export session. Raises: UserError where there are too many sessions, or no room on the disk."""
        self.sweep()
        if len(self._sessions) >= MAX_SESSIONS:
            raise UserError("The app is busy with other visitors' exports: try again later.")
        session = ExportSession(self.spaces.create())
        self._sessions[session.id] = session
        return session

    def get(self, id: object) -> ExportSession:
        """The session with this id. Raises: UserError where the export does not exist, or no longer exists."""
        session = self._sessions.get(id) if isinstance(id, str) else None
        if session is None:
            raise UserError("This export is not here any more: start again.")
        self.spaces.get(session.id)
        session.seen = time.monotonic()
        return session

    def add_photos(self, session: ExportSession, kind: str, items: "Gallery") -> None:
        """Keep photos for the comparison or for calibration: at most as many as the export uses, evenly spaced in the gallery.

        Raises: UserError where no photo can be read, the photos take too much room, or a job is running.
        """
        from vitdemo.core.photos.gallery import spread_evenly

        if session.busy:
            raise UserError(AT_WORK)
        self.remove_photos(session, kind)
        path = session.photos(kind)
        try:
            with zipfile.ZipFile(path, "w") as archive:
                used, notes = self._keep(spread_evenly(items, self.settings.compare_photos), archive, size_of(session.folder))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise UserError(f"The photos can't be kept ({error.strerror}): tell the operator.") from None
        except UserError:
            path.unlink(missing_ok=True)
            raise
        session.given[kind] = GivenPhotos(len(items), used, len({item.folder for item in items} - {""}), [*items.notes, *notes])

    def _keep(self, items: list["Item"], archive: zipfile.ZipFile, size: int) -> tuple[int, list[str]]:
        """Write photos into a zip, and check that at least one of them can be decoded. The job checks the others.

        Returns: the number of photos in the zip, and the reasons for the first few that are not.
        """
        from vitdemo.core.photos.photo import decode

        used, readable, reasons = 0, False, []
        for item in items:
            try:
                content = item.read(self.settings)
                readable = readable or decode(content, item.shown, self.settings) is not None
            except UserError as error:
                reasons.append(str(error))
                continue
            size += len(content)
            self._check_room(size, "These photos take", "give fewer, or smaller copies")
            scratch_of(self.settings).check(len(content))
            # the folder may name the photo's class; the export finds the image format in the bytes, not in the suffix
            archive.writestr(f"{item.folder[:MAX_LETTERS]}/{used:06}.jpg", content)
            used += 1
        if not used:
            raise UserError(reasons[0] if reasons else "None of these photos can be read: give others.")
        return used, reasons[:MAX_REASONS]

    def remove_photos(self, session: ExportSession, kind: str) -> None:
        """Remove the uploaded photos of one kind. Raises: UserError while a job is running."""
        if session.busy:
            raise UserError(AT_WORK)
        session.given.pop(kind, None)
        session.photos(kind).unlink(missing_ok=True)

    def start(self, session: ExportSession, model: str, plan: Plan, client: str = "") -> None:
        """Start the export in a child process. An earlier bundle of the session is deleted.

        Raises: UserError where a job is running, the model is not available or can't be written in this format, the bundle would take too
            much room, or the queue is full.
        """
        from vitdemo.export.formats import check_format

        if session.busy:
            raise UserError(AT_WORK)
        name = self.store.allowed(model)
        vit = self.store.get(name).result(1)
        check_format(vit, plan.format)
        photo_bytes = sum(session.photos(kind).stat().st_size for kind in session.given)
        self._check_room(photo_bytes + plan.expected_bytes(vit.parameters), "The bundle would take", "choose a smaller model or precision")
        bundle_folder = session.folder / f"bundle-{secrets.token_hex(4)}"
        bundle = bundle_folder / _plain_name(f"{vit.own_title or vit.name}-{plan.format}-{plan.precision}")
        command = ["export", f"--format={plan.format}", f"--precision={plan.precision}", f"--prefer={plan.prefer}"]
        command += ["--bake-preprocessing"] * plan.baked
        command += [f"--with={extra}" for extra in plan.extras] + [f"--serve={kit}" for kit in plan.kits]
        for kind, flag in zip(KINDS, ("--photos", "--calibrate"), strict=True):
            if kind in session.given and (kind == "photos" or plan.precision == "int8"):
                command.append(f"{flag}={session.photos(kind)}")
        command += [*self.store.flags_of(name), f"--device={self.settings.device}", f"--output={bundle}"]
        command += [f"--{setting.replace('_', '-')}={getattr(self.settings, setting)}" for setting in ("max_megapixels", "compare_photos")]
        session.job = self.jobs.start(command, session.folder / "job", lambda: _clear(bundle_folder), client=client)
        session.model, session.title, session.plan, session.bundle = name, vit.title, plan, bundle
        for folder in (session.shelf, *session.folder.glob("bundle-*")):
            if folder != bundle_folder:
                shutil.rmtree(folder, ignore_errors=True)

    def pack(self, session: ExportSession) -> Path:
        """Write a zip of the whole bundle, which Gradio serves. Raises: UserError where there is no bundle, or no room on the disk."""
        files, path = session.files(), session.shelf / f"{session.bundle.name}.zip"
        if path.is_file():
            return path
        size_of_files = sum(size for _, size in files)
        self._check_room(size_of(session.folder) + size_of_files, "The bundle and a zip of it take", "take the files one by one")
        partial_path = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            session.shelf.mkdir(parents=True, exist_ok=True)
            with scratch_of(self.settings).promised(size_of_files), zipfile.ZipFile(partial_path, "w") as archive:
                for name, _ in files:
                    archive.write(session.bundle / name, f"{session.bundle.name}/{name}")
            partial_path.replace(path)
        except OSError as error:
            raise UserError(f"The zip can't be made ({error.strerror}): take the files one by one, or tell the operator.") from None
        finally:
            partial_path.unlink(missing_ok=True)
        return path

    def take(self, session: ExportSession, name: str) -> Path:
        """Hard-link one of the bundle's files into the served folder. Raises: UserError where there is no such file, or linking fails."""
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
        """Whether any export has a waiting or running job."""
        return any(session.busy for session in list(self._sessions.values()))

    def stop(self) -> None:
        """Stop all jobs; no half-written files stay."""
        for session in list(self._sessions.values()):
            if session.job and session.busy:
                self.jobs.stop(session.job)

    def sweep(self) -> None:
        """Drop exports that no page has requested for as long as uploads are kept. Stop jobs that no page watches while other jobs wait."""
        for session in list(self._sessions.values()):
            if session.busy or time.monotonic() - session.seen < RECENT_SECONDS:
                touch((session.folder, session.shelf))
        self.spaces.sweep()
        for session in list(self._sessions.values()):
            if session.job and session.busy and time.monotonic() - session.seen > UNSEEN_SECONDS and self.jobs.waiting:
                self.jobs.stop(session.job)
            if not session.folder.is_dir():
                self._sessions.pop(session.id, None)
                shutil.rmtree(session.shelf, ignore_errors=True)

    def _check_room(self, bytes: int, what: str, remedy: str) -> None:
        if bytes > self.settings.workspace_mb << 20:
            raise UserError(f"{what} more than the {self.settings.workspace_mb} MB that one visitor may keep here: {remedy}.")


def _plain_name(name: str) -> str:
    """Turn a name into one that every operating system accepts for folders and downloads."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[-80:] or "bundle"


def _clear(folder: Path) -> None:
    """Remove the half-written files of a child process that was killed."""
    for path in folder.glob(".export-*"):
        shutil.rmtree(path, ignore_errors=True)
