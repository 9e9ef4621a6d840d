"""What visitors teach: their photos looked through, then learned from in a child process, found again by an id after a reload."""

import io
import shutil
import threading
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.jobs import Jobs
from vitdemo.core.jobs.workspace import Workspaces
from vitdemo.core.photos.photo import SUFFIXES, shown_name
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.served_files import RECENT_SECONDS, scratch_of, touch
from vitdemo.ui.sessions.gallery_job import UNSEEN_SECONDS
from vitdemo.ui.sessions.gallery_jobs import most_rows
from vitdemo.ui.tabs.finetune.session import FinetuneSession

if TYPE_CHECKING:
    from vitdemo.core.photos.gallery import Item
    from vitdemo.finetune.data.dataset import Dataset
    from vitdemo.finetune.recipe import Recipe

THUMBNAIL_PIXELS = 96  # pixels of the shorter side
MAX_SESSIONS = 200  # lessons remembered
ROW_BYTES = 4_000  # memory that a photo takes


class ReplacesSession(UserError):
    """What is asked for would take the place of something else: it has to be asked for once more."""


class FinetuneSessions:
    """All visitors' lessons."""

    def __init__(self, store: ModelStore, jobs: Jobs):
        self.store, self.settings, self.jobs = store, store.settings, jobs
        self._sessions: dict[str, FinetuneSession] = {}

    @property
    def spaces(self) -> Workspaces:
        return Workspaces(Path(get_upload_folder(), "lessons"), self.settings)

    def give(self, items: list["Item"]) -> FinetuneSession:
        """Begin to look through photos. Raises: UserError where other visitors' take all the room there is."""
        self.sweep(len(items))
        session = FinetuneSession(self.spaces.create(), items)
        self._sessions[session.id] = session
        self._begin_to_read(session)
        return session

    def teach(self, id: object, label: object, items: list["Item"], *, anew: bool = False) -> FinetuneSession:
        """Add chosen photos as a class to the visitor's lesson, or begin one. A photo that was sent before goes to the new class.

        Args:
            anew: begin one though the visitor has another that its folders made, which is lost with what was learned from it.

        Raises: Replaces for a lesson that folders made; UserError for a name that is none, too many photos, and while it is at work.
        """
        label = shown_name(label.strip()) if isinstance(label, str) and label.strip() else ""
        if not label:
            raise UserError("Give the class a name first.")
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
        known = {(item.path, item.name): place for place, item in enumerate(session.items)}
        fresh = [item for item in items if (item.path, item.name) not in known]
        if len(session.items) + len(fresh) > self.settings.max_gallery:
            raise UserError(f"These would be more than {self.settings.max_gallery:,} photos, which is the limit here: choose fewer.")
        for item in items:
            if (place := known.get((item.path, item.name))) is not None:
                session.labels[place] = label
        wanted = label.casefold()  # again, if it was left out
        session.changes = {old: new for old, new in session.changes.items() if new or old.casefold() != wanted}
        session.items += fresh
        session.labels += [label] * len(fresh)
        self._begin_to_read(session)
        return session

    def _begin_to_read(self, session: FinetuneSession) -> None:
        session.state = "reading"
        threading.Thread(target=self._read, args=(session,), name="lesson", daemon=True).start()

    def get(self, id: object) -> FinetuneSession:
        """Raises: UserError where there is no such lesson, or no more."""
        session = self._sessions.get(id) if isinstance(id, str) else None
        if session is None:
            raise UserError("These photos are not here any more: give them again.")
        self.spaces.get(session.id)
        session.seen = time.monotonic()
        return session

    def start(self, session: FinetuneSession, model: str, recipe: "Recipe", client: str = "") -> None:
        """Learn, in a child process.

        Raises: UserError where the photos, the model or the machine won't do.
        """
        if session.state != "ready":
            raise UserError("The photos are still being looked through: wait a moment.")
        if session.job and not session.job.over:
            raise UserError("This is being learned already: wait for it, or stop it first.")
        name = self.store.allowed(model)
        named = self.store.flags_of(name)
        data = session.data(recipe.seed, recipe.validation)
        photos = self._write_photos(session, data)
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in recipe.as_json().items()]
        names = [f"--rename={index:04}={label}" for index, label in enumerate(data.classes)]
        command = ["finetune", str(photos), "--output", str(session.result), *flags, *names, *named, f"--device={self.settings.device}"]
        session.model = name

        def check_room() -> None:
            self.spaces.check_room(session.folder)
            scratch_of(self.settings).check()

        session.job = self.jobs.start(command, session.folder / "job", check_room=check_room, client=client)

    @property
    def busy(self) -> bool:
        """Whether any lesson waits or is at work."""
        return any(each.busy for each in list(self._sessions.values()))

    def stop(self) -> None:
        """End all that is at work, and keep the best weights so far."""
        for session in list(self._sessions.values()):
            if session.busy:
                self.jobs.stop(session.job)

    def _write_photos(self, session: FinetuneSession, data: "Dataset") -> Path:
        """Lay the photos out as the command reads them, under names of ours."""
        folder = session.folder / "photos"
        shutil.rmtree(folder, ignore_errors=True)
        number = {id(item): index for index, item in enumerate(session.items)}
        total = 0
        try:
            for sample, target in zip(data.samples, data.targets(data.samples), strict=True):
                bytes_ = sample.item.read(self.settings)
                total += len(bytes_)
                if total > self.settings.workspace_mb << 20:
                    raise UserError(f"These photos take more than {self.settings.workspace_mb} MB: give fewer, or smaller copies.")
                scratch_of(self.settings).check(len(bytes_))
                suffix = PurePath(sample.item.name).suffix.lower()
                path = folder / sample.split / f"{target:04}" / f"{number[id(sample.item)]}{suffix if suffix in SUFFIXES else '.jpg'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes_)
        except OSError as error:
            raise UserError(f"The photos can't be kept ({error.strerror}): tell the operator.") from None
        return folder

    def _read(self, session: FinetuneSession) -> None:
        """Look at every photo once: can it be read, is it there twice, what does it look like?"""
        from vitdemo.core.photos.prefetch import photos_ahead

        try:
            thumbnails: dict[int, bytes] = {}
            known = len(session.read)
            for ready in photos_ahead(session.items[known:], _thumbnail, self.settings, ahead=16):
                if ready.made:
                    thumbnails[ready.index] = ready.made
                first = ready.index if ready.first is None else ready.first
                session.read[known + ready.index] = (ready.id or "", thumbnails.get(first, b""), ready.error or "")
                if session.stopping.is_set():
                    break
            session.state = "ready"
        except Exception as error:
            session.error, session.state = user_message(error), "failed"

    def sweep(self, coming: int = 0) -> None:
        """Drop what nobody has asked for as long as uploads are kept, and the longest unseen of too many with `coming` photos more.
        Work that nobody looks at ends where others wait for it.

        Raises: UserError where there is no room for those that are coming.
        """
        now, most = time.monotonic(), most_rows(self.settings, ROW_BYTES)
        for session in list(self._sessions.values()):
            if session.busy or session.state == "reading" or now - session.seen < RECENT_SECONDS:
                touch(session.paths)
        self.spaces.sweep()
        for session in [each for each in self._sessions.values() if not each.folder.is_dir()]:
            self._drop(session)
        for session in list(self._sessions.values()):
            if session.busy and now - session.seen > UNSEEN_SECONDS and self.jobs.waiting:
                self.jobs.stop(session.job)
        for session in sorted(self._sessions.values(), key=lambda each: each.seen):
            if not session.busy and self._photos() + coming > most:
                self._drop(session)
        if coming and (len(self._sessions) >= MAX_SESSIONS or (self._sessions and self._photos() + coming > most)):
            raise UserError("The app is busy with other visitors' photos: give fewer, or try again in a few minutes.")

    def _photos(self) -> int:
        return sum(len(each.items) for each in self._sessions.values())

    def _drop(self, session: FinetuneSession) -> None:
        self._sessions.pop(session.id, None)
        session.stopping.set()
        for folder in (session.folder, session.shelf):
            shutil.rmtree(folder, ignore_errors=True)


def _thumbnail(photo) -> bytes:
    side = min(photo.image.size)
    box = ((photo.image.width - side) / 2, (photo.image.height - side) / 2, (photo.image.width + side) / 2, (photo.image.height + side) / 2)
    buffer = io.BytesIO()
    photo.image.resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), box=box, reducing_gap=2).save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
