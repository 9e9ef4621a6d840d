"""What the page asks of the Classify tab, and how it is answered."""

from dataclasses import dataclass, field

from vitdemo.ui.components.gallery_upload import GalleryStatus, OfGallery


@dataclass(frozen=True)
class PollGallery(OfGallery):
    """Ask for a gallery's progress, and its rows from number `start` on."""

    start: int = 0


@dataclass(frozen=True)
class OfPhoto(OfGallery):
    """A photo of a gallery, by its row."""

    index: int = -1


@dataclass(frozen=True)
class Download(OfGallery):
    """A file of predictions: csv, json or parquet; of the rows with these numbers, or of all, and what the page filtered them by."""

    kind: str = ""
    rows: list | None = None
    filter: str = ""


@dataclass
class ClassifyStatus(GalleryStatus):
    """How far a gallery is. It is `running` until its last rows have been asked for.

    Attributes:
        rows: the requested rows.
        scores: accuracy and confusion matrix as HTML at the end, where folders name classes.
        conflicts: at the end, the numbers of the rows whose copies lie in folders of different classes.
    """

    rows: list[dict]
    scores: str | None
    conflicts: list[int] = field(default_factory=list)
