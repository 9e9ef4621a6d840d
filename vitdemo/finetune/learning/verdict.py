"""The result in a sentence or two: how accurate, against what, and what would help most."""

from collections.abc import Sequence

from vitdemo.core.names import shown_name
from vitdemo.finetune.learning.report import HEAD, MAJORITY, NEAREST

GAIN = 0.01  # rise of the accuracy from half of the photos to all of them, from which more photos are advised
NAMED = 2  # classes that the advice names


def verdict(report: dict) -> str:
    """Return the verdict on a report: accuracy with its interval, the comparison with the baselines, and advice."""
    low, high = report["interval"]
    accuracy = f"{_percent(report['accuracy'])} accuracy (95 % confidence interval: {_percent(low)} to {_percent(high)})"
    return f"{accuracy}, {_compared(report)}. {_advice(report)}".strip()


def weakest(report: dict) -> list[str]:
    """Return the classes that would gain most from more photos: the lowest recall first, of those below the accuracy of all."""
    rows = [row for row in report["per_class"] if row["recall"] is not None and row["recall"] < min(1, report["accuracy"] + 1e-9)]
    return [row["label"] for row in sorted(rows, key=lambda row: row["recall"])][:NAMED]


def _compared(report: dict) -> str:
    if report["baselines"][MAJORITY]["verdict"] < 1:
        return _beside(report, MAJORITY, "always answering the most frequent class")
    others = {NEAREST: f"its {NEAREST}"} | ({HEAD: "the head alone"} if report["weights_of"]["stage"] == "blocks" else {})
    return " and ".join(_beside(report, name, shown) for name, shown in others.items())


def _beside(report: dict, name: str, shown: str) -> str:
    baseline = report["baselines"][name]
    tie = "not clearly better than" if report["accuracy"] > baseline["accuracy"] else "no better than"
    word = {1: "better than", 0: tie, -1: "worse than"}[baseline["verdict"]]
    return f"{word} {shown} ({_percent(baseline['accuracy'])})"


def _advice(report: dict) -> str:
    advice = []
    if report["recipe"]["unfreeze"] != "head" and report["weights_of"]["stage"] == "head":
        advice.append("use Head only, which is as good here")
    classes = _named(weakest(report))
    if report["baselines"][MAJORITY]["verdict"] < 1:
        advice.append("check the classes' photos, or give more of them")
    elif report["accuracy"] == 1:
        advice.append("add photos that are harder, to learn where it fails")
    elif _rises(report["learning_curve"]):
        advice.append(f"add photos{f' to {classes}' if classes else ''}: the accuracy still rises with their number")
    elif classes and report["learning_curve"]:
        advice.append(f"more photos alike would hardly help; look at the mistakes of {classes}")
    elif classes:
        advice.append(f"add photos to {classes}")
    sentence = "; ".join(advice)
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def _rises(curve: Sequence[dict]) -> bool:
    accuracies = {row["share"]: row["accuracy"] for row in curve}
    return bool(accuracies) and accuracies[1.0] - accuracies[0.5] >= GAIN


def _named(classes: Sequence[str]) -> str:
    return " and ".join(f"“{shown_name(label)}”" for label in classes)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
