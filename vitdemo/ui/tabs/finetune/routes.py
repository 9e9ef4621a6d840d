"""What the Fine-tune tab's script asks of the server: photos to take in, progress, new names for classes, the result to look into."""

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
CLASS_THUMBNAILS = 6  # shown of a class
MAX_CELL_PHOTOS = 60  # of a cell of the confusion matrix


def functions(sessions: FinetuneSessions) -> list[Callable]:
    """For gr.HTML's `server_functions`: each takes one object, and answers {error} for what goes wrong."""
    asked = (_give, _poll, _rename, _stop, _cell, _looks, _download)
    return [errors_as_answer(named_partial(each, sessions)) for each in asked]


def _give(sessions: FinetuneSessions, asked: dict) -> dict:
    """Take uploaded photos, or the bundled ones. Answers the lesson's id."""
    from vitdemo.core.photos.gallery import find_items, uploaded_items

    if asked.get("files") == "examples":
        items = [replace(item, name=item.path.relative_to(SAMPLE_CLASSES).as_posix()) for item in find_items([SAMPLE_CLASSES])]
    else:
        items = uploaded_items(gallery_upload.uploads_of(asked.get("files")), sessions.settings, command="finetune")
    return {"lesson": sessions.give(items).id}


def _poll(sessions: FinetuneSessions, asked: dict) -> dict:
    """How far a lesson is: the photos looked through, then the data, the job and its events from number `start` on."""
    session = sessions.get(asked.get("lesson"))
    told: dict[str, Any] = {"state": session.state, "read": len(session.read), "photos": len(session.items), "text": session.error}
    if session.state == "ready" and asked.get("data"):
        told |= {"data": _data(session), "asked": session.asked}
    if job := session.job:
        state = job.state  # before the events are read, so that none is missed at the end
        start = asked.get("start") if isinstance(asked.get("start"), int) else 0
        events = job.events(max(0, start))
        guesses = [event.pop("guesses") for event in events if "guesses" in event][-1:]
        told |= {"job": state, "place": sessions.jobs.place(job), "error": without_paths(job.error), "events": events}
        told["guesses"] = [row | {"uri": _thumbnail(session, row)} for rows in guesses for row in rows]
        if job.over and (report := report_of(session)):
            told["report"] = _report_html(session, report)
    return told


def _data(session: FinetuneSession) -> str:
    """The classes with counts and thumbnails, or why they won't do, as HTML."""
    number = {id(item): index for index, item in enumerate(session.items)}
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
            "thumbnails": [_uri(session.read[number[id(each.item)]][1]) for each in samples[:CLASS_THUMBNAILS]],
        }
        for label, samples in sorted(samples_of(data).items())
    ]
    totals = {split: sum(each[split] for each in counts.values()) for split in ("train", "validation", "test")}
    return html("finetune/data", classes=classes, notes=data.notes, error="", totals=totals, names=[])


def _labels(session: FinetuneSession) -> list[str]:
    """The classes by name where they can't be settled."""
    try:
        return [each.label for each in session.samples()[0]]
    except UserError:
        return []


def _rename(sessions: FinetuneSessions, asked: dict) -> dict:
    """Other names for classes; an empty one leaves the class out, another's merges them. No names at all undo everything."""
    session = sessions.get(asked.get("lesson"))
    if session.job and not session.job.over:
        raise UserError("Classes can't change while they are being learned: stop it first.")
    names = asked.get("names")
    session.changes = changes_of(names, session.changes) if names else {}
    return {}


def _stop(sessions: FinetuneSessions, asked: dict) -> dict:
    """End, and keep the best weights so far."""
    if job := sessions.get(asked.get("lesson")).job:
        sessions.jobs.stop(job)
    return {}


def _is_stale(session: FinetuneSession, report: dict) -> bool:
    """Whether the classes are others than those that were learned."""
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
        launch_commands=_elsewhere(session, report),
        config_name=CONFIG_NAME,
    )


def _elsewhere(session: FinetuneSession, report: dict) -> LaunchCommands:
    """The run's commands. A model that lies in a folder here goes by its name: that folder is nobody's business."""
    folder = session.model.startswith(("own:", "local-dir:"))
    recipe = Recipe.read(report["recipe"])
    return launch_commands(recipe, f"local-dir:{report['model']}" if folder else report["model"], session.changes)


def _cell(sessions: FinetuneSessions, asked: dict) -> dict:
    """The photos of one cell of the confusion matrix, as HTML."""
    session = sessions.get(asked.get("lesson"))
    report = report_of(session) or {"photos": []}
    pair = (asked.get("label"), asked.get("taken"))
    found = [row for row in report["photos"] if (row["label"], row["taken"]) == pair]
    rows = [row | {"uri": _thumbnail(session, row)} for row in found[:MAX_CELL_PHOTOS]]
    return {"html": html("finetune/cell", rows=rows, count=len(found), label=pair[0], taken=pair[1], percent=percent)}


def _looks(sessions: FinetuneSessions, asked: dict) -> dict:
    """Attention before and after on one photo, as HTML."""
    from vitdemo.ui.tabs.finetune.compare_attention import before_and_after

    session = sessions.get(asked.get("lesson"))
    if report_of(session) is None:
        raise UserError(NOTHING_YET)
    name = f"own:{secrets.token_urlsafe(18)}"
    sessions.store.add(name, session.result)
    return {"html": before_and_after(sessions, session, name)}


def _download(sessions: FinetuneSessions, asked: dict) -> dict:
    """The path of a zip with the model in timm's layout, for Gradio to serve."""
    return {"path": str(pack(sessions, sessions.get(asked.get("lesson"))))}


def _thumbnail(session: FinetuneSession, row: dict) -> str:
    return _uri(session.read[session.number_of(row)][1])


def _uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
