"""What the Export tab's script asks of the server: photos to take, how far the work is, files to take away."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError
from vitdemo.core.models.catalogue import title_of
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.errors import errors_as_answer, named_partial
from vitdemo.ui.tabs.export.session import KINDS, ExportSession
from vitdemo.ui.tabs.export.sessions import ExportSessions
from vitdemo.ui.templating import html, percent

if TYPE_CHECKING:
    from vitdemo.export.report import Report

CHART_MIN, CHART_MAX = 1e-7, 10.0  # differences between logits that the chart has room for
FILE_TEXTS = {  # the bundle's files, for people
    "README.md": "how to run and serve it, which file goes where",
    "report.html": "the figures, as a page",
    "report.json": "the figures, for programs",
    "labels.json": "the classes, in the order of the logits",
    "preprocessing.json": "from a photo to the input: the numbers",
    "preprocess.py": "from a photo to the input: code without torch",
    "config.json": "architecture, preprocessing and classes, in timm's layout",
    "known_answer/photo.png": "a photo to try a new machine with",
    "known_answer/answer.json": "what the model takes it for",
    "known_answer/input.npy": "its input",
    "known_answer/output.npy": "its output",
    "server.py": "the FastAPI server",
    "kserve.yaml": "KServe's manifest",
    "ray_server.py": "the Ray Serve server",
}


def functions(sessions: ExportSessions) -> list[Callable]:
    """For gr.HTML's `server_functions`: each takes one object, and answers {error} for what goes wrong."""
    return [errors_as_answer(named_partial(each, sessions)) for each in (_give, _take_back, _poll, _stop, _download)]


def _give(sessions: ExportSessions, asked: dict) -> dict:
    """Take uploaded photos. Answers the export's id, and what there is of them."""
    from vitdemo.core.photos.gallery import uploaded_items

    items = uploaded_items(gallery_upload.uploads_of(asked.get("files")), sessions.settings, command="export")
    session = sessions.get(asked["export"]) if asked.get("export") else sessions.begin()
    sessions.give(session, _kind(asked), items)
    return {"export": session.id, "given": _given(session)}


def _take_back(sessions: ExportSessions, asked: dict) -> dict:
    """Forget photos that were given."""
    session = sessions.get(asked.get("export"))
    sessions.take_back(session, _kind(asked))
    return {"given": _given(session)}


def _kind(asked: dict) -> str:
    if str(asked.get("kind")) not in KINDS:
        raise UserError("Say what the photos are for.")
    return asked["kind"]


def _given(session: ExportSession) -> dict:
    return {kind: asdict(each) for kind, each in session.given.items()}


def _poll(sessions: ExportSessions, asked: dict) -> dict:
    """How far an export is: its job, what that told from event number `start` on, and the report once it is done."""
    session = sessions.get(asked.get("export"))
    told = {"given": _given(session), "plan": asdict(session.plan) if session.plan else None, "state": ""}
    if job := session.job:
        told |= {"state": job.state, "place": sessions.jobs.place(job)}  # before the events, so that none is missed at the end
        start = asked.get("start") if isinstance(asked.get("start"), int) else 0
        told |= {"events": job.events(max(0, start)), "error": session.error}
        if session.done:
            told["report"] = _report(session)
    return told


def _stop(sessions: ExportSessions, asked: dict) -> dict:
    """End it; nothing is kept."""
    if job := sessions.get(asked.get("export")).job:
        sessions.jobs.stop(job)
    return {}


def _download(sessions: ExportSessions, asked: dict) -> dict:
    """The path of a file of the bundle, or of a zip of all, for Gradio to serve."""
    session = sessions.get(asked.get("export"))
    name = asked.get("file")
    return {"path": str(sessions.pack(session) if name is None else sessions.take(session, str(name)))}


def _report(session: ExportSession) -> str:
    """What was measured, as HTML."""
    from vitdemo.export.bundle import DRAWINGS
    from vitdemo.export.report import Report

    report, files = Report.read(session.bundle), session.files()
    base = next((row for row in report.rows if row.name == "fp32"), report.shipped)
    return html(
        "export/report",
        report=report,
        model=title_of(report.model),
        session=session,
        base=base,
        own=report.photos != DRAWINGS,
        given=session.given.get("photos"),
        bars=_bars(report, base),
        files=[(name, size_words(size), FILE_TEXTS.get(name, "the model" if name == report.plan.file else "")) for name, size in files],
        whole=size_words(sum(size for _, size in files)),
        words=number_words,
        percent=percent,
    )


def _bars(report: "Report", base) -> list[dict]:
    """The chart: groups of bars, each with its length as a share of the room there is."""
    mine, torch = report.shipped, f"torch, {report.device}"
    answers = "logits" if mine.agreement.top5 is not None else "features"
    sides = [("exported", mine)] + [("fp32, ONNX", base)] * (base is not mine)
    groups = [
        {
            "title": f"Same {'first class' if answers == 'logits' else 'features'} as the original",
            "bars": [(name, row.agreement.agreement, percent(row.agreement.agreement), row is mine) for name, row in sides],
        },
        {
            "title": f"Largest difference of {answers}, log scale",
            "bars": [(name, _decades(row.agreement.largest), number_words(row.agreement.largest), row is mine) for name, row in sides],
        },
    ]
    for batch, before in report.torch_seconds.items():
        times = [(name, row.seconds[batch], row is mine) for name, row in sides] + [(torch, before, False)]
        longest = max(seconds for _, seconds, _ in times)
        bars = [(name, seconds / longest, f"{1e3 * seconds:.1f} ms", ours) for name, seconds, ours in times]
        groups.append({"title": f"Time for {batch} photo{'s' * (batch > 1)}", "bars": bars})
    sizes = [(name, row.bytes, row is mine) for name, row in sides]
    sizes += [("fp32 weights", 4 * report.parameters, False)] * (base is mine)
    largest = max(size for _, size, _ in sizes)
    groups.append({"title": "Size", "bars": [(name, size / largest, size_words(size), ours) for name, size, ours in sizes]})
    return groups


def _decades(difference: float) -> float:
    """A difference on a logarithmic scale, 0 … 1."""
    return min(1.0, max(0.0, math.log10(max(difference, CHART_MIN) / CHART_MIN) / math.log10(CHART_MAX / CHART_MIN)))


def number_words(value: float) -> str:
    """A small number for people: 0.00031, 3.1e-06."""
    return "0" if value == 0 else f"{value:.2g}"


def size_words(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} KB" if size >= 1e3 else f"{size:.0f} bytes"
