"""What the page asks of the Export tab, and how it is answered."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitdemo.ui.server.page_routes import OfSession

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class AddPhotos(OfSession):
    """Photos for one purpose of KINDS, as (name, uploaded path) pairs."""

    kind: str = ""
    files: list = field(default_factory=list)
    others: list = field(default_factory=list)


@dataclass(frozen=True)
class RemovePhotos(OfSession):
    """The purpose of KINDS whose photos are removed."""

    kind: str = ""


@dataclass(frozen=True)
class StartExport(OfSession):
    """A model, and the export's options."""

    model: str = ""
    plan: dict = field(default_factory=dict)


@dataclass(frozen=True)
class PollExport(OfSession):
    """Ask for an export's status, with the job's events from number `start` on."""

    start: int = 0


@dataclass(frozen=True)
class Download(OfSession):
    """A file of the bundle; None for a zip of the whole bundle."""

    file: str | None = None


@dataclass
class Given:
    """An export's photos: their counts by purpose."""

    session: str
    given: dict


@dataclass
class ExportStatus:
    """How far an export is.

    Attributes:
        given: counts of its photos by purpose.
        plan: its options; None before the start.
        state: the job's; empty without one.
        place: the job's place in the queue.
        events: the job's, from the requested number on.
        error: why it failed.
        report: as HTML, once it is done.
    """

    given: dict
    plan: dict | None
    state: str = ""
    place: int = 0
    events: list[dict] = field(default_factory=list)
    error: str = ""
    report: str = ""


@dataclass
class Tried:
    """An exported bundle that is compared with its original in Classify."""

    tried: str
