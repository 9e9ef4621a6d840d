"""The Export tab's routes: upload photos, start and follow an export, try it, download its files."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.server.page_routes import Caller, File, OfSession, TabRoutes, page_route
from vitdemo.ui.tabs.export.session import KINDS, NOTHING_YET, ExportSession, read_plan
from vitdemo.ui.tabs.export.sessions import ExportSessions
from vitdemo.ui.templating import html

if TYPE_CHECKING:
    from vitdemo.export.report import Report
from vitdemo.ui.tabs.export.messages import AddPhotos, Download, ExportStatus, Given, PollExport, RemovePhotos, StartExport, Tried

CHART_MIN, CHART_MAX = 1e-7, 10.0  # range of logit differences on the chart
FILE_TEXTS = {  # descriptions of the bundle's files
    "README.md": "how to run and serve it, which file goes where",
    "report.html": "the figures, as a page",
    "report.json": "the figures, for programs",
    "labels.json": "the classes, in the order of the logits",
    "preprocessing.json": "from a photo to the input: the numbers",
    "preprocess.py": "from a photo to the input: code without torch",
    "decoding/decode.py": "how a photo is decoded, safely",
    "config.json": "architecture, preprocessing and classes, in timm's layout",
    "known_answer/photo.png": "a photo to try a new machine with",
    "known_answer/answer.json": "the prediction for that photo",
    "known_answer/input.npy": "the model's input for that photo",
    "known_answer/output.npy": "the model's output for that photo",
    "server.py": "the FastAPI server",
    "kserve.yaml": "KServe's manifest",
    "ray_server.py": "the Ray Serve server",
}


class ExportRoutes(TabRoutes):
    """What the Export tab's script may ask."""

    name = "export"

    def __init__(self, sessions: ExportSessions):
        self._sessions = sessions

    @page_route(starts_work=True)
    def add(self, asked: AddPhotos, caller: Caller) -> Given:
        """Add uploaded photos to an export."""
        from vitdemo.core.photos.search import uploaded_items

        kind = _kind(asked.kind)
        files, others = gallery_upload.uploads_of(asked.files), gallery_upload.names_of(asked.others)
        items = uploaded_items(files, self._sessions.settings, command="export", others=others)
        session = self._session(asked)
        self._sessions.add_photos(session, kind, items)
        return Given(session.id, _photo_counts(session))

    @page_route()
    def remove(self, asked: RemovePhotos, caller: Caller) -> Given:
        """Remove uploaded photos."""
        session = self._sessions.get(asked.session)
        self._sessions.remove_photos(session, _kind(asked.kind))
        return Given(session.id, _photo_counts(session))

    @page_route(starts_work=True)
    def start(self, asked: StartExport, caller: Caller) -> OfSession:
        """Export a model with the selected options."""
        plan, session = read_plan(asked.plan), self._session(asked)
        self._sessions.start(session, asked.model, plan, caller.client)
        return OfSession(session.id)

    @page_route()
    def poll(self, asked: PollExport, caller: Caller) -> ExportStatus:
        """The status of an export."""
        session = self._sessions.get(asked.session)
        status = ExportStatus(_photo_counts(session), asdict(session.plan) if session.plan else None)
        if job := session.job:
            status.state = job.state  # read before the events, so that the final status has all events
            status.events, status.place, status.error = job.events(max(0, asked.start)), self._sessions.jobs.place(job), session.error
            if session.done:
                status.report = _report(session)
        return status

    @page_route()
    def stop(self, asked: OfSession, caller: Caller) -> None:
        """Stop the job; no files are kept."""
        if job := self._sessions.get(asked.session).job:
            self._sessions.jobs.stop(job)

    @page_route()
    def compare(self, asked: OfSession, caller: Caller) -> Tried:
        """Name the finished bundle, for the comparison in Classify."""
        if not (session := self._sessions.get(asked.session)).done:
            raise UserError(NOTHING_YET)
        return Tried(f"{session.id}/{session.bundle.parent.name}")

    @page_route()
    def download(self, asked: Download, caller: Caller) -> File:
        """Fetch a file of the bundle, or a zip of it."""
        session = self._sessions.get(asked.session)
        return File(str(self._sessions.pack(session) if asked.file is None else self._sessions.take(session, asked.file)))

    def _session(self, asked: OfSession) -> ExportSession:
        return self._sessions.get(asked.session) if asked.session else self._sessions.begin()


def _kind(kind: str) -> str:
    """What the photos are for. Raises: UserError for an unknown kind."""
    if kind not in KINDS:
        raise UserError("Say what the photos are for.")
    return kind


def _photo_counts(session: ExportSession) -> dict:
    return {kind: asdict(photos) for kind, photos in session.given.items()}


def _report(session: ExportSession) -> str:
    """The report as HTML."""
    from vitdemo.export.bundle import DRAWINGS
    from vitdemo.export.report import Report

    report, files = Report.read(session.bundle), session.files()
    base = next((row for row in report.rows if row.name == "fp32"), report.shipped)
    return html(
        "export/report",
        report=report,
        model=session.title,
        own=report.photos != DRAWINGS,
        given=session.given.get("photos"),
        bars=_bars(report, base),
        files=[(name, size_words(size), _about(name, report)) for name, size in files],
        whole=size_words(sum(size for _, size in files)),
        words=number_words,
        percent=percent,
    )


def _about(name: str, report: "Report") -> str:
    """What a file of the bundle is, in a few words."""
    if name == report.plan.file:
        return "the model"
    return FILE_TEXTS.get(name, "a part of the decoding" if name.startswith("decoding/") else "")


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
