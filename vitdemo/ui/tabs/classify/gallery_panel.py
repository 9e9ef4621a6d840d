"""Many photos at once: files, a folder or a zip in, a table out that can be sorted, filtered, opened and taken away.

The page's script asks for new rows while the gallery runs, and draws the table.
"""

import base64

from vitdemo.core.errors import UserError
from vitdemo.core.store import ModelStore
from vitdemo.ui import giving
from vitdemo.ui.gallery_runs import GalleryRun, GalleryRuns
from vitdemo.ui.model_header import ModelHeader
from vitdemo.ui.render import WEB, data_uri, html, percent
from vitdemo.ui.run import OVER

PART = 400  # rows sent at a time
LONGEST = 480  # pixels of an opened photo's longer side


def build(store: ModelStore, header: ModelHeader, runs: GalleryRuns) -> None:
    """Lay out the panel and wire it."""
    giving.build(
        "gallery",
        store,
        header,
        lead="Folders named like classes give accuracy as well.",
        command="classify",
        markup=(WEB / "gallery.html").read_text("utf-8"),
        scripts=["gallery.js"],
        functions=[_poll(runs), _stop(runs), _detail(runs), _download(runs)],
        start=runs.start,
        attach=runs.attach,
    )


def _poll(runs: GalleryRuns):
    def poll(asked: dict) -> dict:
        """How far a gallery is, and its rows from number `start` on."""
        run = runs.get(asked.get("run"))
        state = run.state  # before the rows are counted, so that none is missed at the end
        over = state in OVER
        start = asked.get("start") if isinstance(asked.get("start"), int) else 0
        rows = run.rows[max(0, start) : max(0, start) + PART]
        done = max(0, start) + len(rows)
        return {
            "state": state if not over or done == len(run.rows) else "running",
            "text": run.error or runs.said(run),
            "model": runs.title(run),
            "total": len(run.items),
            "done": run.done,
            "wrong": sum(row.error is not None for row in run.rows),
            "speed": run.speed,
            "rows": [_row(row, run) for row in rows],
            "scores": _scores(run) if over and done == len(run.rows) else None,
        }

    return poll


def _row(row, run: GalleryRun) -> dict:
    answer = {"path": row.path, "folder": row.folder}
    if row.error:
        return answer | {"error": row.error}
    best = row.predictions[0]
    return answer | {
        "index": best.label.index,
        "label": best.label.name.split(",")[0],
        "probability": best.probability,
        "percent": percent(best.probability),
        "right": run.right(row),
        "duplicate": row.duplicate_of,
        "unfamiliar": bool(row.unfamiliar),
        "thumbnail": base64.b64encode(row.thumbnail).decode(),
    }


def _scores(run: GalleryRun) -> str | None:
    """Accuracy and confusion as HTML."""
    if run.scores is None:
        return None
    from vitdemo.core.labels import plain

    classes = {folder: sorted(run.named[plain(folder)]) for folder in run.scores.folders}
    return html("scores", scores=run.scores, classes=classes, percent=percent)


def _stop(runs: GalleryRuns):
    def stop(asked: dict) -> dict:
        """Keep what is done and do no more."""
        runs.get(asked.get("run")).stopping.set()
        return {}

    return stop


def _detail(runs: GalleryRuns):
    def detail(asked: dict) -> dict:
        """One photo at a readable size with all its classes, as HTML."""
        from vitdemo.core.photos import decode

        run, index = runs.get(asked.get("run")), asked.get("index")
        if not isinstance(index, int) or not 0 <= index < len(run.rows) or run.rows[index].error:
            raise UserError("There is no such photo in this gallery.")
        row, item, settings = run.rows[index], run.items[index], runs.settings
        photo = decode(item.read(settings), item.shown, settings, id=row.sha256)
        photo.image.thumbnail((LONGEST, LONGEST))
        predictions = html(
            "predictions",
            predictions=row.predictions[:5],
            milliseconds=None,
            notes=photo.notes,
            name=row.path,
            model=runs.title(run),
            unfamiliar=row.unfamiliar,
            percent=percent,
        )
        return {"html": html("gallery_detail", uri=data_uri(photo.image, "JPEG"), predictions=predictions, row=row)}

    return detail


def _download(runs: GalleryRuns):
    def download(asked: dict) -> dict:
        """The path of a file with the predictions of all rows, for Gradio to serve."""
        from vitdemo.classify.files import WRITERS, write_rows

        run, kind = runs.get(asked.get("run")), asked.get("kind")
        if f".{kind}" not in WRITERS or not run.titled:
            raise UserError("There is nothing to download here yet.")
        path = run.folder / f"predictions.{kind}"
        write_rows([row.first(5) for row in run.rows], path, run.titled)
        return {"path": str(path)}

    return download
