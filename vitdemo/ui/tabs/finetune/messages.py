"""What the page asks of the Fine-tune tab, and how it is answered."""

from dataclasses import dataclass, field

from vitdemo.ui.server.page_routes import OfSession


@dataclass(frozen=True)
class GiveClasses:
    """Photos in folders: (name, uploaded path) pairs, or `examples` for the sample images; and the names of files that are no photos."""

    files: list | str = ""
    others: list = field(default_factory=list)


@dataclass(frozen=True)
class PollSession(OfSession):
    """Ask for a session's status: with its classes if `data`, and the job's events from number `start` on."""

    start: int = 0
    data: bool = False


@dataclass(frozen=True)
class ChangeClasses(OfSession):
    """How the classes and splits differ from the folders: without either, all changes are undone.

    Attributes:
        names: current name → new name: an empty name excludes a class, another class's name merges both.
        folders: folder → the split that it is taken as.
    """

    names: dict = field(default_factory=dict)
    folders: dict = field(default_factory=dict)


@dataclass(frozen=True)
class OfClass(OfSession):
    """A class by its current name; a photo of it by its number, to leave it out or take it again."""

    label: str = ""
    number: int = -1


@dataclass(frozen=True)
class StartTraining(OfSession):
    """A model, a preset, and the settings that differ from it, by name."""

    model: str = ""
    preset: str = "quick"
    recipe: dict = field(default_factory=dict)


@dataclass(frozen=True)
class OfRun(OfSession):
    """A run, by the name of its folder; the other one that it is compared with, or its new title."""

    run: str = ""
    other: str = ""
    title: str = ""


@dataclass(frozen=True)
class OfCell(OfSession):
    """A cell of the confusion matrix: the true and the predicted class."""

    label: str = ""
    taken: str = ""


@dataclass(frozen=True)
class TestPhoto(OfSession):
    """An uploaded photo to ask both models about."""

    path: str = ""
    name: str = ""


@dataclass
class SessionStatus:
    """How far a session is.

    Attributes:
        state: of reading the photos.
        read, photos: photos read so far, and all.
        text: why reading failed.
        data: the classes as HTML, if they were asked for.
        asked: the preset and settings of the job.
        job: the job's state; empty without one. The attributes below are the job's.
        place: its place in the queue.
        error: why it failed.
        events: those from the requested number on.
        guesses: the latest predictions for some validation photos.
        report: the report of the run on show as HTML, once it is over.
        runs: all runs as HTML.
    """

    state: str
    read: int
    photos: int
    text: str
    data: str | None = None
    asked: dict | None = None
    job: str = ""
    place: int = 0
    error: str = ""
    events: list[dict] = field(default_factory=list)
    guesses: list[dict] = field(default_factory=list)
    report: str = ""
    runs: str = ""


@dataclass
class Estimate:
    """How long a training will take for these photos on this machine, in seconds; None while the model is still loading."""

    seconds: float | None
    photos: int


@dataclass
class RunsCompared:
    """What two runs' answers to the same photos say, in a sentence."""

    text: str


@dataclass
class OwnModel:
    """A fine-tuned model: its name in the store, and its title in the model picker."""

    name: str
    title: str
