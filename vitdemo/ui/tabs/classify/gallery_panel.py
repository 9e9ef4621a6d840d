"""Classify many photos: files, a folder or a zip become a table that can be sorted, filtered, opened and downloaded.

The page's script polls for new rows while the gallery runs, and draws the table.
"""

import base64

from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.components.model_picker import ModelPicker
from vitdemo.ui.sessions.gallery_job import FINAL_STATES
from vitdemo.ui.tabs.classify.sessions import ClassifyJob, ClassifyJobs
from vitdemo.ui.templating import data_uri, html, percent, static_text

ROWS_PER_POLL = 400  # at most, in one answer
MAX_PIXELS = 480  # of the longer side of an opened photo


def build(store: ModelStore, header: ModelPicker, jobs: ClassifyJobs) -> None:
    """Lay out the panel and wire it."""
    gallery_upload.build(
        "gallery",
        store,
        header,
        lead="Folders named like classes give accuracy as well.",
        command="classify",
        markup=static_text("classify/gallery.html"),
        scripts=["classify/gallery.js"],
        functions=[_poll(jobs), _stop(jobs), _detail(jobs), _download(jobs)],
        start=jobs.start,
        attach=jobs.attach,
    )


def _poll(jobs: ClassifyJobs):
    def poll(payload: dict) -> dict:
        """A gallery's progress, and its rows from number `start` on."""
        job = jobs.get(payload.get("run"))
        state = job.state  # read before the rows are counted, so that no row is missed at the end
        over = state in FINAL_STATES
        start = payload.get("start")
        start = start if isinstance(start, int) else 0
        rows = job.rows[max(0, start) : max(0, start) + ROWS_PER_POLL]
        done = max(0, start) + len(rows)
        return {
            "state": state if not over or done == len(job.rows) else "running",
            "text": job.error or jobs.status_text(job),
            "model": jobs.title(job),
            "total": len(job.items),
            "done": job.done,
            "wrong": sum(row.error is not None for row in job.rows),
            "speed": job.speed,
            "rows": [_row(row, job) for row in rows],
            "scores": _scores(job) if over and done == len(job.rows) else None,
        }

    return poll


def _row(row, job: ClassifyJob) -> dict:
    answer = {"path": row.path, "folder": row.folder}
    if row.error:
        return answer | {"error": row.error}
    best = row.predictions[0]
    return answer | {
        "index": best.label.index,
        "label": best.label.name.split(",")[0],
        "probability": best.probability,
        "percent": percent(best.probability),
        "right": job.right(row),
        "duplicate": row.duplicate_of,
        "unfamiliar": bool(row.unfamiliar),
        "thumbnail": base64.b64encode(row.thumbnail).decode(),
    }


def _scores(job: ClassifyJob) -> str | None:
    """Accuracy and confusion matrix as HTML; None for a gallery without scores."""
    if job.scores is None:
        return None
    from vitdemo.core.models.labels import normalise_name

    classes = {folder: sorted(job.named[normalise_name(folder)]) for folder in job.scores.folders}
    return html("classify/scores", scores=job.scores, classes=classes, percent=percent)


def _stop(jobs: ClassifyJobs):
    def stop(payload: dict) -> dict:
        """Stop a gallery; its finished rows stay."""
        jobs.get(payload.get("run")).stopping.set()
        return {}

    return stop


def _detail(jobs: ClassifyJobs):
    def detail(payload: dict) -> dict:
        """One photo at a readable size with its top classes, as HTML."""
        from vitdemo.core.photos.photo import decode

        job, index = jobs.get(payload.get("run")), payload.get("index")
        if not isinstance(index, int) or not 0 <= index < len(job.rows) or job.rows[index].error:
            raise UserError("There is no such photo in this gallery.")
        row, item, settings = job.rows[index], job.items[index], jobs.settings
        photo = decode(item.read(settings), item.shown, settings, id=row.sha256)
        photo.image.thumbnail((MAX_PIXELS, MAX_PIXELS))
        predictions = html(
            "classify/predictions",
            predictions=row.first(5).predictions,
            milliseconds=None,
            notes=photo.notes,
            name=row.path,
            model=jobs.title(job),
            unfamiliar=row.unfamiliar,
            percent=percent,
        )
        return {"html": html("classify/gallery_detail", uri=data_uri(photo.image, "JPEG"), predictions=predictions, row=row)}

    return detail


def _download(jobs: ClassifyJobs):
    def download(payload: dict) -> dict:
        """Write the predictions of all rows to a file that Gradio serves. Returns: its path."""
        from vitdemo.classify.files import WRITERS, write_rows

        job, kind = jobs.get(payload.get("run")), payload.get("kind")
        if f".{kind}" not in WRITERS or not job.model_name:
            raise UserError("There is nothing to download here yet.")
        path = job.folder / f"predictions.{kind}"
        write_rows([row.first(5) for row in job.rows], path, job.model_name)
        return {"path": str(path)}

    return download
