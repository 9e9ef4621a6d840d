"""One fine-tuning session: a visitor's photos, their classes with their current names, and the training job."""

import re
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError
from vitdemo.core.inference.loading import import_first
from vitdemo.core.jobs.jobs import Job
from vitdemo.core.names import check_name, one_spelling
from vitdemo.ui.server.gradio_internals import get_upload_folder

if TYPE_CHECKING:
    from vitdemo.core.photos.gallery import Item
    from vitdemo.finetune.data.dataset import Dataset
    from vitdemo.finetune.data.folders import Placed

MAX_RUNS = 8
SYNSET = re.compile(r"n\d{8}")


@dataclass(eq=False)
class FinetuneRun:
    """One training: what was asked, and where its result is.

    Attributes:
        folder: the fine-tuned model; the folder's name is the model's.
        title: as the visitor calls it.
        request: model, recipe and photos; the same request goes on in the same folder.
        model: name of the model that it started from.
        asked: the preset and the settings that differ from it, for a reloaded page.
        own: when the result was made, and the name by which the store knows it; None before it was used.
    """

    folder: Path
    title: str = ""
    request: str = ""
    model: str = ""
    asked: dict | None = None
    own: tuple[int, str] | None = None


@dataclass(eq=False)
class FinetuneSession:
    """One visitor's photos, and the models fine-tuned on them.

    Attributes:
        folder: the session's workspace, whose name is the session's id; its files are not served.
        items: the photos' files.
        labels: each item's class, for photos that were sent from the Embeddings tab; empty if folders name the classes.
        state: `reading` the photos, then `ready` or `failed`.
        error: why reading failed, for people.
        read: number of an item → its sha256, its thumbnail, the reason if the photo can't be read, and what decoding changed.
        changes: renamed classes: original name → current name.
        taken_as: folder → the split that the visitor takes it as.
        without: the numbers of the items that the visitor has left out.
        notes: what was left out when the photos were found, one sentence each.
        job: the training job that was started last.
        trained: the run of that job.
        runs: all trainings, first to last.
        passes: model → the measured seconds of one photo's pass.
        begun: how many runs there have been: no later one takes the folder, and so the model's name, of one that was removed.
        shown: the run that the page shows.
        shelf: folder of the session's download, which is served.
        seen: when the page last requested the session, on the monotonic clock.
        stopping: set when the session is dropped, so that reading stops.
    """

    folder: Path
    items: list["Item"]
    labels: list[str] = field(default_factory=list)
    state: str = "reading"
    error: str = ""
    read: dict[int, tuple[str, bytes, str, tuple[str, ...]]] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)
    taken_as: dict[str, str] = field(default_factory=dict)
    without: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    job: Job | None = None
    trained: FinetuneRun | None = None
    runs: list[FinetuneRun] = field(default_factory=list)
    passes: dict[str, float] = field(default_factory=dict)
    begun: int = 0
    shown: FinetuneRun | None = None
    shelf: Path = field(default_factory=lambda: Path(get_upload_folder(), f"download-{secrets.token_urlsafe(24)}"))
    seen: float = field(default_factory=time.monotonic)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def busy(self) -> bool:
        """Whether a job is waiting or running."""
        return bool(self.job and not self.job.over)

    @property
    def at_work(self) -> FinetuneRun | None:
        """The run whose job is waiting or running: any of `runs`, since the same request goes on in the same run."""
        return self.trained if self.busy else None

    @property
    def id(self) -> str:
        """The session's id: the name of its folder."""
        return self.folder.name

    @property
    def paths(self) -> list[Path]:
        """Files and folders to keep as long as the session exists."""
        return [self.folder, self.shelf, *(item.path for item in self.items)]

    @property
    def result(self) -> Path:
        """Folder of the fine-tuned model on show, which may not be there yet."""
        return self.shown.folder if self.shown else self._folder_of(1)

    def check_ready(self) -> None:
        """Raises: UserError where the photos are not read yet."""
        if self.state != "ready":
            raise UserError("The photos are still being looked through: wait a moment.")

    def run_for(self, request: str) -> FinetuneRun:
        """The run of this request, or a new one. Raises: UserError where there are too many."""
        for run in self.runs:
            if run.request == request:
                return run
        if len(self.runs) >= MAX_RUNS:
            raise UserError(f"{MAX_RUNS} runs are kept here: remove one, then start again.")
        self.begun += 1
        self.runs.append(FinetuneRun(self._folder_of(self.begun), f"Run {self.begun}", request))
        return self.runs[-1]

    def run(self, name: str) -> FinetuneRun:
        """The run whose folder has this name. Raises: UserError where there is none."""
        for run in self.runs:
            if run.folder.name == name:
                return run
        raise UserError("This run is not here any more: choose another one.")

    def _folder_of(self, number: int) -> Path:
        return self.folder / f"finetuned-{self.id[:4].strip('-_').lower() or 'x'}-{number}"

    @staticmethod
    def number_of(row: dict) -> int:
        """The number of the item in a row of the report: the name of the item's copy is that number."""
        return int(Path(row["photo"]).stem)

    @property
    def classes(self) -> set[str]:
        """The current class names of photos that were sent from the Embeddings tab, without excluded classes."""
        from vitdemo.finetune.data.folders import ClassNames

        names = ClassNames(self.changes)
        return {names.of(label) for label in self.labels} - {""}

    def placed(self) -> "Placed":
        """Each photo with its current class name, and its split. Raises: NothingToLearn where no training can use them."""
        from vitdemo.finetune.data.folders import chosen, place

        numbers = [number for number in range(len(self.items)) if number not in self.without]
        items = [self.items[number] for number in numbers]
        if self.labels:
            return chosen(items, [self.labels[number] for number in numbers], self.changes)
        return place(items, changes=self.changes, taken_as=self.taken_as)

    @property
    def changed(self) -> bool:
        """Whether the visitor has changed anything of the classes as they were given."""
        return bool(self.without or self.taken_as or self.changes != self.first_changes())

    def first_changes(self) -> dict[str, str]:
        """The changes that the session begins with."""
        return {} if self.labels else titles_of(self.items)

    def placed_so_far(self) -> "Placed":
        """As `placed`, also where no training can use them."""
        from vitdemo.finetune.data.folders import NothingToLearn

        try:
            return self.placed()
        except NothingToLearn as error:
            return error.placed

    def data(self, seed: int = 0, share: float = 0.2) -> "Dataset":
        """The classes, with their current names, and the splits.

        Args:
            seed: random seed of the splits.
            share: share of the validation photos.

        Raises: UserError where fine-tuning can't use the data.
        """
        from vitdemo.finetune.data.dataset import settle

        placed = self.placed()
        number_of_item = {id(item): index for index, item in enumerate(self.items)}
        pairs = [(sample, self.read[number_of_item[id(sample.item)]]) for sample in placed.samples]
        count = len(self.without)
        own = [f"{count} photo{'s' * (count > 1)} left out by you."] if count else []
        notes = [*self.notes, *own, *placed.notes]
        return settle(
            [replace(sample, id=sha, error=error, notes=said) for sample, (sha, _, error, said) in pairs],
            share=share,
            seed=seed,
            notes=notes,
        )


def titles_of(items: "Iterable[Item]") -> dict[str, str]:
    """The changes that a session begins with: folders called by WordNet ids become classes called as ImageNet's: folder → class name."""
    folders = [folder for folder in dict.fromkeys(item.folder for item in items) if SYNSET.fullmatch(folder)]
    if not folders:
        return {}
    import_first()
    from vitdemo.core.models.labels import ClassNames, labels_of

    names = ClassNames(labels_of(1000, {}))
    return {folder: title for folder in folders if (title := names.title(folder)) != folder}


def changes_of(asked: dict, data: Mapping[str, str]) -> dict[str, str]:
    """Merge new class names with earlier changes.

    Args:
        asked: the new names from the page: current name → new name.
        data: the earlier changes: original name → current name.

    Raises: UserError where `asked` does not map names to names, or a new name can't be one.
    """
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in asked.items()):
        raise UserError("Send the classes' new names as texts.")
    renamed = {one_spelling(old): check_name(new) if new.strip() else "" for old, new in asked.items()}
    changed = {old: renamed.get(one_spelling(new), new) for old, new in data.items()}
    return {old: new for old, new in renamed.items() if old not in changed} | changed


def taken_of(asked: dict, data: Mapping[str, str]) -> dict[str, str]:
    """Merge what the page takes folders as with what it took them as earlier: folder → one of folders.TAKEN_AS.

    A folder that was taken as a class is forgotten: it made classes of all, and another choice for one of them makes splits of all again.

    Raises: UserError where `asked` is anything else.
    """
    from vitdemo.finetune.data.folders import AS_CLASS, TAKEN_AS

    if not all(isinstance(folder, str) and what in TAKEN_AS for folder, what in asked.items()):
        raise UserError("Send what each folder is taken as: train, validation, test, all, class or nothing.")
    return {folder: what for folder, what in data.items() if what != AS_CLASS or not asked} | asked


def samples_of(data: "Dataset") -> dict[str, list]:
    """Group samples by class: class → its samples."""
    samples_by_class = defaultdict(list)
    for sample in data.samples:
        samples_by_class[sample.label].append(sample)
    return samples_by_class
