"""What one visitor teaches: photos, their classes by the names that they have by now, and the job that learns from them."""

import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradio.utils import get_upload_folder

from vitdemo.core.errors import UserError
from vitdemo.core.jobs.jobs import Job

if TYPE_CHECKING:
    from vitdemo.core.photos.gallery import Item
    from vitdemo.finetune.data.dataset import Dataset, Sample


@dataclass(eq=False)
class FinetuneSession:
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
        from vitdemo.finetune.data.dataset import chosen, place

        return (chosen(self.items, self.labels, self.changes), []) if self.labels else place(self.items, changes=self.changes)

    def data(self, seed: int = 0, share: float = 0.2) -> "Dataset":
        """Classes and splits, as named by now. Raises: UserError where they won't do."""
        from vitdemo.finetune.data.dataset import settle

        samples, notes = self.samples()
        number = {id(item): index for index, item in enumerate(self.items)}
        known = [(each, self.read[number[id(each.item)]]) for each in samples]
        return settle([replace(each, id=sha, error=error) for each, (sha, _, error) in known], share=share, seed=seed, notes=notes)


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
