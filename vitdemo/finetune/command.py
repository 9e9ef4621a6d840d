"""`python -m vitdemo finetune`: teach a model the classes in a folder of photos."""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path

from vitdemo.core.config import Settings
from vitdemo.core.errors import UsageError
from vitdemo.finetune.local import SETTINGS, learn, recipe_of
from vitdemo.finetune.recipe import PRESETS, Recipe


def add(commands) -> None:
    """Add the `finetune` command to the command line."""
    command = commands.add_parser("finetune", help="teach the model your own classes, from a folder with a sub-folder for each")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="one sub-folder a class, or train/, val/ and test/; or a zip of that")
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="the result; the same folder again goes on from there")
    command.add_argument("--preset", metavar="NAME", help=f"what the others start from: {', '.join(PRESETS)} (default: quick)")
    command.add_argument(
        "--rename", action="append", default=[], metavar="OLD=NEW", help="call a class NEW, which may be another's; OLD= leaves it out"
    )
    command.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="FOLDER=WHAT",
        help="what a folder is: train, validation, test, all (to be divided) or class; FOLDER= leaves it out",
    )
    command.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload the result to the Hugging Face hub, with your own token")
    command.add_argument("--note", action="append", default=[], metavar="TEXT", help="a sentence to keep with the notes of the report")
    command.add_argument("--engine", default="local", metavar="E", help="local, or ray: a job of Ray Train (default: local)")
    command.add_argument("--address", metavar="A", help="of a Ray cluster, such as auto; without it, this machine's own")
    command.add_argument("--processes", type=int, metavar="N", help="that Ray Train starts; by default one for each GPU, or for two CPUs")
    for setting in fields(Recipe):
        flag, meaning = "--" + setting.name.replace("_", "-"), setting.metadata["meaning"].replace("%", "%%")
        command.add_argument(flag, metavar=setting.name.upper(), help=f"{meaning} (default: {setting.default})")
    Settings.add_flags(command, SETTINGS)
    command.set_defaults(run=_finetune)


def _finetune(flags: argparse.Namespace) -> int:
    recipe_of(flags)
    if flags.push_to_hub:
        from vitdemo.finetune import hub

        hub.check(flags.push_to_hub)
    status = _train(flags)
    if flags.push_to_hub and not status and int(os.environ.get("RANK", 0)) == 0:  # a launcher starts several processes
        print(f"Uploaded to {hub.push(flags.output, flags.push_to_hub)}", file=sys.stderr)
    return status


def _train(flags: argparse.Namespace) -> int:
    if flags.engine not in ("local", "ray"):
        raise UsageError(f"--engine is “{flags.engine}”, but it must be local or ray.")
    if flags.engine == "ray":
        from vitdemo.finetune import ray

        return ray.run(flags)
    if flags.address or flags.processes:
        raise UsageError("--address and --processes are Ray's: give --engine ray with them.")
    return learn(flags)
