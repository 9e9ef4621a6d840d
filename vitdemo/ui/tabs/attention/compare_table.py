"""The table of a comparison of methods, as the page shows it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitdemo.attention.evaluation.table import Table

NAMES = {
    "relevance": "Relevance",
    "votes": "Patch votes",
    "fullgrad": "FullGrad+",
    "rollout": "Rollout",
    "gradient-rollout": "Gradient rollout",
    "cls": "CLS attention",
    "random": "random",
    "centre": "centre first",
}
COLUMNS = {  # metric → name, whether less is better, meaning
    "deletion": ("Deletion", True, "Area under the probability while the hottest patches are erased first: less is better"),
    "insertion": ("Insertion", False, "Area under the probability while the hottest patches are shown first: more is better"),
    "saco": ("SaCo", False, "Whether hotter groups of patches matter more, from −1 to 1"),
    "hit": ("Hits", False, "Share of the photos whose hottest patch lies on the object"),
    "auc": ("AUC", False, "How well the heat ranks the object's patches before the others; 0.5 is chance"),
    "iou": ("IoU", False, "Overlap with the object at the map's best threshold"),
    "mosaic_mass": ("Mosaics", False, "Share of the heat on the right one of four photos; 0.25 is chance"),
}


def columns_of(table: "Table") -> list[dict]:
    """The metrics that were measured: key, name, whether `lower` is better, and meaning."""
    measured = {metric for cells in table.rows.values() for metric in cells}
    return [
        {"key": key, "name": name, "lower": lower, "meaning": meaning} for key, (name, lower, meaning) in COLUMNS.items() if key in measured
    ]


def rows_of(table: "Table", heats: dict[str, str]) -> list[dict]:
    """A row for each method, with its heat in base64 where there is one, and a cell for each metric."""
    from vitdemo.attention.question import SIGNED

    verdicts = {1: "better", -1: "worse", 0: ""}
    return [
        {
            "name": name,
            "baseline": method in ("random", "centre"),
            "heat": heats.get(method, ""),
            "signed": method in SIGNED,
            "cells": {
                metric: {"value": cell.value, "low": cell.low, "high": cell.high, "verdict": verdicts[cell.chance]}
                for metric, cell in table.rows[method].items()
                if metric in COLUMNS
            },
        }
        for method, name in NAMES.items()
        if method in table.rows
    ]


def sentences_of(table: "Table") -> list[str]:
    """What erasing by each map does, beside chance and the centre prior."""
    cells = {NAMES[method]: cells["deletion"] for method, cells in table.rows.items() if "deletion" in cells and method in table.sentences}
    where = "on this photo" if table.photos == 1 else "on these photos"
    said = []
    for sign, verdict in ((1, "falls sooner"), (0, "falls no sooner"), (-1, "falls later")):
        for other, words in (("chance", "by chance"), ("centre", "from the centre outwards")):
            if names := [name for name, cell in cells.items() if getattr(cell, other) == sign]:
                who = "all maps" if len(names) == len(cells) else f"the map{'s' * (len(names) > 1)} of {_listed(names)}"
                said.append(f"By {who} the probability {verdict} than {words} {where}.")
    return said


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def how_of(table: "Table", notes: list[str], label: str) -> str:
    """On what the table rests, and what was left out. `label` is the class of the photo on show; empty for photos that were given."""
    if table.photos == 1:
        rests = f"On one photo{f', for {label}' if label else ''}: beyond chance is what lies outside of the five random orders."
    else:
        rests = f"On {table.photos} photos, {table.erased} of them erased, and {table.mosaics} mosaics; intervals of 95 % over photos."
    return " ".join((rests, *notes))
