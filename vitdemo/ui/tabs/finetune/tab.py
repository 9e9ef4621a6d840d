"""The Fine-tune tab: photos in folders, a look at them, Start, and a model that knows them.

The page's script uploads the photos, asks how far things are, and draws the curves. What holds a visitor's words comes from templates,
which escape them.
"""

import base64
import secrets
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gradio as gr

from vitdemo.core.config import ASSETS
from vitdemo.core.errors import UserError
from vitdemo.core.outputs import read_json
from vitdemo.core.store import ModelStore
from vitdemo.finetune.elsewhere import CONFIG_NAME, Elsewhere, elsewhere
from vitdemo.finetune.recipe import PRESETS, Recipe
from vitdemo.ui import giving, model_header
from vitdemo.ui.callers import caller_of
from vitdemo.ui.finetune_lesson import Lesson, changes_of, samples_of
from vitdemo.ui.finetune_runs import Lessons
from vitdemo.ui.guard import answering, sentence, told, without_paths
from vitdemo.ui.model_header import ModelHeader
from vitdemo.ui.render import WEB, html, percent
from vitdemo.ui.served import scratch

NAME = "finetune"  # of the tab
EXAMPLE = ASSETS / "examples" / "unseen"
SHOWN = 6  # thumbnails of a class
NOTHING_YET = "There is no model yet: start, and wait for the first epoch."
CELL = 60  # photos of a cell of the confusion matrix


def build(store: ModelStore, header: ModelHeader, lessons: Lessons) -> None:
    """Lay out the tab and wire it."""
    settings = store.settings
    panel = gr.HTML(
        {"limits": giving.limits(settings, "finetune")},
        html_template=html("finetune", presets=PRESETS, switches=_switches()),
        js_on_load="\n".join((WEB / name).read_text("utf-8") for name in ("upload.js", "finetune.js")),
        apply_default_css=False,
        elem_id="finetune",
        server_functions=[
            _give(lessons),
            _poll(lessons),
            _rename(lessons),
            _stop(lessons),
            _cell(lessons),
            _looks(lessons),
            _download(lessons),
        ],
    )
    quiet = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}

    def start(model: str, request: gr.Request, event: gr.EventData) -> dict:
        """Learn from the photos with what is chosen. Answers that it has begun, or what is wrong."""
        asked = told(event)
        try:
            preset = PRESETS.get(asked.get("preset"), PRESETS["quick"])
            given = asked.get("recipe")
            given = given if isinstance(given, dict) else {}
            recipe = Recipe.read(given, preset.recipe, title="“{}”")
            lesson = lessons.get(asked.get("lesson"))
            lessons.start(lesson, model, recipe, caller_of(request))
            lesson.asked = {"preset": next(name for name, each in PRESETS.items() if each is preset), "recipe": given}
            return {"begun": True, "request": asked.get("request")}
        except Exception as error:
            return {"error": sentence(error), "request": asked.get("request")}

    async def use(request: gr.Request, event: gr.EventData):
        """Make the result the visitor's model in every tab."""
        try:
            lesson = lessons.get(told(event).get("lesson"))
            report = _report(lesson)
            if report is None:
                raise UserError(NOTHING_YET)
            name = f"own:{secrets.token_urlsafe(18)}"
            store.add(name, lesson.result)
        except Exception as error:
            yield gr.skip(), gr.skip(), {"error": sentence(error), "request": told(event).get("request")}
            return
        title = f"Your model · {len(report['classes'])} classes · {report['accuracy']:.0%} right"
        chosen = gr.update(choices=[(title, name), *model_header.choices(store.settings.model)], value=name)
        yield chosen, gr.skip(), gr.skip()
        async for _, _, status in model_header.watch(store, name, request.session_hash or ""):
            yield gr.skip(), status, gr.skip()
        yield gr.skip(), gr.skip(), {"used": True, "request": told(event).get("request")}

    panel.upload(start, header.picker, panel, trigger_mode="multiple", queue=False, **quiet)
    panel.select(use, None, [header.picker, header.status, panel], trigger_mode="multiple", concurrency_limit=None, **quiet)


def _switches() -> list[dict]:
    """The recipe's fields, as the template draws them."""
    return [
        {
            "name": each.name,
            "title": each.name.replace("_", " "),
            "meaning": each.metadata["meaning"],
            "words": getattr(each.metadata["parse"], "words", None) or (("1", "0") if isinstance(each.default, bool) else None),
            "values": {name: _plain(getattr(preset.recipe, each.name)) for name, preset in PRESETS.items()},
        }
        for each in fields(Recipe)
    ]


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _give(lessons: Lessons):
    def give(asked: dict) -> dict:
        """Take uploaded photos, or the bundled ones. Answers the lesson's id."""
        from vitdemo.core.gallery import find_items, uploaded_items

        if asked.get("files") == "examples":
            items = [replace(item, name=item.path.relative_to(EXAMPLE).as_posix()) for item in find_items([EXAMPLE])]
        else:
            items = uploaded_items(giving.uploads_of(asked.get("files")), lessons.settings, command="finetune")
        return {"lesson": lessons.give(items).id}

    return answering(give)


def _poll(lessons: Lessons):
    def poll(asked: dict) -> dict:
        """How far a lesson is: the photos looked through, then the data, the job and its events from number `start` on."""
        lesson = lessons.get(asked.get("lesson"))
        told: dict[str, Any] = {"state": lesson.state, "read": len(lesson.read), "photos": len(lesson.items), "text": lesson.error}
        if lesson.state == "ready" and asked.get("data"):
            told |= {"data": _data(lesson), "asked": lesson.asked}
        if job := lesson.job:
            state = job.state  # before the events are read, so that none is missed at the end
            start = asked.get("start") if isinstance(asked.get("start"), int) else 0
            events = job.events(max(0, start))
            guesses = [event.pop("guesses") for event in events if "guesses" in event][-1:]
            told |= {"job": state, "place": lessons.jobs.place(job), "error": without_paths(job.error), "events": events}
            told["guesses"] = [row | {"uri": _thumbnail(lesson, row)} for rows in guesses for row in rows]
            if job.over and (report := _report(lesson)):
                told["report"] = _report_html(lesson, report)
        return told

    return answering(poll)


def _data(lesson: Lesson) -> str:
    """The classes with counts and thumbnails, or why they won't do, as HTML."""
    number = {id(item): index for index, item in enumerate(lesson.items)}
    try:
        data = lesson.data()
    except UserError as error:
        return html("finetune_data", classes=[], notes=[], error=str(error), totals={}, names=sorted(set(_labels(lesson))))
    counts = data.counts()
    classes = [
        {
            "label": label,
            "counts": counts[label],
            "photos": sum(counts[label].values()),
            "thumbnails": [_uri(lesson.read[number[id(each.item)]][1]) for each in samples[:SHOWN]],
        }
        for label, samples in sorted(samples_of(data).items())
    ]
    totals = {split: sum(each[split] for each in counts.values()) for split in ("train", "validation", "test")}
    return html("finetune_data", classes=classes, notes=data.notes, error="", totals=totals, names=[])


def _labels(lesson: Lesson) -> list[str]:
    """The classes by name where they can't be settled."""
    try:
        return [each.label for each in lesson.samples()[0]]
    except UserError:
        return []


def _rename(lessons: Lessons):
    def rename(asked: dict) -> dict:
        """Other names for classes; an empty one leaves the class out, another's merges them. No names at all undo everything."""
        lesson = lessons.get(asked.get("lesson"))
        if lesson.job and not lesson.job.over:
            raise UserError("Classes can't change while they are being learned: stop it first.")
        names = asked.get("names")
        lesson.changes = changes_of(names, lesson.changes) if names else {}
        return {}

    return answering(rename)


def _stop(lessons: Lessons):
    def stop(asked: dict) -> dict:
        """End, and keep the best weights so far."""
        if job := lessons.get(asked.get("lesson")).job:
            lessons.jobs.stop(job)
        return {}

    return answering(stop)


def _report(lesson: Lesson) -> dict | None:
    """What report.json says of the job that has ended; None where there is none."""
    path = lesson.result / "report.json"
    return read_json(path) if path.is_file() else None


def _is_stale(lesson: Lesson, report: dict) -> bool:
    """Whether the classes are others than those that were learned."""
    try:
        return list(lesson.data().classes) != report["classes"]
    except UserError:
        return True


def _report_html(lesson: Lesson, report: dict) -> str:
    worst = [report["photos"][index] | {"uri": _thumbnail(lesson, report["photos"][index])} for index in report["worst"]]
    blocks = report["recipe"]["unfreeze"] != "head"
    return html(
        "finetune_report",
        report=report,
        worst=worst,
        blocks=blocks,
        percent=percent,
        stopped=not report["finished"],
        stale=_is_stale(lesson, report),
        elsewhere=_elsewhere(lesson, report),
        config_name=CONFIG_NAME,
    )


def _elsewhere(lesson: Lesson, report: dict) -> Elsewhere:
    """The run's commands. A model that lies in a folder here goes by its name: that folder is nobody's business."""
    folder = lesson.model.startswith(("own:", "local-dir:"))
    recipe = Recipe.read(report["recipe"])
    return elsewhere(recipe, f"local-dir:{report['model']}" if folder else report["model"], lesson.changes)


def _cell(lessons: Lessons):
    def cell(asked: dict) -> dict:
        """The photos of one cell of the confusion matrix, as HTML."""
        lesson = lessons.get(asked.get("lesson"))
        report = _report(lesson) or {"photos": []}
        pair = (asked.get("label"), asked.get("taken"))
        found = [row for row in report["photos"] if (row["label"], row["taken"]) == pair]
        rows = [row | {"uri": _thumbnail(lesson, row)} for row in found[:CELL]]
        return {"html": html("finetune_cell", rows=rows, count=len(found), label=pair[0], taken=pair[1], percent=percent)}

    return answering(cell)


def _looks(lessons: Lessons):
    def looks(asked: dict) -> dict:
        """Attention before and after on one photo, as HTML."""
        from vitdemo.ui.finetune_attention import before_and_after

        lesson = lessons.get(asked.get("lesson"))
        if _report(lesson) is None:
            raise UserError(NOTHING_YET)
        name = f"own:{secrets.token_urlsafe(18)}"
        lessons.store.add(name, lesson.result)
        return {"html": before_and_after(lessons, lesson, name)}

    return answering(looks)


def _download(lessons: Lessons):
    def download(asked: dict) -> dict:
        """The path of a zip with the model in timm's layout, for Gradio to serve."""
        return {"path": str(pack(lessons, lessons.get(asked.get("lesson"))))}

    return answering(download)


def pack(lessons: Lessons, lesson: Lesson) -> Path:
    """A zip with config, weights and report. Raises: UserError where there is nothing to pack."""
    if _report(lesson) is None:
        raise UserError(NOTHING_YET)
    files = [lesson.result / name for name in ("config.json", "model.safetensors", "report.json")]
    path, coming = lesson.shelf / f"{lesson.result.name}.zip", sum(each.stat().st_size for each in files)
    try:
        path.parent.mkdir(exist_ok=True)
        with scratch(lessons.settings).promised(coming), zipfile.ZipFile(path, "w") as archive:
            for each in files:
                archive.write(each, f"{lesson.result.name}/{each.name}")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UserError(f"The download can't be made ({error.strerror}): try again in a few minutes.") from None
    return path


def _thumbnail(lesson: Lesson, row: dict) -> str:
    return _uri(lesson.read[lesson.number_of(row)][1])


def _uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
