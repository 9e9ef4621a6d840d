"""A run as it is started on another machine: the exact commands, and the file that tells `accelerate` of several GPUs."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from vitdemo.finetune.recipe import UPDATE, Recipe

FOLDER, OUTPUT = "PHOTOS", "MODEL"  # for what only the reader knows
CONFIG_NAME = "accelerate.yaml"
UNUSED_BY_HEADS = ("epochs", "lr", "layer_decay", "weight_decay", "warmup", "drop_path", "ema", "patience", "precision", "checkpointing")


@dataclass(frozen=True)
class LaunchCommands:
    """The same run, by where it is started.

    Attributes:
        here: in one process.
        accelerate: in several, on one machine, with `config` beside it.
        config: what `accelerate` is told; `num_processes` is the reader's to change.
        ray: as a job on a Ray cluster.
    """

    here: str
    accelerate: str
    config: str
    ray: str


def launch_commands(recipe: Recipe, model: str, changes: Mapping[str, str], *, batch: int = 8, processes: int = 2) -> LaunchCommands:
    """The commands of a run.

    Args:
        model: as `--model` takes it.
        changes: classes and what they are called instead; an empty name leaves the class out.
        batch: photos at a time where the recipe leaves it open.
        processes: that share the work. An update is made from as many photos as in one.
    """
    renamed = [part for old, new in changes.items() for part in ("--rename", f"{old}={new}")]
    command = ["finetune", FOLDER, "--output", OUTPUT, "--model", model]
    alone = shlex.join([*command, *_flags(recipe), *renamed])
    shared = shlex.join([*command, *_flags(_shared(recipe, batch, processes)), *renamed])
    return LaunchCommands(
        here=f"python -m vitdemo {alone}",
        accelerate=f"accelerate launch --config_file {CONFIG_NAME} -m vitdemo {shared}",
        config=(
            f"compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_machines: 1\nnum_processes: {processes}\n"
            "mixed_precision: 'no'\n"
        ),
        ray=f"python -m vitdemo {shared} --engine ray --address auto --processes {processes}",
    )


def _shared(recipe: Recipe, batch: int, processes: int) -> Recipe:
    """The recipe of each of several processes, whose updates together are those of one."""
    if not recipe.blocks:
        return recipe
    size = recipe.batch_size or batch
    each = max(1, size * (recipe.accumulate or max(1, UPDATE // size)) // processes)  # photos of an update
    size = max(number for number in range(1, min(size, each) + 1) if each % number == 0)
    return replace(recipe, batch_size=size, accumulate=each // size)


def _flags(recipe: Recipe) -> list[str]:
    """What differs from the usual."""
    usual, found = Recipe(), []
    for each in fields(Recipe):
        value = getattr(recipe, each.name)
        if value != getattr(usual, each.name) and (recipe.blocks or each.name not in UNUSED_BY_HEADS):
            found += ["--" + each.name.replace("_", "-"), str(int(value)) if isinstance(value, bool) else str(value)]
    return found
