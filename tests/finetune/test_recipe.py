"""Every switch has a default, takes what it should, and refuses what it can't."""

from dataclasses import fields

import pytest

from vitdemo.core.errors import UsageError
from vitdemo.finetune.recipe import PRESETS, Recipe


def test_every_field_reads_its_own_default():
    for each in fields(Recipe):
        assert Recipe.read({each.name: each.default}) == Recipe(), each.name
        assert each.metadata["meaning"]
        assert each.metadata["title"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("unfreeze", "4", "4"),
        ("unfreeze", "all", "all"),
        ("lr", "1e-3", 1e-3),
        ("epochs", "3", 3),
        ("balance", "0", False),
        ("ema", ".9", 0.9),
        ("batch_size", "auto", 0),
        ("batch_size", "auto (8)", 0),
        ("accumulate", "4", 4),
    ],
)
def test_values(name, text, value):
    assert getattr(Recipe.read({name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("unfreeze", text) for text in ("0", "-1", "top", "1.5", "", "101")),
        *(("lr", text) for text in ("0", "-1", "nan", "inf", "1000", "x")),
        *(("epochs", text) for text in ("0", "1001", "2.5", "")),
        *(("layer_decay", text) for text in ("0", "1.1")),
        *(("balance", text) for text in ("2", "maybe")),
        *(("augment", text) for text in ("heavy", "")),
        *(("precision", text) for text in ("fp8", "FP16")),
        *(("validation", text) for text in ("0", "0.6")),
        *(("features", text) for text in ("0", "cls", "")),
        *(("batch_size", text) for text in ("automatic", "-1", "")),
        *(("seed", text) for text in ("-1", str(2**31))),
    ],
)
def test_bad_values_are_named(name, text):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} is “.*”, but it must be "):
        Recipe.read({name: text})


def test_a_setting_that_is_none():
    with pytest.raises(UsageError, match="no setting “rate”"):
        Recipe.read({"rate": "1"})


def test_presets_differ_in_what_learns():
    assert [each.recipe.unfreeze for each in PRESETS.values()] == ["head", "4", "gradual"]
    assert Recipe.read({"epochs": 3}, PRESETS["careful"].recipe).unfreeze == "4"
