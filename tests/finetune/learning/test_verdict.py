"""Each kind of verdict, from reports with known figures."""

import pytest

from vitdemo.finetune.learning.verdict import verdict, weakest


def report(nearest: int = 0, majority: int = 1, unfreeze: str = "head", stage: str = "head", rise: float = 0.0, recalls=(1.0, 0.8, 0.6)):
    known = [recall for recall in recalls if recall is not None]
    accuracy = sum(known) / len(known)
    return {
        "accuracy": accuracy,
        "interval": (0.7, 0.9),
        "baselines": {
            "head only": {"accuracy": 0.75, "verdict": 1},
            "5 nearest neighbours": {"accuracy": 0.5, "verdict": nearest},
            "majority class": {"accuracy": 0.4, "verdict": majority},
        },
        "recipe": {"unfreeze": unfreeze},
        "weights_of": {"stage": stage},
        "per_class": [{"label": label, "recall": recall} for label, recall in zip(("pen", "cup", "lamp"), recalls, strict=True)],
        "learning_curve": [{"share": share, "accuracy": accuracy - rise * (share < 1)} for share in (0.25, 0.5, 0.75, 1.0)],
    }


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            report(1),
            "90.0 %), better than its 5 nearest neighbours (50.0 %). More photos alike would hardly help; look at the mistakes of “lamp”",
        ),
        (
            report(0, rise=0.02),
            "not clearly better than its 5 nearest neighbours (50.0 %). Add photos to “lamp” and “cup”: the accuracy still rises",
        ),
        (report(0, recalls=(0.5, 0.5, 0.5)), "no better than its 5 nearest neighbours (50.0 %)"),
        (report(-1), "worse than its 5 nearest neighbours"),
        (
            report(0, unfreeze="4", stage="blocks"),
            ", not clearly better than its 5 nearest neighbours (50.0 %) and better than the head alone (75.0 %).",
        ),
        (report(1, unfreeze="4"), "Use Head only, which is as good here; more photos"),
        (report(majority=0), "not clearly better than always answering the most frequent class (40.0 %). Check the classes' photos"),
        (report(majority=0, recalls=(0.5, 0.3, 0.1)), "no better than always answering the most frequent class (40.0 %)"),
        (report(1, recalls=(1.0, 1.0, 1.0)), "Add photos that are harder, to learn where it fails."),
        (report(1) | {"learning_curve": []}, "Add photos to “lamp” and “cup”."),
    ],
)
def test_each_kind(made, words):
    said = verdict(made)
    assert said.startswith(f"{100 * made['accuracy']:.1f} % accuracy (95 % confidence interval: 70.0 % to 90.0 %), ")
    assert words in said
    assert said.endswith(".")


def test_the_weakest_classes_come_first():
    assert weakest(report()) == ["lamp", "cup"]
    assert weakest(report(recalls=(1.0, 1.0, None))) == []
