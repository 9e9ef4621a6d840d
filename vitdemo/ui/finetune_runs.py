"""What visitors teach: their photos looked through, then learned from in a child process, found again by an id after a reload."""

import io
import secrets
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from vitdemo.core.errors import UserError
from vitdemo.core.jobs import Job, Jobs
from vitdemo.core.photos import SUFFIXES, shown_name
from vitdemo.core.store import ModelStore
from vitdemo.core.workspace import Workspaces
from vitdemo.ui.guard import sentence
from vitdemo.ui.runs import PATIENCE, most_rows
from vitdemo.ui.served import RECENT, scratch, touch

if TYPE_CHECKING:
    from vitdemo.core.gallery import Item
    from vitdemo.finetune.dataset import Dataset, Sample
    from vitdemo.finetune.recipe import Recipe

THUMBNAIL = 96  # pixels of the shorter side
MOST = 200  # lessons remembered
ROW_BYTES = 4_000  # memory that a photo takes


class Replaces(UserError):
    """What is asked for would take the place of something else: it has to be asked for once more."""


@dataclass(eq=False)
class Lesson:
    """One visitor's photos, and what is learned from them.

    Attributes:
        folder: its workspace, whose name is its id; nothing in it is served.
        shelf: where its download comes to lie, which is.
        labels: each item's class where photos were chosen one by one; none where their folders say it.
        read: item's number → its sha256 and thumbnail, or the sentence on why it can't be read.
        state: `reading` the photos, then `ready` or `failed`.
        changes: other names for classes.
        model: the name of the model that it started from.
        asked: the preset and the settings it was started with, by name, for a page that is reloaded.
    """

    folder: Path
    items: list["Item"]
    labels: list[str] = field(default_factory=list)
    state: str = "reading"
    error: str = ""
    read: dict[int, tuple[str, bytes, str]] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)
    job: Job | None = None
    model: str = ""
    asked: dict | None = None
    shelf: Path = field(default_factory=lambda: Path(get_upload_folder(), f"download-{secrets.token_urlsafe(24)}"))
    seen: float = field(default_factory=time.monotonic)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def busy(self) -> bool:
        return bool(self.job and not self.job.over)

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def paths(self) -> list[Path]:
        """What it needs as long as it is here."""
        return [self.folder, self.shelf, *(item.path for item in self.items)]

    @property
    def result(self) -> Path:
        """Where the bundle comes to lie. Its last part is the model's name."""
        return self.folder / f"finetuned-{self.id[:4].strip('-_').lower() or 'x'}"

    @staticmethod
    def number_of(row: dict) -> int:
        """The number of the item that a row of the report is about: its file's name is of our making."""
        return int(Path(row["photo"]).stem)

    @property
    def classes(self) -> set[str]:
        """Of photos that were chosen one by one: as named by now, those left out not among them."""
        return {self.changes.get(label, label).strip().casefold() for label in self.labels} - {""}

    def samples(self) -> "tuple[list[Sample], list[str]]":
        """Each photo's class as named by now, and what was left out. Raises: UserError for fewer than two classes."""
        from vitdemo.finetune.dataset import chosen, place

        return (chosen(self.items, self.labels, self.changes), []) if self.labels else place(self.items, changes=self.changes)

    def data(self, seed: int = 0, share: float = 0.2) -> "Dataset":
        """Classes and splits, as named by now. Raises: UserError where they won't do."""
        from vitdemo.finetune.dataset import settle

        samples, notes = self.samples()
        number = {id(item): index for index, item in enumerate(self.items)}
        known = [(each, self.read[number[id(each.item)]]) for each in samples]
        return settle([replace(each, id=sha, error=error) for each, (sha, _, error) in known], share=share, seed=seed, notes=notes)


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

    def start(self, lesson: Lesson, model: str, recipe: "Recipe") -> None:
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

        lesson.job = self.jobs.start(command, lesson.folder / "job", check_room=check_room)

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


def changes_of(asked: object, data: Mapping[str, str]) -> dict[str, str]:
    """The names that a visitor gave to classes, joined with those given before.

    Raises: UserError for anything that is none.
    """
    if not isinstance(asked, dict) or not all(isinstance(key, str) and isinstance(value, str) for key, value in asked.items()):
        raise UserError("Send the classes' new names as texts.")
    changed = {old: asked.get(new, new) for old, new in data.items()}
    return {old: new for old, new in asked.items() if old not in changed} | changed


def samples_of(data: "Dataset") -> dict[str, list]:
    """class → its samples."""
    found = defaultdict(list)
    for each in data.samples:
        found[each.label].append(each)
    return found


def _thumbnail(photo) -> bytes:
    side = min(photo.image.size)
    box = ((photo.image.width - side) / 2, (photo.image.height - side) / 2, (photo.image.width + side) / 2, (photo.image.height + side) / 2)
    buffer = io.BytesIO()
    photo.image.resize((THUMBNAIL, THUMBNAIL), box=box, reducing_gap=2).save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
