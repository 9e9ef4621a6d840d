"""The exact commands that start a run on another machine, and the `accelerate` config file for several GPUs."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from vitdemo.finetune.recipe import UPDATE, Recipe

FOLDER, OUTPUT = "PHOTOS", "MODEL"  # placeholders for paths that only the reader knows
CONFIG_NAME = "accelerate.yaml"
# settings of the blocks, left out of the commands where only the head learns
UNUSED_BY_HEADS = (
    *("epochs", "lr", "layer_decay", "weight_decay", "warmup", "batch_size", "accumulate", "clip", "label_smoothing"),
    *("drop_path", "ema", "patience", "precision", "checkpointing"),
)


@dataclass(frozen=True)
class LaunchCommands:
    """The commands that start the same run in different ways.

    Attributes:
        here: in one process.
        accelerate: in several processes on one machine, with `config` in the current folder.
        config: the config file of `accelerate`; the reader adapts `num_processes`.
        ray: as a job on a Ray cluster.
    """

    here: str
    accelerate: str
    config: str
    ray: str


def launch_commands(
    recipe: Recipe,
    model: str,
    changes: Mapping[str, str],
    taken_as: Mapping[str, str] | None = None,
    *,
    icc: str = "ignore",
    batch: int = 8,
    processes: int = 2,
) -> LaunchCommands:
    """Return the commands that start a run.

    Args:
        model: the value of `--model`.
        changes: class name → new name; an empty new name leaves the class out.
        taken_as: folder → the split that it is taken as.
        icc: what is done with the photos' colour profiles.
        batch: photos per batch where the recipe leaves the batch size open.
        processes: number of processes that share the work. An update uses as many photos as in one process.
    """
    renamed = [part for old, new in changes.items() for part in ("--rename", f"{old}={new}")]
    renamed += [part for folder, what in (taken_as or {}).items() for part in ("--split", f"{folder}={what}")]
    command = ["finetune", FOLDER, "--output", OUTPUT, "--model", model, *(["--icc", icc] if icc != "ignore" else [])]
    single = shlex.join([*command, *_flags(recipe), *renamed])
    shared = shlex.join([*command, *_flags(_shared(recipe, batch, processes)), *renamed])
    return LaunchCommands(
        here=f"python -m vitdemo {single}",
        accelerate=f"accelerate launch --config_file {CONFIG_NAME} -m vitdemo {shared}",
        config=(
            f"compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_machines: 1\nnum_processes: {processes}\n"
            "mixed_precision: 'no'\n"
        ),
        ray=f"python -m vitdemo {shared} --engine ray --address auto --processes {processes}",
    )


def _shared(recipe: Recipe, batch: int, processes: int) -> Recipe:
    """Adapt the recipe to several processes, so that one update of all of them uses as many photos as one process's."""
    if not recipe.blocks:
        return recipe
    size = recipe.batch_size or batch
    photos = max(1, size * (recipe.accumulate or max(1, UPDATE // size)) // processes)  # per update and process
    size = max(divisor for divisor in range(1, min(size, photos) + 1) if photos % divisor == 0)
    return replace(recipe, batch_size=size, accumulate=photos // size)


def _flags(recipe: Recipe) -> list[str]:
    """Return the flags of all settings that differ from their defaults."""
    defaults, flags = Recipe(), []
    for setting in fields(Recipe):
        value = getattr(recipe, setting.name)
        if value != getattr(defaults, setting.name) and (recipe.blocks or setting.name not in UNUSED_BY_HEADS):
            flags += ["--" + setting.name.replace("_", "-"), str(int(value)) if isinstance(value, bool) else str(value)]
    return flags
