"""The model card that travels with a fine-tuned model, in the form that timm and the Hugging Face hub read: README.md."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vitdemo.core.models.catalogue import CATALOGUE, LICENCES, OPEN_SOURCE
from vitdemo.finetune.heads.readout import BOTH, FINAL
from vitdemo.finetune.recipe import read_by_head

FILE_NAME = "README.md"
_TEMPLATES = Path(__file__).parent.parent / "templates"
_jinja = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def write(report: dict, folder: Path, repo: str = "") -> None:
    """Write the card of a report's model.

    Args:
        report: what report.json holds.
        repo: owner/name on the hub, for the code that loads it from there.

    Raises: OSError where the file can't be written.
    """
    features = report.get("features", FINAL)
    licence = next((entry.licence for entry in CATALOGUE if entry.name == report["model"]), "")
    counts = {split: sum(count[split] for count in report["counts"].values()) for split in ("train", "validation", "test")}
    card = _jinja.get_template("README.md.jinja").render(
        title=_plain(repo.split("/")[-1] or folder.resolve().name),
        report=report | {"verdict": _plain(report["verdict"])},
        base=_plain(report["model"]),
        classes=", ".join(map(_plain, report["classes"])),
        counts=counts,
        per_class=[(_plain(label), sum(count.values())) for label, count in report["counts"].items()],
        notes=[_plain(note) for note in report["notes"]],
        plain=features != BOTH,
        features=features,
        reads=read_by_head(features),
        repo=repo,
        licence=licence,
        terms=LICENCES.get(licence, ""),
        open_source=OPEN_SOURCE,
        percent=lambda share: f"{100 * share:.1f} %",
    )
    (folder / FILE_NAME).write_text(card, "utf-8")


def _plain(text: str) -> str:
    """Words of people as Markdown shows them: on one line, no markup, no cell's end."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>#|!" else letter for letter in " ".join(text.split()))
