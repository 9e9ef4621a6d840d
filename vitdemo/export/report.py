"""What was measured about an export: as JSON for programs, as a page that needs nothing else for people."""

import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vitdemo.export.parity import AGREES, Agreement
from vitdemo.export.plan import Plan

TEMPLATES = Path(__file__).parent / "templates"
_jinja = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True)
class ReportRow:
    """One model among those measured: the exported one, what it is made from, or an int8 recipe.

    Attributes:
        name: what the table calls it.
        bytes: its file's size.
        agreement: with the original, on the photos.
        seconds: median per batch, by batch size.
        shipped: it is the one in the bundle.
    """

    name: str
    bytes: int
    agreement: Agreement
    seconds: dict[int, float]
    shipped: bool = False


@dataclass(frozen=True)
class Report:
    """What is known about an export.

    Attributes:
        model, source, parameters: the original's.
        plan: what was asked for.
        recipe: the int8 recipe that was shipped; empty for other precisions.
        rows: the shipped model, and for int8 fp32 and all recipes tried.
        torch_seconds: median per batch of the original in torch, by batch size, timed in turn with the rows.
        photos: what the photos were, for people to read.
        extras: further output → its largest difference from the original's.
        runtime, torch, device, processor, cores: where it was measured.
        warnings: what should be known before it is used, a sentence each.
    """

    model: str
    source: str
    parameters: int
    plan: Plan
    recipe: str
    rows: tuple[ReportRow, ...]
    torch_seconds: dict[int, float]
    photos: str
    extras: dict[str, float]
    runtime: str
    torch: str
    device: str
    cores: int
    processor: str = field(default_factory=lambda: _processor())
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> "Report":
        """What `write` wrote. Raises: OSError, ValueError, KeyError or TypeError where it can't be used."""
        found = json.loads((folder / "report.json").read_text("utf-8"))
        del found["file"]
        plan = {name: tuple(each) if isinstance(each, list) else each for name, each in found["plan"].items()}
        rows = [row | {"agreement": Agreement(**row["agreement"]), "seconds": _by_batch(row["seconds"])} for row in found["rows"]]
        seconds, sentences = _by_batch(found["torch_seconds"]), tuple(found["warnings"])
        parts = {"plan": Plan(**plan), "rows": tuple(ReportRow(**row) for row in rows), "torch_seconds": seconds, "warnings": sentences}
        return cls(**found | parts)

    @property
    def shipped(self) -> ReportRow:
        return next(row for row in self.rows if row.shipped)

    def as_json(self) -> dict:
        return asdict(self) | {"file": self.plan.file}

    def write(self, folder: Path) -> None:
        """report.json and report.html."""
        (folder / "report.json").write_text(json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
        (folder / "report.html").write_text(render("report.html.jinja", report=self, bars=_bars(self)), "utf-8")


def _by_batch(seconds: dict[str, float]) -> dict[int, float]:
    return {int(batch): each for batch, each in seconds.items()}


def concerns(shipped: ReportRow, base: ReportRow | None, *, signed: bool, strange: bool) -> tuple[str, ...]:
    """What has to be said of what was measured.

    Args:
        base: fp32 in the same format, where it was measured.
        signed: it needs a processor with VNNI.
        strange: it was compared on drawings that the model was not made for.
    """
    found, mine = [], shipped.agreement
    better = f"fp32 ({base.bytes / 1e6:.1f} MB) or fp16" if base else "fp32"
    if mine.agreement < AGREES:
        found.append(f"It agrees with the original on only {mine.agreement:.1%} of the photos: {better} is the better choice.")
    elif not mine.agrees:
        found.append(f"Its accuracy is {mine.accuracy:.1%} instead of {mine.accuracy_before:.1%}: {better} is the better choice.")
    if base and shipped.seconds[1] > base.seconds[1]:
        found.append(
            f"On this machine it is slower than fp32 ({1e3 * shipped.seconds[1]:.0f} instead of {1e3 * base.seconds[1]:.0f} ms a photo): "
            "choose it for its size alone."
        )
    if signed:
        found.append(
            "Its signed weights are for processors with VNNI, as this one has: on others its answers differ, as the known answer shows: "
            "export it anew on such a one."
        )
    if strange:
        recipe = ", and a faster int8 recipe may agree on them" if base else ""
        found.append(
            "It was compared on drawings, and this model was made for other pictures: on those the figures may be better or worse"
            f"{recipe}. Export it again with some hundred photos of the kind that it will see."
        )
    return tuple(found)


def render(template: str, **values) -> str:
    """A template of this room, filled; values are escaped where its name says HTML."""
    return _jinja.get_template(template).render(**values)


def _bars(report: Report) -> list[dict]:
    """The chart: groups of bars with their lengths as a share of the longest."""
    shipped, groups = report.shipped, []
    for batch, before in report.torch_seconds.items():
        pair = {f"torch on {report.device}": before, report.runtime: shipped.seconds[batch]}
        groups.append(_group(f"Time for {batch} photo{'s' * (batch > 1)}", pair, lambda value: f"{1e3 * value:.1f} ms"))
    sizes = {"fp32 weights": 4 * report.parameters, report.plan.file: shipped.bytes}
    groups.append(_group("Size", sizes, lambda value: f"{value / 1e6:.1f} MB"))
    return groups


def _group(title: str, values: dict[str, float], words) -> dict:
    longest = max(values.values())
    return {"title": title, "bars": [{"name": name, "share": each / longest, "value": words(each)} for name, each in values.items()]}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
