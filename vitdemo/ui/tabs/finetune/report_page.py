"""The report of a fine-tuning as the page shows it."""

import base64
from typing import Any

from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.finetune.launch_commands import CONFIG_NAME, LaunchCommands, launch_commands
from vitdemo.finetune.recipe import Recipe, read_by_head
from vitdemo.ui.tabs.finetune.runs import run_of
from vitdemo.ui.tabs.finetune.session import FinetuneSession
from vitdemo.ui.templating import html

SPOKE = 3  # training photos shown that spoke for a mistake
WIDTH, HEIGHT, LEFT, BELOW = 320, 150, 54, 26  # pixels of the learning curve: the whole, and what its axes take


def _is_stale(session: FinetuneSession, report: dict) -> bool:
    """Whether the classes have changed since the fine-tuning."""
    try:
        return list(session.data().classes) != report["classes"]
    except UserError:
        return True


def report_html(session: FinetuneSession, report: dict) -> str:
    """The report of the run on show as HTML."""
    why = report.get("why") or [{}] * len(report["worst"])
    worst = [
        row
        | {"uri": thumbnail(session, row), "spoke": [each | {"uri": thumbnail(session, each)} for each in reasons.get("for", [])[:SPOKE]]}
        for row, reasons in zip((report["photos"][index] for index in report["worst"]), why, strict=True)
    ]
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
        without=len(session.without),
        reads=read_by_head(report.get("features", "final")),
        curve=_curve(report.get("learning_curve") or []),
    )


def _launch_commands(session: FinetuneSession, report: dict) -> LaunchCommands:
    """The commands that repeat the fine-tuning elsewhere. A model in a server folder is given by its name, to hide the folder's path."""
    is_folder = run_of(session).model.startswith(("own:", "local-dir:"))
    recipe = Recipe.read(report["recipe"])
    model = f"local-dir:{report['model']}" if is_folder else report["model"]
    return launch_commands(recipe, model, session.changes, session.taken_as, icc=report.get("icc", "ignore"))


def thumbnail(session: FinetuneSession, row: dict) -> str:
    """A photo of the report, small, as a data: URI."""
    return uri_of(session.read[session.number_of(row)][1])


def uri_of(jpeg: bytes) -> str:
    """A JPEG as a data: URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _curve(points: list[dict]) -> dict[str, Any] | None:
    """The learning curve's lines, as SVG needs them; None for fewer than two points."""
    if len(points) < 2:
        return None
    lowest = min(point["interval"][0] for point in points)
    floor = min(0.9, int(10 * lowest) / 10)

    def place(point: dict, value: float) -> str:
        x = LEFT + 8 + (WIDTH - LEFT - 24) * point["share"] / points[-1]["share"]
        return f"{x:.1f},{8 + (HEIGHT - BELOW - 8) * (1 - (value - floor) / (1 - floor)):.1f}"

    band = [place(point, point["interval"][1]) for point in points] + [place(point, point["interval"][0]) for point in reversed(points)]
    return {
        "line": " ".join(place(point, point["accuracy"]) for point in points),
        "band": " ".join(band),
        "ticks": [(place(point, floor).split(",")[0], point["photos"]) for point in points],
        "levels": [(place(points[0], value).split(",")[1], percent(value)) for value in (floor, (1 + floor) / 2, 1)],
        "said": ", ".join(f"{percent(point['accuracy'])} with {point['photos']} photos" for point in points),
    }
