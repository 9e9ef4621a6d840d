"""All fine-tuning sessions: read the photos, train in a child process, and find a session by its id after a page reload."""

import json
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Jobs
from vitdemo.core.jobs.workspace import Workspaces
from vitdemo.core.names import check_name, one_spelling
from vitdemo.core.photos.encode import encode
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.server.served_files import RECENT_SECONDS, scratch_of, touch
from vitdemo.ui.sessions.gallery_job import UNSEEN_SECONDS
from vitdemo.ui.sessions.gallery_jobs import most_rows
from vitdemo.ui.tabs.finetune.session import FinetuneSession

if TYPE_CHECKING:
    from vitdemo.core.photos.gallery import Gallery, Item
    from vitdemo.finetune.data.dataset import Dataset
    from vitdemo.finetune.recipe import Recipe

THUMBNAIL_PIXELS = 96  # side of a square thumbnail
MAX_SESSIONS = 200  # in memory
ROW_BYTES = 4_000  # memory per photo


class ReplacesSession(UserError):
    """The request would replace the visitor's other session: the page has to send it again to confirm."""


class FinetuneSessions:
    """The fine-tuning sessions of all visitors."""

    def __init__(self, store: ModelStore, jobs: Jobs):
        self.store, self.settings, self.jobs = store, store.settings, jobs
        self._sessions: dict[str, FinetuneSession] = {}

    @property
    def spaces(self) -> Workspaces:
        """The workspaces of the sessions, one folder each."""
        return Workspaces(Path(get_upload_folder(), "lessons"), self.settings)

    def create(self, items: "Gallery") -> FinetuneSession:
        """Start a session with photos, and read them in a thread. Raises: UserError where other visitors' photos take all the memory."""
        self.sweep(len(items))
        session = FinetuneSession(self.spaces.create(), items, notes=items.notes)
        self._sessions[session.id] = session
        self._start_reading(session)
        return session

    def add_class(self, id: object, label: object, items: list["Item"], *, anew: bool = False) -> FinetuneSession:
        """Add photos as a class to the visitor's session, or start a session. A photo that was sent before moves to the new class.

        Args:
            id: the visitor's session, if there is one.
            label: the class name.
            anew: start a new session even if the visitor's session has classes from folders; that session and its results are lost.

        Raises: ReplacesSession for a session with classes from folders, without `anew`; UserError for an empty name, too many photos, or
            a session that is reading photos or fine-tuning.
        """
        label = check_name(label if isinstance(label, str) else "")
        session = self._sessions.get(id) if isinstance(id, str) else None
        if session and session.job and not session.job.over:
            raise UserError("Fine-tune is at work: wait for it, or stop it there first.")
        if session and not session.labels and not anew:
            raise ReplacesSession(
                "Fine-tune holds other photos, and perhaps what was learned from them. Send once more to begin anew with these."
            )
        if session is None or not session.labels:
            self.sweep(len(items))
            session = FinetuneSession(self.spaces.create(), [])
            self._sessions[session.id] = session
        elif session.state == "reading":
            raise UserError("The photos sent before are still being looked through: wait a moment.")
        number_of_item = {(item.path, item.name): number for number, item in enumerate(session.items)}
        new_items = [item for item in items if (item.path, item.name) not in number_of_item]
        if len(session.items) + len(new_items) > self.settings.max_gallery:
            raise UserError(f"These would be more than {self.settings.max_gallery:,} photos, which is the limit here: choose fewer.")
        for item in items:
            if (number := number_of_item.get((item.path, item.name))) is not None:
                session.labels[number] = label
        wanted = one_spelling(label)  # a class that was excluded before is included again
        session.changes = {old: new for old, new in session.changes.items() if new or one_spelling(old) != wanted}
        session.items += new_items
        session.labels += [label] * len(new_items)
        self._start_reading(session)
        return session

    def _start_reading(self, session: FinetuneSession) -> None:
        session.state = "reading"
        threading.Thread(target=self._read, args=(session,), name="lesson", daemon=True).start()

    def get(self, id: object) -> FinetuneSession:
        """The session with this id. Raises: UserError where the session does not exist, or no longer exists."""
        session = self._sessions.get(id) if isinstance(id, str) else None
        if session is None:
            raise UserError("These photos are not here any more: give them again.")
        self.spaces.get(session.id)
        session.seen = time.monotonic()
        return session

    def start(self, session: FinetuneSession, model: str, recipe: "Recipe", client: str = "") -> None:
        """Start fine-tuning in a child process.

        Raises: UserError where the photos are not read yet, a job is running, the data or the model can't be used, or disk space is short.
        """
        session.check_ready()
        if session.job and not session.job.over:
            raise UserError("This is being learned already: wait for it, or stop it first.")
        name = self.store.allowed(model)
        named = self.store.flags_of(name)
        data = session.data(recipe.seed, recipe.validation)
        photos = self._write_photos(session, data)
        placed = sorted((sample.id, sample.label, sample.split) for sample in data.samples)
        name, _ = self.store.parts_of(name)  # a training starts from the fp32 weights, whatever precision is shown
        run = session.run_for(json.dumps([name, recipe.as_json(), placed]))
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in recipe.as_json().items()]
        names = [f"--rename={index:04}={label}" for index, label in enumerate(data.classes)]
        notes = [f"--note={note}" for note in data.notes]
        said = [*flags, *names, *notes, *named, f"--device={self.settings.device}"]
        command = ["finetune", str(photos), f"--output={run.folder}", *said]
        run.model, session.shown, session.trained = name, run, run

        def check_room() -> None:
            try:
                self.spaces.check_room(session.folder)
            except UserError as error:
                raise UserError(f"{error} Or remove a run that you don't need." if len(session.runs) > 1 else str(error)) from None
            scratch_of(self.settings).check()

        session.job = self.jobs.start(command, session.folder / "job", check_room=check_room, client=client)

    @property
    def busy(self) -> bool:
        """Whether any session has a waiting or running job."""
        return any(session.busy for session in list(self._sessions.values()))

    def stop(self) -> None:
        """Stop all jobs, and keep the best weights so far."""
        for session in list(self._sessions.values()):
            if session.job and session.busy:
                self.jobs.stop(session.job)

    def _write_photos(self, session: FinetuneSession, data: "Dataset") -> Path:
        """Copy the photos into the folders that the `finetune` command reads, under file names made by the app."""
        folder = session.folder / "photos"
        shutil.rmtree(folder, ignore_errors=True)
        item_numbers = {id(item): index for index, item in enumerate(session.items)}
        total = 0
        try:
            for sample, target in zip(data.samples, data.targets(data.samples), strict=True):
                content = sample.item.read(self.settings)
                total += len(content)
                if total > self.settings.workspace_mb << 20:
                    raise UserError(f"These photos take more than {self.settings.workspace_mb} MB: give fewer, or smaller copies.")
                scratch_of(self.settings).check(len(content))
                # the suffix is no matter: the content tells the format
                # photos that were drawn for validation are the command's to draw: it takes a folder for a split that was given
                split = "train" if data.drawn and sample.split == "validation" else sample.split
                path = folder / split / f"{target:04}" / f"{item_numbers[id(sample.item)]}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        except OSError as error:
            raise UserError(f"The photos can't be kept ({error.strerror}): tell the operator.") from None
        return folder

    def _read(self, session: FinetuneSession) -> None:
        """Read every new photo once: find unreadable photos and duplicates, and make the thumbnails."""
        from vitdemo.core.photos.prefetch import photos_ahead

        try:
            thumbnails: dict[int, bytes] = {}
            read_before = len(session.read)
            for photo in photos_ahead(session.items[read_before:], _thumbnail, self.settings, ahead=16):
                if photo.made:
                    thumbnails[photo.index] = photo.made
                first = photo.index if photo.first is None else photo.first
                session.read[read_before + photo.index] = (photo.id or "", thumbnails.get(first, b""), photo.error or "", photo.notes)
                if session.stopping.is_set():
                    break
            session.state = "ready"
        except Exception as error:
            session.error, session.state = user_message(error), "failed"

    def sweep(self, coming: int = 0) -> None:
        """Drop sessions that no page has requested for as long as uploads are kept, and, to make room for `coming` more photos, those
        unseen longest. Stop jobs that no page watches while other jobs wait.

        Raises: UserError where there is no room for the coming photos.
        """
        now, most = time.monotonic(), most_rows(self.settings, ROW_BYTES)
        for session in list(self._sessions.values()):
            if session.busy or session.state == "reading" or now - session.seen < RECENT_SECONDS:
                touch(session.paths)
        self.spaces.sweep()
        for session in [session for session in list(self._sessions.values()) if not session.folder.is_dir()]:
            self._drop(session)
        for session in list(self._sessions.values()):
            if session.job and session.busy and now - session.seen > UNSEEN_SECONDS and self.jobs.waiting:
                self.jobs.stop(session.job)
        for session in sorted(list(self._sessions.values()), key=lambda session: session.seen):
            if not session.busy and self._photos() + coming > most:
                self._drop(session)
        if coming and (len(self._sessions) >= MAX_SESSIONS or (self._sessions and self._photos() + coming > most)):
            raise UserError("The app is busy with other visitors' photos: give fewer, or try again in a few minutes.")

    def _photos(self) -> int:
        """Number of photos in all sessions."""
        return sum(len(session.items) for session in list(self._sessions.values()))

    def _drop(self, session: FinetuneSession) -> None:
        self._sessions.pop(session.id, None)
        session.stopping.set()
        for folder in (session.folder, session.shelf):
            shutil.rmtree(folder, ignore_errors=True)


def _thumbnail(photo) -> bytes:
    side = min(photo.image.size)
    box = ((photo.image.width - side) / 2, (photo.image.height - side) / 2, (photo.image.width + side) / 2, (photo.image.height + side) / 2)
    return encode(photo.image.resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), box=box, reducing_gap=2), "JPEG", quality=82)
