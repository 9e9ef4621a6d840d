"""The runs of a fine-tuning session: what the page lists of them, and how two of them compare."""

import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from vitdemo.core.errors import UserError
from vitdemo.core.figures import percent
from vitdemo.core.names import shown_name
from vitdemo.core.outputs import read_json
from vitdemo.finetune.recipe import PRESETS, Recipe
from vitdemo.ui.tabs.finetune.session import FinetuneRun, FinetuneSession


def run_of(session: FinetuneSession) -> FinetuneRun:
    """The run on show. Raises: UserError where nothing has been started."""
    if session.shown is None:
        raise UserError("There is no model yet: start, and wait for the first epoch.")
    return session.shown


def picker_title(run: FinetuneRun) -> str:
    """What the model picker calls the model of a run that has its report."""
    report = read_json(run.folder / "report.json")
    return f"Your model “{shown_name(run.title)}” · {len(report['classes'])} classes · {percent(report['accuracy'])} accuracy"


def run_rows(session: FinetuneSession) -> list[dict[str, Any]]:
    """The runs as the page lists them, the last one first: name, title, what was asked, and the figures that are there."""
    rows = []
    for run in reversed(session.runs):
        report = _report(run)
        rows.append(
            {
                "name": run.folder.name,
                "title": run.title,
                "asked": _settings(**run.asked) if run.asked else "",
                "report": report,
                "shown": run is session.shown,
                "running": run is session.at_work,
            }
        )
    return rows


def _settings(preset: str, recipe: Mapping[str, Any]) -> str:
    """A preset's title and what differs from it; where other blocks learn than the preset's, all that differs from the defaults."""
    asked, base = Recipe.read(recipe, PRESETS[preset].recipe), PRESETS[preset].recipe
    title = PRESETS[preset].title
    if asked.unfreeze != base.unfreeze:
        title, base = _learning(asked.unfreeze), replace(Recipe(), unfreeze=asked.unfreeze)
    settings = ((field.metadata["title"].lower(), getattr(asked, field.name), getattr(base, field.name)) for field in fields(Recipe))
    return ", ".join([title, *(f"{name} {_shown(value)}" for name, value, usual in settings if value != usual)])


def _learning(unfreeze: str) -> str:
    words = {"head": "Head only", "gradual": "All blocks from the top", "all": "All blocks", "1": "Last block"}
    return words.get(unfreeze) or f"Last {unfreeze} blocks"


def _shown(value: object) -> str:
    return "on" if value is True else "off" if value is False else f"{value:g}" if isinstance(value, float) else str(value)


def remove(session: FinetuneSession, run: FinetuneRun) -> None:
    """Remove a run and its files. Raises: UserError for one that is at work."""
    if run is session.at_work:
        raise UserError("This run is at work: stop it first.")
    session.runs.remove(run)
    shutil.rmtree(run.folder, ignore_errors=True)
    shutil.rmtree(session.shelf / run.folder.name, ignore_errors=True)
    if session.shown is run:
        session.shown = session.runs[-1] if session.runs else None


def compared(one: FinetuneRun, other: FinetuneRun) -> str:
    """What two runs' answers to the photos that both were asked about say, by McNemar's exact test.

    Raises: UserError where they have no such photos, or no result yet.
    """
    import torch

    from vitdemo.finetune.scores import compare

    right = []
    for run in (one, other):
        if (report := _report(run)) is None:
            raise UserError(f"“{run.title}” has no result yet: wait for it.")
        right.append({(row["photo"], row["label"]): row["label"] == row["taken"] for row in report["photos"]})
    both = right[0].keys() & right[1].keys()
    if not both:
        raise UserError("These runs were asked about different photos: train both on the same ones to compare them.")
    first, second = (torch.tensor([mine[photo] for photo in both]) for mine in right)
    test = compare(first, second, torch.ones_like(first))
    verdict = {1: f"{one.title} is better", 0: "that is no difference that counts", -1: f"{other.title} is better"}[test.verdict]
    photos = f"{len(both)} photo{'s' * (len(both) > 1)}"
    counts = f"only {one.title} is right on {test.won} and only {other.title} on {test.lost}"
    return f"On the same {photos}, {counts}: {verdict} (p = {test.p:.2g})."


def _report(run: FinetuneRun) -> dict[str, Any] | None:
    path = run.folder / "report.json"
    return read_json(path) if path.is_file() else None
