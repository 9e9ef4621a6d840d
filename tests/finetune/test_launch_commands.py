"""The commands of a run, read back by the command line itself."""

import argparse
import shlex

import pytest
import yaml

from vitdemo.finetune import command, local
from vitdemo.finetune.launch_commands import launch_commands
from vitdemo.finetune.recipe import PRESETS, UPDATE, Recipe

ODD = {"rosso": "red and 'blue'", "<b>$(rm)</b>": "", "a": "b=c", "x=1": "one=1", "=": "d=", "e=": ""}


def read(line: str) -> argparse.Namespace:
    """As the command takes it, after the shell."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    words = shlex.split(line)
    return parser.parse_args(words[words.index("vitdemo") + 1 :])


@pytest.mark.parametrize(
    "recipe", [each.recipe for each in PRESETS.values()] + [Recipe(unfreeze="2", lr=1.23456789e-5, balance=False, seed=7)]
)
def test_one_process_repeats_the_run(recipe):
    flags = read(launch_commands(recipe, "demo", ODD).here)
    assert local.recipe_of(flags) == recipe
    assert (str(flags.folder), str(flags.output), flags.model) == ("PHOTOS", "MODEL", "demo")
    assert dict(local._renamed(each, ODD) for each in flags.rename) == ODD


@pytest.mark.parametrize(("size", "accumulate"), [(0, 0), (32, 1), (1, 1), (8, 3), (4, 16)])
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_update_from_as_many_photos(size, accumulate, processes):
    recipe = Recipe(unfreeze="all", batch_size=size, accumulate=accumulate)
    told = launch_commands(recipe, "demo", {}, processes=processes)
    wanted = (size or 8) * (accumulate or UPDATE // (size or 8))
    for line in (told.accelerate, told.ray):
        shared = local.recipe_of(read(line))
        assert processes * shared.batch_size * shared.accumulate == pytest.approx(wanted, abs=processes)
    assert yaml.safe_load(told.config)["num_processes"] == processes
    assert f"--processes {processes}" in told.ray


def test_a_head_alone_is_the_same_run_everywhere():
    recipe = Recipe(views=1, epochs=3, lr=0.5)  # the blocks' settings have no say
    told = launch_commands(recipe, "demo", {})
    for line in (told.here, told.accelerate, told.ray):
        assert local.recipe_of(read(line)) == Recipe(views=1)
