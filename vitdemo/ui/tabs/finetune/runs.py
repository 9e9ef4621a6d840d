"""The runs of a fine-tuning session: what the page lists of them, and how two of them compare."""

import shutil
from dataclasses import fields
from typing import Any

from vitdemo.core.errors import UserError
from vitdemo.core.outputs import read_json
from vitdemo.finetune.recipe import PRESETS, Recipe
from vitdemo.ui.tabs.finetune.session import FinetuneRun, FinetuneSession

TITLES = {field.name: field.metadata["title"] for field in fields(Recipe)}
LEAST_SURE = 0.05  # p-value from which on a difference may be none


def run_of(session: FinetuneSession) -> FinetuneRun:
    """The run on show. Raises: UserError where nothing has been started."""
    if session.shown is None:
        raise UserError("There is no model yet: start, and wait for the first epoch.")
    return session.shown


def run_rows(session: FinetuneSession) -> list[dict[str, Any]]:
    """The runs as the page lists them, the last one first: name, title, what was asked, and the figures that are there."""
    rows = []
    for run in reversed(session.runs):
        report = _report(run)
        asked = run.asked or {}
        changed = ", ".join(f"{TITLES.get(name, name).lower()} {value}" for name, value in asked.get("recipe", {}).items())
        rows.append(
            {
                "name": run.folder.name,
                "title": run.title,
                "asked": ", ".join(filter(None, (PRESETS[asked["preset"]].title if asked else "", changed))),
                "report": report,
                "shown": run is session.shown,
                "running": run is session.at_work,
            }
        )
    return rows


def remove(session: FinetuneSession, run: FinetuneRun) -> None:
    """Remove a run and its files. Raises: UserError for one that is at work."""
    if run is session.at_work:
        raise UserError("This run is at work: stop it first.")
    session.runs.remove(run)
    shutil.rmtree(run.folder, ignore_errors=True)
    if session.shown is run:
        session.shown = session.runs[-1] if session.runs else None


def compared(one: FinetuneRun, other: FinetuneRun) -> str:
    """What two runs' answers to the photos that both were asked about say, by McNemar's exact test.

    Raises: UserError where they have no such photos, or no result yet.
    """
    from scipy.stats import binomtest

    right = []
    for run in (one, other):
        if (report := _report(run)) is None:
            raise UserError(f"“{run.title}” has no result yet: wait for it.")
        right.append({(row["photo"], row["label"]): row["label"] == row["taken"] for row in report["photos"]})
    both = right[0].keys() & right[1].keys()
    if not both:
        raise UserError("These runs were asked about different photos: train both on the same ones to compare them.")
    only = [sum(mine[photo] and not theirs[photo] for photo in both) for mine, theirs in (right, right[::-1])]
    chance = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
    verdict = f"{(one, other)[only[1] > only[0]].title} is better" if chance < LEAST_SURE else "that is no difference that counts"
    photos = f"{len(both)} photo{'s' * (len(both) > 1)}"
    return (
        f"On the same {photos}, only {one.title} is right on {only[0]} and only {other.title} on {only[1]}: {verdict} (p = {chance:.2g})."
    )


def _report(run: FinetuneRun) -> dict[str, Any] | None:
    path = run.folder / "report.json"
    return read_json(path) if path.is_file() else None
