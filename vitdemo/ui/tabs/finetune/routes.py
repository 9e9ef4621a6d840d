"""Server functions that the Fine-tune tab's script calls: upload photos, poll progress, rename classes, inspect the result."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vitdemo.core.config import ASSETS
from vitdemo.core.errors import UserError
from vitdemo.finetune.launch_commands import CONFIG_NAME, LaunchCommands, launch_commands
from vitdemo.finetune.recipe import Recipe
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.errors import errors_as_answer, named_partial, without_paths
from vitdemo.ui.tabs.finetune.downloads import NOTHING_YET, pack, report_of
from vitdemo.ui.tabs.finetune.session import FinetuneSession, changes_of, samples_of
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions
from vitdemo.ui.templating import html, percent

SAMPLE_CLASSES = ASSETS / "examples" / "unseen"
CLASS_THUMBNAILS = 6  # shown per class
MAX_CELL_PHOTOS = 60  # shown per cell of the confusion matrix


def functions(sessions: FinetuneSessions) -> list[Callable]:
    """The functions for gr.HTML's `server_functions`. Each takes one object, and returns {error} where it fails."""
    handlers = (_give, _poll, _rename, _stop, _cell, _looks, _download)
    return [errors_as_answer(named_partial(handler, sessions)) for handler in handlers]


def _give(sessions: FinetuneSessions, payload: dict) -> dict:
    """Start a session with uploaded photos, or with the bundled sample images. Returns: the session's id."""
    from vitdemo.core.photos.gallery import find_items, uploaded_items

    if payload.get("files") == "examples":
        items = [replace(item, name=item.path.relative_to(SAMPLE_CLASSES).as_posix()) for item in find_items([SAMPLE_CLASSES])]
    else:
        items = uploaded_items(gallery_upload.uploads_of(payload.get("files")), sessions.settings, command="finetune")
    return {"lesson": sessions.create(items).id}


def _poll(sessions: FinetuneSessions, payload: dict) -> dict:
    """The status of a session: the photos read so far, then the data, the job, and the job's events from number `start` on."""
    session = sessions.get(payload.get("lesson"))
    status: dict[str, Any] = {"state": session.state, "read": len(session.read), "photos": len(session.items), "text": session.error}
    if session.state == "ready" and payload.get("data"):
        status |= {"data": _data(session), "asked": session.asked}
    if job := session.job:
        state = job.state  # read before the events, so that the final status has all events
        start = payload.get("start")
        events = job.events(max(0, start if isinstance(start, int) else 0))
        guesses = [event.pop("guesses") for event in events if "guesses" in event][-1:]
        status |= {"job": state, "place": sessions.jobs.place(job), "error": without_paths(job.error), "events": events}
        status["guesses"] = [row | {"uri": _thumbnail(session, row)} for rows in guesses for row in rows]
        if job.over and (report := report_of(session)):
            status["report"] = _report_html(session, report)
    return status


def _data(session: FinetuneSession) -> str:
    """The classes with counts and thumbnails as HTML, or the reason why fine-tuning can't use them."""
    number_of_item = {id(item): index for index, item in enumerate(session.items)}
    try:
        data = session.data()
    except UserError as error:
        return html("finetune/data", classes=[], notes=[], error=str(error), totals={}, names=sorted(set(_labels(session))))
    counts = data.counts()
    classes = [
        {
            "label": label,
            "counts": counts[label],
            "photos": sum(counts[label].values()),
            "thumbnails": [_uri(session.read[number_of_item[id(sample.item)]][1]) for sample in samples[:CLASS_THUMBNAILS]],
        }
        for label, samples in sorted(samples_of(data).items())
    ]
    totals = {split: sum(class_counts[split] for class_counts in counts.values()) for split in ("train", "validation", "test")}
    return html("finetune/data", classes=classes, notes=data.notes, error="", totals=totals, names=[])


def _labels(session: FinetuneSession) -> list[str]:
    """The class of each photo, for data that fine-tuning can't use; empty for fewer than two classes."""
    try:
        return [sample.label for sample in session.samples()[0]]
    except UserError:
        return []


def _rename(sessions: FinetuneSessions, payload: dict) -> dict:
    """Rename classes: an empty name excludes a class, another class's name merges both. No names at all reset all names."""
    session = sessions.get(payload.get("lesson"))
    if session.job and not session.job.over:
        raise UserError("Classes can't change while they are being learned: stop it first.")
    names = payload.get("names")
    session.changes = changes_of(names, session.changes) if names else {}
    return {}


def _stop(sessions: FinetuneSessions, payload: dict) -> dict:
    """Stop the job and keep the best weights so far."""
    if job := sessions.get(payload.get("lesson")).job:
        sessions.jobs.stop(job)
    return {}


def _is_stale(session: FinetuneSession, report: dict) -> bool:
    """Whether the classes have changed since the fine-tuning."""
    try:
        return list(session.data().classes) != report["classes"]
    except UserError:
        return True


def _report_html(session: FinetuneSession, report: dict) -> str:
    worst = [report["photos"][index] | {"uri": _thumbnail(session, report["photos"][index])} for index in report["worst"]]
    blocks = report["recipe"]["unfreeze"] != "head"
    return html(
        "finetune/report",
        report=report,
        worst=worst,
        blocks=blocks,
        percent=percent,
        stopped=not report["finished"],
        stale=_is_stale(session, report),
        launch_commands=_launch_commands(session, report),
        config_name=CONFIG_NAME,
    )


def _launch_commands(session: FinetuneSession, report: dict) -> LaunchCommands:
    """The commands that repeat the fine-tuning elsewhere. A model in a server folder is given by its name, to hide the folder's path."""
    is_folder = session.model.startswith(("own:", "local-dir:"))
    recipe = Recipe.read(report["recipe"])
    return launch_commands(recipe, f"local-dir:{report['model']}" if is_folder else report["model"], session.changes)


def _cell(sessions: FinetuneSessions, payload: dict) -> dict:
    """The photos of one cell of the confusion matrix, as HTML."""
    session = sessions.get(payload.get("lesson"))
    report = report_of(session) or {"photos": []}
    pair = (payload.get("label"), payload.get("taken"))
    matches = [row for row in report["photos"] if (row["label"], row["taken"]) == pair]
    rows = [row | {"uri": _thumbnail(session, row)} for row in matches[:MAX_CELL_PHOTOS]]
    return {"html": html("finetune/cell", rows=rows, count=len(matches), label=pair[0], taken=pair[1], percent=percent)}


def _looks(sessions: FinetuneSessions, payload: dict) -> dict:
    """Compare attention before and after fine-tuning on one photo, as HTML."""
    from vitdemo.ui.tabs.finetune.compare_attention import before_and_after

    session = sessions.get(payload.get("lesson"))
    if report_of(session) is None:
        raise UserError(NOTHING_YET)
    name = f"own:{secrets.token_urlsafe(18)}"
    sessions.store.add(name, session.result)
    return {"html": before_and_after(sessions, session, name)}


def _download(sessions: FinetuneSessions, payload: dict) -> dict:
    """Write a zip of the model in timm's layout. Returns: the zip's path, which Gradio serves."""
    return {"path": str(pack(sessions, sessions.get(payload.get("lesson"))))}


def _thumbnail(session: FinetuneSession, row: dict) -> str:
    return _uri(session.read[session.number_of(row)][1])


def _uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
