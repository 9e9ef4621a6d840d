"""What a fine-tuning in one process says on the terminal, and which new names it takes."""

import pytest

from vitdemo.core.errors import UsageError
from vitdemo.finetune.local import _check_known, _pair, _ProgressPrinter, _taken_as


def test_new_names_are_of_classes_that_are_there():
    _check_known("--rename", {"cat": "dog", "cafe\u0301": ""}, {"cat", "dog", "caf\u00e9"}, "class")
    with pytest.raises(UsageError, match=r"--rename names “cow”, and there is no such class: there are cat, dog\.$"):
        _check_known("--rename", {"cow": "ox"}, {"dog", "cat"}, "class")
    with pytest.raises(UsageError, match=r"there are 00, 01, .*, 19 …\.$"):
        _check_known("--rename", {"cow": "ox"}, {f"{number:02}" for number in range(21)}, "class")


@pytest.mark.parametrize(("text", "pair"), [("cat=dog", ("cat", "dog")), ("cat=", ("cat", "")), ("a=b=c", ("a", "b=c"))])
def test_a_new_name_is_read(text, pair):
    assert _pair("--rename", text, "") == pair


@pytest.mark.parametrize("text", ["cat", "=dog", ""])
def test_half_a_new_name_is_refused(text):
    with pytest.raises(UsageError, match="it must be OLD=NEW"):
        _pair("--rename", text, "OLD=NEW")


def test_what_folders_are_taken_as():
    assert _taken_as(["monday=train", "tuesday="]) == {"monday": "train", "tuesday": ""}
    with pytest.raises(
        UsageError, match="--split is “monday”, but it must be FOLDER=WHAT, where WHAT is train, validation, test, all, class"
    ):
        _taken_as(["monday"])
    with pytest.raises(UsageError, match="--split takes a folder as “exam”, but it must be one of train"):
        _taken_as(["monday=exam"])


def test_what_is_printed(capsys):
    printer = _ProgressPrinter()
    counts = {"cat": {"train": 4, "validation": 2, "test": 0}, "dog": {"train": 5, "validation": 1, "test": 0}}
    epoch = {"kind": "epoch", "of": 3, "loss": 0.25, "accuracy": 0.9, "macro_f1": 0.8, "photos_per_second": 12.4, "seconds_left": 65.4}
    report = {
        **{"kind": "report", "interval": (0.61, 0.98), "asked": "test", "accuracy": 0.875, "of": 8, "peak_gpu_mb": 512.0},
        **{"baselines": {"majority class": {"accuracy": 0.5}}, "weights_of": {"stage": "head"}, "recipe": {"unfreeze": "4"}},
        "precision": "bf16",
    }
    for event in (
        {"kind": "data", "classes": ["cat", "dog"], "counts": counts, "notes": ["1 photo is there twice."]},
        {"kind": "photos", "done": 3, "total": 12, "speed": 7.0},
        {"kind": "photos", "done": 12, "total": 12, "speed": 7.25},
        {"kind": "note", "text": "2 processes learn together"},
        {"kind": "resumed", "epoch": 1, "stage": "blocks"},
        {"kind": "step", "epoch": 2, "of": 3, "done": 8, "total": 9, "loss": 0.3},
        epoch | {"stage": "head", "epoch": 2},
        epoch | {"stage": "head", "epoch": 3},
        epoch | {"stage": "blocks", "epoch": 1, "best": True},
        report,
    ):
        printer.tell(event)
    figures = "loss 0.250, validation 90.0%, macro-F1 0.800, 12 photos a second, 1:05 left"
    assert capsys.readouterr().err.splitlines() == [
        "2 classes: 9 for train, 3 for validation",
        "vitdemo: 1 photo is there twice.",
        "12/12 photos, 7.2 a second",  # where stderr is no terminal, the end alone
        "2 processes learn together",
        "Going on after epoch 1 of the blocks",
        f"head, epoch 3 of 3: {figures}",
        f"blocks, epoch 1 of 3: {figures} · best so far",
        "Accuracy 87.5% on 8 test photos (95 % confidence interval: 61.0% to 98.0%)",
        "  majority class: 50.0%",
        "The blocks brought no gain, so the head alone is kept.",
        "At most 512 MB of the GPU's memory, in bf16",
    ]
