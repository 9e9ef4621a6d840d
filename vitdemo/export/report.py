"""The measured report of an export: as JSON for programs, and as a self-contained HTML page for people."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vitdemo.core.figures import percent
from vitdemo.export.parity import AGREES, Agreement
from vitdemo.export.plan import Plan

TEMPLATES = Path(__file__).parent / "templates"
_jinja = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True)
class ReportRow:
    """One measured model: the exported one, the fp32 model it is made from, or an int8 recipe.

    Attributes:
        name: its name in the table.
        bytes: size of its file.
        agreement: how well it agrees with the original on the photos.
        seconds: batch size → median seconds per batch.
        shipped: whether it is the model in the bundle.
    """

    name: str
    bytes: int
    agreement: Agreement
    seconds: dict[int, float]
    shipped: bool = False


@dataclass(frozen=True)
class Report:
    """Everything measured about an export.

    Attributes:
        model, source, parameters: name, origin of the weights, and number of parameters of the original.
        plan: the options of the export.
        recipe: the int8 recipe that was shipped; empty for other precisions.
        rows: the shipped model; for int8 also fp32 and all recipes tried.
        torch_seconds: batch size → median seconds per batch of the original in torch, timed in turn with the rows.
        photos: a description of the photos, for people.
        extras: extra output → its largest difference from the original's.
        runtime, torch, device, processor, cores: the software and machine of the measurement.
        warnings: what the user should know before using the model, one sentence each.
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
        """Read the report that `write` wrote. Raises: OSError, ValueError, KeyError or TypeError where it is missing or invalid."""
        content = json.loads((folder / "report.json").read_text("utf-8"))
        del content["file"]
        plan: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in content["plan"].items()}
        rows = [row | {"agreement": Agreement(**row["agreement"]), "seconds": _by_batch(row["seconds"])} for row in content["rows"]]
        seconds, sentences = _by_batch(content["torch_seconds"]), tuple(content["warnings"])
        parts = {"plan": Plan(**plan), "rows": tuple(ReportRow(**row) for row in rows), "torch_seconds": seconds, "warnings": sentences}
        return cls(**content | parts)

    @property
    def shipped(self) -> ReportRow:
        """The row of the model in the bundle."""
        return next(row for row in self.rows if row.shipped)

    def as_json(self) -> dict:
        """Return the report as a dict for JSON."""
        return asdict(self) | {"file": self.plan.file}

    def write(self, folder: Path) -> None:
        """Write report.json and report.html."""
        (folder / "report.json").write_text(json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
        (folder / "report.html").write_text(render("report.html.jinja", report=self, bars=_bars(self)), "utf-8")


def _by_batch(seconds: dict[str, float]) -> dict[int, float]:
    return {int(batch): median for batch, median in seconds.items()}


def concerns(shipped: ReportRow, base: ReportRow | None, *, signed: bool, strange: bool) -> tuple[str, ...]:
    """Return warnings about the measured model, one sentence each.

    Args:
        base: fp32 in the same format, where it was measured.
        signed: the model needs a processor with VNNI.
        strange: the model was compared on drawings, and it was not made for drawings.
    """
    sentences, parity = [], shipped.agreement
    better = f"fp32 ({base.bytes / 1e6:.1f} MB) or fp16" if base else "fp32"
    if parity.agreement < AGREES:
        sentences.append(f"It agrees with the original on only {percent(parity.agreement)} of the photos: {better} is the better choice.")
    elif parity.accuracy is not None and parity.accuracy_before is not None and not parity.agrees:
        before, after = percent(parity.accuracy_before), percent(parity.accuracy)
        sentences.append(f"Its accuracy is {after} instead of {before}: {better} is the better choice.")
    if base and shipped.seconds[1] > base.seconds[1]:
        sentences.append(
            f"On this machine it is slower than fp32 ({1e3 * shipped.seconds[1]:.0f} instead of {1e3 * base.seconds[1]:.0f} ms a photo): "
            "choose it for its size alone."
        )
    if signed:
        sentences.append(
            "Its signed weights are for processors with VNNI, as this one has: on others its answers differ, as the known answer shows: "
            "export it anew on such a one."
        )
    if strange:
        recipe = ", and a faster int8 recipe may agree on them" if base else ""
        sentences.append(
            "It was compared on drawings, and this model was made for other pictures: on those the figures may be better or worse"
            f"{recipe}. Export it again with some hundred photos of the kind that it will see."
        )
    return tuple(sentences)


def render(template: str, **values) -> str:
    """Fill a template of the `templates` folder; values are escaped as HTML."""
    return _jinja.get_template(template).render(**values)


def _bars(report: Report) -> list[dict]:
    """Return the chart's groups of bars, each length as a share of the longest bar of its group."""
    shipped, groups = report.shipped, []
    for batch, seconds in report.torch_seconds.items():
        pair = {f"torch on {report.device}": seconds, report.runtime: shipped.seconds[batch]}
        groups.append(_group(f"Time for {batch} photo{'s' * (batch > 1)}", pair, lambda value: f"{1e3 * value:.1f} ms"))
    sizes = {"fp32 weights": 4 * report.parameters, report.plan.file: shipped.bytes}
    groups.append(_group("Size", sizes, lambda value: f"{value / 1e6:.1f} MB"))
    return groups


def _group(title: str, values: Mapping[str, float], as_text) -> dict:
    longest = max(values.values())
    return {"title": title, "bars": [{"name": name, "share": value / longest, "value": as_text(value)} for name, value in values.items()]}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
