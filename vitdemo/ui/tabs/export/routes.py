"""Server functions that the Export tab's script calls: upload photos, poll the status, download files."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vitdemo.core.errors import UserError
from vitdemo.core.models.catalogue import title_of
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.errors import errors_as_answer, named_partial
from vitdemo.ui.tabs.export.session import KINDS, ExportSession
from vitdemo.ui.tabs.export.sessions import ExportSessions
from vitdemo.ui.templating import html, percent

if TYPE_CHECKING:
    from vitdemo.export.report import Report

CHART_MIN, CHART_MAX = 1e-7, 10.0  # range of logit differences on the chart
FILE_TEXTS = {  # descriptions of the bundle's files
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
    """The functions for gr.HTML's `server_functions`. Each takes one object, and returns {error} where it fails."""
    return [errors_as_answer(named_partial(handler, sessions)) for handler in (_give, _take_back, _poll, _stop, _download)]


def _give(sessions: ExportSessions, payload: dict) -> dict:
    """Add uploaded photos to an export, or start an export with them. Returns: the export's id, and the counts of its photos."""
    from vitdemo.core.photos.gallery import uploaded_items

    items = uploaded_items(gallery_upload.uploads_of(payload.get("files")), sessions.settings, command="export")
    session = sessions.get(payload["export"]) if payload.get("export") else sessions.begin()
    sessions.add_photos(session, _kind(payload), items)
    return {"export": session.id, "given": _photo_counts(session)}


def _take_back(sessions: ExportSessions, payload: dict) -> dict:
    """Remove uploaded photos. Returns: the counts of the remaining photos."""
    session = sessions.get(payload.get("export"))
    sessions.remove_photos(session, _kind(payload))
    return {"given": _photo_counts(session)}


def _kind(payload: dict) -> str:
    """What the photos are for. Raises: UserError for an unknown kind."""
    if str(payload.get("kind")) not in KINDS:
        raise UserError("Say what the photos are for.")
    return payload["kind"]


def _photo_counts(session: ExportSession) -> dict:
    return {kind: asdict(photos) for kind, photos in session.given.items()}


def _poll(sessions: ExportSessions, payload: dict) -> dict:
    """The status of an export: its job, the job's events from number `start` on, and the report at the end."""
    session = sessions.get(payload.get("export"))
    plan = asdict(session.plan) if session.plan else None
    status: dict[str, Any] = {"given": _photo_counts(session), "plan": plan, "state": ""}
    if job := session.job:
        status |= {"state": job.state, "place": sessions.jobs.place(job)}  # read before the events, so that the final status has all events
        start = payload.get("start")
        status |= {"events": job.events(max(0, start if isinstance(start, int) else 0)), "error": session.error}
        if session.done:
            status["report"] = _report(session)
    return status


def _stop(sessions: ExportSessions, payload: dict) -> dict:
    """Stop the job; no files are kept."""
    if job := sessions.get(payload.get("export")).job:
        sessions.jobs.stop(job)
    return {}


def _download(sessions: ExportSessions, payload: dict) -> dict:
    """The path of a file of the bundle, or of a zip of the whole bundle, which Gradio serves."""
    session = sessions.get(payload.get("export"))
    name = payload.get("file")
    return {"path": str(sessions.pack(session) if name is None else sessions.take(session, str(name)))}


def _report(session: ExportSession) -> str:
    """The report as HTML."""
    from vitdemo.export.bundle import DRAWINGS
    from vitdemo.export.report import Report

    report, files = Report.read(session.bundle), session.files()
    base = next((row for row in report.rows if row.name == "fp32"), report.shipped)
    return html(
        "export/report",
        report=report,
        model=title_of(report.model),
        own=report.photos != DRAWINGS,
        given=session.given.get("photos"),
        bars=_bars(report, base),
        files=[(name, size_words(size), FILE_TEXTS.get(name, "the model" if name == report.plan.file else "")) for name, size in files],
        whole=size_words(sum(size for _, size in files)),
        words=number_words,
        percent=percent,
    )


def _bars(report: "Report", base) -> list[dict]:
    """The chart: groups of bars, each bar with its length as a share of the chart's width."""
    exported_row, original = report.shipped, f"torch, {report.device}"
    answers = "logits" if exported_row.agreement.top5 is not None else "features"
    sides = [("exported", exported_row)] + [("fp32, ONNX", base)] * (base is not exported_row)
    groups = [
        {
            "title": f"{'Top-1 agreement' if answers == 'logits' else 'Same features'}, with the original",
            "bars": [(name, row.agreement.agreement, percent(row.agreement.agreement), row is exported_row) for name, row in sides],
        },
        {
            "title": f"Max difference of {answers}, log scale",
            "bars": [
                (name, _decades(row.agreement.largest), number_words(row.agreement.largest), row is exported_row) for name, row in sides
            ],
        },
    ]
    for batch, original_seconds in report.torch_seconds.items():
        times = [(name, row.seconds[batch], row is exported_row) for name, row in sides] + [(original, original_seconds, False)]
        longest = max(seconds for _, seconds, _ in times)
        bars = [(name, seconds / longest, f"{1e3 * seconds:.1f} ms", is_exported) for name, seconds, is_exported in times]
        groups.append({"title": f"Time for {batch} photo{'s' * (batch > 1)}", "bars": bars})
    sizes = [(name, row.bytes, row is exported_row) for name, row in sides]
    sizes += [("fp32 weights", 4 * report.parameters, False)] * (base is exported_row)
    largest = max(size for _, size, _ in sizes)
    groups.append({"title": "Size", "bars": [(name, size / largest, size_words(size), is_exported) for name, size, is_exported in sizes]})
    return groups


def _decades(difference: float) -> float:
    """The position of a difference on a logarithmic scale from CHART_MIN (0) to CHART_MAX (1)."""
    return min(1.0, max(0.0, math.log10(max(difference, CHART_MIN) / CHART_MIN) / math.log10(CHART_MAX / CHART_MIN)))


def number_words(value: float) -> str:
    """Format a small number for people: 0.00031, 3.1e-06."""
    return "0" if value == 0 else f"{value:.2g}"


def size_words(size: float) -> str:
    """Format a number of bytes for people: 1.2 MB, 3.4 KB, 56 bytes."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} KB" if size >= 1e3 else f"{size:.0f} bytes"
