"""What visitors teach: their photos looked through, then learned from in a child process, found again by an id after a reload."""

import io
import shutil
import threading
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from vitdemo.core.errors import UserError
from vitdemo.core.jobs import Jobs
from vitdemo.core.photos import SUFFIXES, shown_name
from vitdemo.core.store import ModelStore
from vitdemo.core.workspace import Workspaces
from vitdemo.ui.finetune_lesson import Lesson
from vitdemo.ui.guard import sentence
from vitdemo.ui.run import PATIENCE
from vitdemo.ui.runs import most_rows
from vitdemo.ui.served import RECENT, scratch, touch

if TYPE_CHECKING:
    from vitdemo.core.gallery import Item
    from vitdemo.finetune.dataset import Dataset
    from vitdemo.finetune.recipe import Recipe

THUMBNAIL = 96  # pixels of the shorter side
MOST = 200  # lessons remembered
ROW_BYTES = 4_000  # memory that a photo takes


class Replaces(UserError):
    """What is asked for would take the place of something else: it has to be asked for once more."""


class Lessons:
    """All visitors' lessons."""

    def __init__(self, store: ModelStore, jobs: Jobs):
        self.store, self.settings, self.jobs = store, store.settings, jobs
        self._lessons: dict[str, Lesson] = {}

    @property
    def spaces(self) -> Workspaces:
        return Workspaces(Path(get_upload_folder(), "lessons"), self.settings)

    def give(self, items: list["Item"]) -> Lesson:
        """Begin to look through photos. Raises: UserError where other visitors' take all the room there is."""
        self.sweep(len(items))
        lesson = Lesson(self.spaces.create(), items)
        self._lessons[lesson.id] = lesson
        self._begin_to_read(lesson)
        return lesson

    def teach(self, id: object, label: object, items: list["Item"], *, anew: bool = False) -> Lesson:
        """Add chosen photos as a class to the visitor's lesson, or begin one. A photo that was sent before goes to the new class.

        Args:
            anew: begin one though the visitor has another that its folders made, which is lost with what was learned from it.

        Raises: Replaces for a lesson that folders made; UserError for a name that is none, too many photos, and while it is at work.
        """
        label = shown_name(label.strip()) if isinstance(label, str) and label.strip() else ""
        if not label:
            raise UserError("Give the class a name first.")
        lesson = self._lessons.get(id) if isinstance(id, str) else None
        if lesson and lesson.job and not lesson.job.over:
            raise UserError("Fine-tune is at work: wait for it, or stop it there first.")
        if lesson and not lesson.labels and not anew:
            raise Replaces("Fine-tune holds other photos, and perhaps what was learned from them. Send once more to begin anew with these.")
        if lesson is None or not lesson.labels:
            self.sweep(len(items))
            lesson = Lesson(self.spaces.create(), [])
            self._lessons[lesson.id] = lesson
        elif lesson.state == "reading":
            raise UserError("The photos sent before are still being looked through: wait a moment.")
        known = {(item.path, item.name): place for place, item in enumerate(lesson.items)}
        fresh = [item for item in items if (item.path, item.name) not in known]
        if len(lesson.items) + len(fresh) > self.settings.max_gallery:
            raise UserError(f"These would be more than {self.settings.max_gallery:,} photos, which is the limit here: choose fewer.")
        for item in items:
            if (place := known.get((item.path, item.name))) is not None:
                lesson.labels[place] = label
        wanted = label.casefold()  # again, if it was left out
        lesson.changes = {old: new for old, new in lesson.changes.items() if new or old.casefold() != wanted}
        lesson.items += fresh
        lesson.labels += [label] * len(fresh)
        self._begin_to_read(lesson)
        return lesson

    def _begin_to_read(self, lesson: Lesson) -> None:
        lesson.state = "reading"
        threading.Thread(target=self._read, args=(lesson,), name="lesson", daemon=True).start()

    def get(self, id: object) -> Lesson:
        """Raises: UserError where there is no such lesson, or no more."""
        lesson = self._lessons.get(id) if isinstance(id, str) else None
        if lesson is None:
            raise UserError("These photos are not here any more: give them again.")
        self.spaces.get(lesson.id)
        lesson.seen = time.monotonic()
        return lesson

    def start(self, lesson: Lesson, model: str, recipe: "Recipe", caller: str = "") -> None:
        """Learn, in a child process.

        Raises: UserError where the photos, the model or the machine won't do.
        """
        if lesson.state != "ready":
            raise UserError("The photos are still being looked through: wait a moment.")
        if lesson.job and not lesson.job.over:
            raise UserError("This is being learned already: wait for it, or stop it first.")
        name = self.store.allowed(model)
        named = self.store.flags_of(name)
        data = lesson.data(recipe.seed, recipe.validation)
        photos = self._write_photos(lesson, data)
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in recipe.as_json().items()]
        names = [f"--rename={index:04}={label}" for index, label in enumerate(data.classes)]
        command = ["finetune", str(photos), "--output", str(lesson.result), *flags, *names, *named, f"--device={self.settings.device}"]
        lesson.model = name

        def check_room() -> None:
            self.spaces.check_room(lesson.folder)
            scratch(self.settings).check()

        lesson.job = self.jobs.start(command, lesson.folder / "job", check_room=check_room, caller=caller)

    @property
    def busy(self) -> bool:
        """Whether any lesson waits or is at work."""
        return any(each.busy for each in list(self._lessons.values()))

    def stop(self) -> None:
        """End all that is at work, and keep the best weights so far."""
        for lesson in list(self._lessons.values()):
            if lesson.busy:
                self.jobs.stop(lesson.job)

    def _write_photos(self, lesson: Lesson, data: "Dataset") -> Path:
        """Lay the photos out as the command reads them, under names of ours."""
        folder = lesson.folder / "photos"
        shutil.rmtree(folder, ignore_errors=True)
        number = {id(item): index for index, item in enumerate(lesson.items)}
        total = 0
        try:
            for sample, target in zip(data.samples, data.targets(data.samples), strict=True):
                bytes_ = sample.item.read(self.settings)
                total += len(bytes_)
                if total > self.settings.workspace_mb << 20:
                    raise UserError(f"These photos take more than {self.settings.workspace_mb} MB: give fewer, or smaller copies.")
                scratch(self.settings).check(len(bytes_))
                suffix = PurePath(sample.item.name).suffix.lower()
                path = folder / sample.split / f"{target:04}" / f"{number[id(sample.item)]}{suffix if suffix in SUFFIXES else '.jpg'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes_)
        except OSError as error:
            raise UserError(f"The photos can't be kept ({error.strerror}): tell the operator.") from None
        return folder

    def _read(self, lesson: Lesson) -> None:
        """Look at every photo once: can it be read, is it there twice, what does it look like?"""
        from vitdemo.core.stream import photos_ahead

        try:
            thumbnails: dict[int, bytes] = {}
            known = len(lesson.read)
            for ready in photos_ahead(lesson.items[known:], _thumbnail, self.settings, ahead=16):
                if ready.made:
                    thumbnails[ready.index] = ready.made
                first = ready.index if ready.first is None else ready.first
                lesson.read[known + ready.index] = (ready.id or "", thumbnails.get(first, b""), ready.error or "")
                if lesson.stopping.is_set():
                    break
            lesson.state = "ready"
        except Exception as error:
            lesson.error, lesson.state = sentence(error), "failed"

    def sweep(self, coming: int = 0) -> None:
        """Drop what nobody has asked for as long as uploads are kept, and the longest unseen of too many with `coming` photos more.
        Work that nobody looks at ends where others wait for it.

        Raises: UserError where there is no room for those that are coming.
        """
        now, most = time.monotonic(), most_rows(self.settings, ROW_BYTES)
        for lesson in list(self._lessons.values()):
            if lesson.busy or lesson.state == "reading" or now - lesson.seen < RECENT:
                touch(lesson.paths)
        self.spaces.sweep()
        for lesson in [each for each in self._lessons.values() if not each.folder.is_dir()]:
            self._drop(lesson)
        for lesson in list(self._lessons.values()):
            if lesson.busy and now - lesson.seen > PATIENCE and self.jobs.waiting:
                self.jobs.stop(lesson.job)
        for lesson in sorted(self._lessons.values(), key=lambda each: each.seen):
            if not lesson.busy and self._photos() + coming > most:
                self._drop(lesson)
        if coming and (len(self._lessons) >= MOST or (self._lessons and self._photos() + coming > most)):
            raise UserError("The app is busy with other visitors' photos: give fewer, or try again in a few minutes.")

    def _photos(self) -> int:
        return sum(len(each.items) for each in self._lessons.values())

    def _drop(self, lesson: Lesson) -> None:
        self._lessons.pop(lesson.id, None)
        lesson.stopping.set()
        for folder in (lesson.folder, lesson.shelf):
            shutil.rmtree(folder, ignore_errors=True)


def _thumbnail(photo) -> bytes:
    side = min(photo.image.size)
    box = ((photo.image.width - side) / 2, (photo.image.height - side) / 2, (photo.image.width + side) / 2, (photo.image.height + side) / 2)
    buffer = io.BytesIO()
    photo.image.resize((THUMBNAIL, THUMBNAIL), box=box, reducing_gap=2).save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
