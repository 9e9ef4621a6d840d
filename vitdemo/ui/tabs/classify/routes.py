"""The routes of Classify's “Many photos”: follow a gallery, open a photo, download the predictions."""

import base64

from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.core.names import shown_name, shown_path
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.components.gallery_upload import GalleryRoutes
from vitdemo.ui.server.page_routes import Caller, File, Html, page_route
from vitdemo.ui.sessions.gallery_job import FINAL_STATES
from vitdemo.ui.tabs.classify.messages import ClassifyStatus, Download, OfPhoto, PollGallery
from vitdemo.ui.tabs.classify.sessions import ClassifyJob
from vitdemo.ui.templating import data_uri, html

ROWS_PER_POLL = 400  # at most, in one answer
MAX_PIXELS = 480  # of the longer side of an opened photo


class ClassifyRoutes(GalleryRoutes):
    """What the panel's script may ask."""

    name = command = "classify"

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
        answer = ClassifyStatus(**vars(status), rows=[_row(row, job) for row in rows], scores=None)
        if complete:
            answer.scores, answer.conflicts = _scores(job), [number for number, row in enumerate(job.rows) if row.conflict]
        return answer

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
        conflict = " and ".join(map(job.title, row.conflict or ()))
        uri = data_uri(photo.image, "JPEG")
        return Html(html("classify/gallery_detail", uri=uri, predictions=predictions, row=row, truth=_truth(row), conflict=conflict))

    @page_route()
    def download(self, asked: Download, caller: Caller) -> File:
        """Write the predictions of all rows, or of the selected ones in their order, to a file."""
        from vitdemo.classify.files import WRITERS, write_rows

        job = self._jobs.get(asked.gallery)
        if f".{asked.kind}" not in WRITERS or not job.model_name:
            raise UserError("There is nothing to download here yet.")
        numbers = range(len(job.rows)) if asked.rows is None else asked.rows
        if not all(type(number) is int and 0 <= number < len(job.rows) for number in numbers) or not 0 < len(numbers) <= len(job.rows):
            raise UserError("No photo fits this filter: choose another one, then download.")
        for old in job.folder.glob(f"*.{asked.kind}"):
            old.unlink(missing_ok=True)  # one file of a kind, whatever filters are asked for
        path = job.folder / f"{job.file_name(self._jobs.title(job), str(asked.filter), 'predictions')}.{asked.kind}"
        write_rows([job.rows[number].first(5) for number in numbers], path, job.model_name)
        return File(str(path), path.name)


def _row(row, job: ClassifyJob) -> dict:
    answer = {"path": shown_path(row.path), "folder": row.folder, "title": shown_name(job.title(row.folder)) if row.folder else ""}
    if row.error:
        return answer | {"error": row.error}
    best = row.predictions[0] if row.predictions else None
    return answer | {
        "index": best.label.index if best else -1,
        "label": best.label.short if best else "none of its classes",
        "probability": best.probability if best else 0,
        "percent": percent(best.probability) if best else "refused",
        "right": row.correct,
        "truth": _truth(row),
        "id": row.sha256,
        "duplicate": row.duplicate_of,
        "conflict": bool(row.conflict),
        "unfamiliar": bool(row.unfamiliar),
        "thumbnail": base64.b64encode(row.thumbnail).decode(),
    }


def _scores(job: ClassifyJob) -> str | None:
    """Accuracy and confusion matrix as HTML; None for a gallery without scores."""
    from vitdemo.classify.scores import left_out

    said = left_out(job.rows)
    if job.scores is None and not said:
        return None
    return html("classify/scores", scores=job.scores, title=job.title, left_out=said, percent=percent)


def _truth(row) -> str:
    """The short name of the class that the row's folder names."""
    return " or ".join(dict.fromkeys(label.short for label in row.meant))
