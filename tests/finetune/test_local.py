"""What a fine-tuning in one process says on the terminal, and which new names it takes."""

import argparse
import os
import sys
from dataclasses import fields

import pytest

from vitdemo.core.errors import UsageError
from vitdemo.core.terminal import CLEAR
from vitdemo.finetune import local
from vitdemo.finetune.local import _check_known, _ProgressPrinter, _renamed, _so_far, _taken_as, recipe_of
from vitdemo.finetune.recipe import PRESETS, Recipe


def test_new_names_are_of_classes_that_are_there():
    _check_known("--rename", {"cat": "dog", "cafe\u0301": ""}, {"cat", "dog", "caf\u00e9"}, "class")
    with pytest.raises(UsageError, match=r"--rename names “cow”, and there is no such class: there are cat, dog\.$"):
        _check_known("--rename", {"cow": "ox"}, {"dog", "cat"}, "class")
    with pytest.raises(UsageError, match=r"there are 00, 01, .*, 19 …\.$"):
        _check_known("--rename", {"cow": "ox"}, {f"{number:02}" for number in range(21)}, "class")


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("cat=dog", ("cat", "dog")),
        ("cat=", ("cat", "")),
        ("a=b=c", ("a", "b=c")),
        ("x=1=one=1", ("x=1", "one=1")),
        ("cafe\u0301=1==", ("cafe\u0301=1", "=")),
        ("cow=ox", ("cow", "ox")),
    ],
)
def test_a_new_name_is_read(text, pair):
    assert _renamed(text, ["cat", "a", "x", "x=1", "caf\u00e9=1"]) == pair


@pytest.mark.parametrize("text", ["cat", "=dog", ""])
def test_half_a_new_name_is_refused(text):
    with pytest.raises(UsageError, match="it must be OLD=NEW"):
        _renamed(text, ["cat"])


def test_what_folders_are_taken_as():
    assert _taken_as(["monday=train", "tuesday=", "day=1=test"]) == {"monday": "train", "tuesday": "", "day=1": "test"}
    with pytest.raises(
        UsageError, match="--split is “monday”, but it must be FOLDER=WHAT, where WHAT is train, validation, test, all, class"
    ):
        _taken_as(["monday"])
    with pytest.raises(UsageError, match="--split takes a folder as “exam”, but it must be one of train"):
        _taken_as(["monday=exam"])


def test_what_is_printed(capsys):
    printer = _ProgressPrinter(told={"1 file is no photo."})
    counts = {"cat": {"train": 4, "validation": 2, "test": 0}, "dog": {"train": 5, "validation": 1, "test": 0}}
    epoch = {"kind": "epoch", "of": 3, "loss": 0.25, "accuracy": 0.9, "macro_f1": 0.8, "photos_per_second": 12.4, "seconds_left": 65.4}
    report = {
        **{"kind": "report", "interval": (0.61, 0.98), "asked": "test", "accuracy": 0.875, "of": 8, "peak_gpu_mb": 512.0},
        **{"baselines": {"majority class": {"accuracy": 0.5}}, "weights_of": {"stage": "head"}, "recipe": {"unfreeze": "4"}},
        "why_these_weights": "A tie, which goes to the head.",
        "verdict": "87.5 % accuracy.",
        "precision": "bf16",
    }
    for event in (
        {"kind": "data", "classes": ["cat", "dog"], "counts": counts, "notes": ["1 file is no photo.", "1 photo is there twice."]},
        {"kind": "estimate", "seconds": 64.6},
        {"kind": "photos", "done": 3, "total": 12, "speed": 7.0},
        {"kind": "photos", "done": 12, "total": 12, "speed": 7.25},
        {"kind": "note", "text": "2 processes learn together"},
        {"kind": "resumed", "epoch": 1, "stage": "blocks"},
        {"kind": "resumed", "epoch": 0, "stage": "blocks"},
        {"kind": "step", "epoch": 2, "of": 3, "done": 8, "total": 9, "loss": 0.3},
        epoch | {"stage": "head", "epoch": 2},
        epoch | {"stage": "head", "epoch": 3},
        epoch | {"stage": "blocks", "epoch": 1, "best": True},
        report,
    ):
        printer.tell(event)
    figures = "loss 0.250, validation 90.0 %, macro-F1 0.800, 12 photos a second, 1:05 left"
    assert capsys.readouterr().err.splitlines() == [
        "2 classes: 9 for train, 3 for validation",
        "vitdemo: 1 photo is there twice.",
        "About 1:05 of work for these photos on this machine",
        "12/12 photos, 7.2 a second",  # where stderr is no terminal, the end alone
        "2 processes learn together",
        "Going on after epoch 1 of the blocks",
        "Going on after the head",
        f"head, epoch 3 of 3: {figures}",
        f"blocks, epoch 1 of 3: {figures} · best so far",
        "Accuracy 87.5 % on 8 test photos (95 % confidence interval: 61.0 % to 98.0 %)",
        "  majority class: 50.0 %",
        "A tie, which goes to the head.",
        "87.5 % accuracy.",
        "At most 512 MB of the GPU's memory, in bf16",
    ]


def test_a_terminal_sees_one_line_that_changes(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(local.shutil, "get_terminal_size", lambda: os.terminal_size((20, 24)))
    printer = _ProgressPrinter()
    printer.tell({"kind": "photos", "done": 3, "total": 12, "speed": 7.0})
    assert capsys.readouterr().err == f"{CLEAR}3/12 photos, 7.0 a "  # as wide as the terminal
    printer.tell({"kind": "note", "text": "a note"})
    assert capsys.readouterr().err == f"{CLEAR}a note\n"
    printer.tell({"kind": "photos", "done": 12, "total": 12, "speed": 7.0})
    printer.tell({"kind": "note", "text": "another"})
    assert capsys.readouterr().err == f"{CLEAR}12/12 photos, 7.0 a\nanother\n"
    printer.tell({"kind": "step", "epoch": 1, "of": 2, "done": 0, "total": 9, "loss": 0.5})
    assert capsys.readouterr().err == f"{CLEAR}blocks, epoch 1 of "  # before the first step there is no loss


def test_what_there_is_after_a_stop(tmp_path):
    assert _so_far(tmp_path) == "there are no weights yet."
    (tmp_path / "report.json").touch()
    assert _so_far(tmp_path) == f"the best weights so far are in {tmp_path}."


def asked(**values: str) -> Recipe:
    flags = dict.fromkeys(setting.name for setting in fields(Recipe)) | {"preset": None} | values
    return recipe_of(argparse.Namespace(**flags))


def test_a_preset_is_the_base_of_what_is_asked():
    assert asked() == PRESETS["quick"].recipe
    for name, preset in PRESETS.items():
        assert asked(preset=name) == preset.recipe
        assert asked(preset=name, seed="7").seed == 7
    with pytest.raises(UsageError, match="--preset is “slow”, but it must be one of quick, careful, everything"):
        asked(preset="slow")
