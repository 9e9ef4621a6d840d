"""The outcome of a comparison: a table of methods and metrics, which differences in it count, and sentences that say so."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vitdemo.attention.evaluation.intervals import Interval, interval, paired
from vitdemo.attention.methods.faithfulness import conclusion
from vitdemo.core.figures import percent

RANDOM, CENTRE = "random", "centre"
METRICS = {  # name → whether more is better
    "deletion": False,
    "insertion": True,
    "saco": True,
    "hit": True,
    "auc": True,
    "iou": True,
    "mass": True,
    "mosaic_mass": True,
    "mosaic_hit": True,
}


@dataclass(frozen=True)
class Cell:
    """One method's value of one metric.

    Attributes:
        value: the mean over photos.
        low, high: its 95 % bootstrap interval; None for one photo.
        chance, centre: 1 where the method is better than the random map or the centre prior, −1 where it is worse, 0 where the difference
            may be none: over many photos its interval holds 0; on one photo it lies within the spread of the random orders.
    """

    value: float
    low: float | None
    high: float | None
    chance: int
    centre: int


@dataclass(frozen=True)
class Table:
    """What a comparison has found so far.

    Attributes:
        photos, erased, mosaics: on how many photos it rests, how many of them were erased, and how many mosaics there were.
        rows: method → metric → cell; metrics that were not measured are left out.
        sentences: method → what the table says of it.
    """

    photos: int
    erased: int
    mosaics: int
    rows: dict[str, dict[str, Cell]]
    sentences: dict[str, str]


@dataclass
class Comparison:
    """Scores as they come in.

    Attributes:
        scores: method → metric → a value for each photo, or for each class of each mosaic; the same order for all methods.
        orders: metric → the values of each random order, of the photo that came last.
        photos, mosaics: how many there were.
        left_out: why photos could not be read.
        refused: why methods could not be used with this model.
    """

    scores: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    orders: dict[str, list[float]] = field(default_factory=dict)
    photos: int = 0
    mosaics: int = 0
    left_out: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def add(self, method: str, values: dict[str, float]) -> None:
        """Add one photo's values of one method."""
        for metric, value in values.items():
            self.scores.setdefault(method, {}).setdefault(metric, []).append(value)

    def add_random(self, orders: list[dict[str, float]]) -> None:
        """Add one photo's values of several random maps, which count as their mean."""
        found = {metric: [values[metric] for values in orders] for metric in orders[0]}
        self.orders |= found
        self.add(RANDOM, {metric: float(np.mean(values)) for metric, values in found.items()})

    def table(self) -> Table:
        """What the scores say."""
        rows = {}
        for method, metrics in self.scores.items():
            cells = {metric: self._cell(method, metric) for metric in METRICS if metric in metrics}
            rows[method] = {metric: cell for metric, cell in cells.items() if cell is not None}
        sentences = {method: self._sentence(method) for method in rows if method not in (RANDOM, CENTRE)}
        erased = max((len(metrics.get("deletion", ())) for metrics in self.scores.values()), default=0)
        return Table(self.photos, erased, self.mosaics, rows, sentences)

    def _cell(self, method: str, metric: str) -> Cell | None:
        values = self.scores[method][metric]
        found = interval(values)
        if found is None:
            return None
        if len(values) == 1:
            return Cell(values[0], None, None, *(self._sign_on_one(method, metric, other) for other in (RANDOM, CENTRE)))
        return Cell(found.mean, found.low, found.high, *(self._sign(method, metric, other) for other in (RANDOM, CENTRE)))

    def _difference(self, method: str, metric: str, other: str) -> Interval | None:
        theirs = self.scores.get(other, {}).get(metric, ())
        return paired(self.scores[method][metric], theirs) if len(theirs) == len(self.scores[method][metric]) else None

    def _sign(self, method: str, metric: str, other: str) -> int:
        difference = self._difference(method, metric, other) if method != other else None
        return (1 if METRICS[metric] else -1) * difference.sign if difference else 0

    def _sign_on_one(self, method: str, metric: str, other: str) -> int:
        """Whether a single value is beyond the random orders, or farther from the centre prior's than these are from each other."""
        orders, theirs = self.orders.get(metric, [float("nan")]), self.scores.get(other, {}).get(metric)
        if method == other or theirs is None:
            return 0
        value, low, high = self.scores[method][metric][0], min(orders), max(orders)
        difference = value - theirs[0]
        counts = not low <= value <= high if other == RANDOM else abs(difference) > high - low
        return int(np.sign(difference)) * (1 if METRICS[metric] else -1) if counts else 0

    def _sentence(self, method: str) -> str:
        values, known = self.scores[method], self.scores.get(CENTRE, {}).get("deletion")
        said = []
        if "deletion" in values and known and "deletion" in self.orders:
            if len(values["deletion"]) == 1:
                said.append(conclusion(values["deletion"][0], self.orders["deletion"], known[0]))
            else:
                parts = [self._compared(method, other, words) for other, words in ((RANDOM, "by chance"), (CENTRE, "centre first"))]
                said.append(f"The probability falls {'; '.join(parts)}.")
        if "mosaic_mass" in values and (mass := interval(values["mosaic_mass"])):
            verdict = "tells classes apart" if mass.low > 0.25 else "does not tell classes apart"
            said.append(f"It {verdict}: {percent(mass.mean, 0)} of its heat lies on the photo of the class (chance: 25 %).")
        return " ".join(said)

    def _compared(self, method: str, other: str, words: str) -> str:
        difference = self._difference(method, "deletion", other)
        if difference is None:
            return f"no sooner than {words}"
        how = {1: "later", -1: "sooner", 0: "no sooner"}[difference.sign]
        return f"{how} than {words} (difference of the areas {difference})"


TITLES = {
    "hit": "hits",
    "mass": "mass",
    "iou": "IoU",
    "auc": "AUC",
    "deletion": "deletion ↓",
    "insertion": "insertion",
    "saco": "SaCo",
    "mosaic_mass": "mosaic mass",
    "mosaic_hit": "mosaic hits",
}


def lines_of(table: Table) -> list[str]:
    """The table as text. A star marks what is better than both the random map and the centre prior, beyond the interval."""
    shown = [metric for metric in TITLES if any(metric in cells for cells in table.rows.values())]
    texts = [["", *(f"{TITLES[metric]} " for metric in shown)]]
    texts += [[method, *(_text(cells.get(metric)) for metric in shown)] for method, cells in table.rows.items()]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join([name.ljust(widths[0]), *(text.rjust(width) for text, width in zip(row, widths[1:], strict=True))])
        for name, *row in texts
    ]


def markdown_of(table: Table, metrics: Sequence[str]) -> list[str]:
    """The table as lines of Markdown, with these metrics."""
    lines = [f"| map | {' | '.join(TITLES[metric] for metric in metrics)} |", "|---" * (1 + len(metrics)) + "|"]
    for method, cells in table.rows.items():
        lines.append(f"| {method} | {' | '.join(_text(cells.get(metric), digits=2).strip() for metric in metrics)} |")
    return lines


def _text(cell: Cell | None, digits: int = 3) -> str:
    if cell is None:
        return ""
    span = f" [{cell.low:.{digits}f}, {cell.high:.{digits}f}]" if cell.low is not None else ""
    return f"{cell.value:.{digits}f}{span}{'*' if cell.chance > 0 and cell.centre > 0 else ' '}"
