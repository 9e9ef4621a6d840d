"""The routes of Classify's “Many photos”: start a gallery and follow it, open a photo, download the predictions."""

import base64
from dataclasses import dataclass

from vitdemo.core.errors import UserError
from vitdemo.core.names import shown_path
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.components.gallery_upload import GalleryStatus, OfGallery, StartGallery
from vitdemo.ui.server.page_routes import Caller, File, Html, TabRoutes, page_route
from vitdemo.ui.sessions.gallery_job import FINAL_STATES
from vitdemo.ui.tabs.classify.sessions import ClassifyJob, ClassifyJobs
from vitdemo.ui.templating import data_uri, html, percent

ROWS_PER_POLL = 400  # at most, in one answer
MAX_PIXELS = 480  # of the longer side of an opened photo


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
    """A file of predictions: csv, json or parquet."""

    kind: str = ""


@dataclass
class ClassifyStatus(GalleryStatus):
    """How far a gallery is. It is `running` until its last rows have been asked for.

    Attributes:
        rows: the requested rows.
        scores: accuracy and confusion matrix as HTML at the end, where folders name classes.
    """

    rows: list[dict]
    scores: str | None


class ClassifyRoutes(TabRoutes):
    """What the panel's script may ask."""

    name = "classify"

    def __init__(self, jobs: ClassifyJobs):
        self._jobs = jobs

    @page_route(starts_work=True)
    def start(self, asked: StartGallery, caller: Caller) -> OfGallery:
        """Start a gallery."""
        return gallery_upload.start(asked, caller, self._jobs.store, "classify", self._jobs.start)

    @page_route()
    def poll(self, asked: PollGallery, caller: Caller) -> ClassifyStatus:
        """A gallery's progress."""
        job = self._jobs.get(asked.gallery, caller.visitor)
        status = gallery_upload.status_of(self._jobs, job, 0)  # before the rows are counted, so that no row is missed at the end
        over, start = status.state in FINAL_STATES, max(0, asked.start)
        rows = job.rows[start : start + ROWS_PER_POLL]
        if complete := over and start + len(rows) == len(job.rows):
            status.done = job.done
        elif over:
            status.state = "running"
        status.wrong = sum(row.error is not None for row in job.rows)
        return ClassifyStatus(**vars(status), rows=[_row(row, job) for row in rows], scores=_scores(job) if complete else None)

    @page_route()
    def stop(self, asked: OfGallery, caller: Caller) -> None:
        """Stop a gallery; its finished rows stay."""
        self._jobs.get(asked.gallery).stopping.set()

    @page_route()
    def detail(self, asked: OfPhoto, caller: Caller) -> Html:
        """One photo at a readable size with its top classes."""
        from vitdemo.core.photos.photo import decode

        job, index = self._jobs.get(asked.gallery), asked.index
        if not 0 <= index < len(job.rows) or job.rows[index].error:
            raise UserError("There is no such photo in this gallery.")
        row, item, settings = job.rows[index], job.items[index], self._jobs.settings
        photo = decode(item.read(settings), item.shown, settings, id=row.sha256)
        photo.image.thumbnail((MAX_PIXELS, MAX_PIXELS))
        predictions = html(
            "classify/predictions",
            predictions=row.first(5).predictions,
            milliseconds=None,
            notes=photo.notes,
            name=row.path,
            model=self._jobs.title(job),
            unfamiliar=row.unfamiliar,
            percent=percent,
        )
        return Html(html("classify/gallery_detail", uri=data_uri(photo.image, "JPEG"), predictions=predictions, row=row))

    @page_route()
    def download(self, asked: Download, caller: Caller) -> File:
        """Write the predictions of all rows to a file."""
        from vitdemo.classify.files import WRITERS, write_rows

        job = self._jobs.get(asked.gallery)
        if f".{asked.kind}" not in WRITERS or not job.model_name:
            raise UserError("There is nothing to download here yet.")
        path = job.folder / f"predictions.{asked.kind}"
        write_rows([row.first(5) for row in job.rows], path, job.model_name)
        return File(str(path))


def _row(row, job: ClassifyJob) -> dict:
    answer = {"path": shown_path(row.path), "folder": row.folder}
    if row.error:
        return answer | {"error": row.error}
    best = row.predictions[0]
    return answer | {
        "index": best.label.index,
        "label": best.label.short,
        "probability": best.probability,
        "percent": percent(best.probability),
        "right": job.right(row),
        "duplicate": row.duplicate_of,
        "unfamiliar": bool(row.unfamiliar),
        "thumbnail": base64.b64encode(row.thumbnail).decode(),
    }


def _scores(job: ClassifyJob) -> str | None:
    """Accuracy and confusion matrix as HTML; None for a gallery without scores."""
    if job.scores is None or job.class_names is None:
        return None
    classes = {folder: sorted(job.class_names.meant(folder)) for folder in job.scores.folders}
    return html("classify/scores", scores=job.scores, classes=classes, percent=percent)
