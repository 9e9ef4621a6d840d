"""`--engine ray`: what the commands for many photos share. Ray is imported only when this engine is selected."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.core.bulk.stages import check_stages, stages_for
from vitdemo.core.config import Settings
from vitdemo.core.errors import UsageError
from vitdemo.core.figures import counted
from vitdemo.core.terminal import CLEAR, progress_line

if TYPE_CHECKING:
    from vitdemo.core.bulk.parquet import ParquetDataset
    from vitdemo.core.bulk.ray_data import PartReport, Task
    from vitdemo.core.models.vit import Vit

ENGINES = ("local", "ray")
REPORT_SECONDS = 30  # between two progress lines where standard error is not a terminal


def add_flags(command: argparse.ArgumentParser) -> None:
    """Add `--engine` and the flags that belong to it to a command."""
    command.add_argument("--engine", default="local", metavar="E", help="local, or ray: on all cores, GPUs or machines (default: local)")
    command.add_argument("--address", metavar="A", help="of a Ray cluster, such as auto; without it, this machine's own cores")
    command.add_argument("--stages", default="", metavar="S", help="what Ray's actors take, such as model.actors=4,model.gpus=1")


def check_flags(flags: argparse.Namespace) -> None:
    """Check the flags of `add_flags`. Raises: UsageError for an unknown engine, and for flags that don't go with the engine."""
    if flags.engine not in ENGINES:
        raise UsageError(f"--engine is “{flags.engine}”, but it must be {' or '.join(ENGINES)}.")
    if flags.engine == "local":
        if flags.address or flags.stages:
            raise UsageError("--address and --stages are Ray's: give --engine ray with them.")
        return
    check_stages(flags.stages)
    if not flags.output:
        raise UsageError("--engine ray writes a folder of Parquet parts: give --output DIR.")
    if Path(flags.output).suffix.lower() in (".json", ".csv", ".npz"):
        raise UsageError("--engine ray writes a folder of Parquet parts: --output can't end in .json, .csv or .npz.")


def run(flags: argparse.Namespace, prepare: "Callable[[Vit, Settings], tuple[Task, dict]]") -> int:
    """Find the photos, load the model, and run the task on Ray, with progress. Returns the exit status.

    Args:
        prepare: returns the task for this model, and the content of the output folder's `_about.json`.

    Raises: UserError where the work can't be done.
    """
    from vitdemo.core.bulk.ray_session import ray_session
    from vitdemo.core.photos.given import photos_given
    from vitdemo.core.photos.remote import is_url

    settings, stage_settings = Settings.read(flags), check_stages(flags.stages)
    place = flags.output if is_url(flags.output) else str(Path(flags.output).absolute())
    begin = time.monotonic()
    with ray_session("--engine ray", flags.address):
        from vitdemo.core.bulk import ray_data

        items, vit = photos_given(flags.paths, settings), _load_model(settings)
        task, about = prepare(vit, settings)
        parts, missing = _find_missing(place, about, items)
        if not missing:
            print(f"All {len(items)} photos are in {flags.output} already.", file=sys.stderr)
            return 0
        stages = stages_for(*ray_data.free_resources(), stage_settings)
        print(f"Ray: {stages}", file=sys.stderr)
        report = _ProgressReport(len(missing), begin)
        try:
            for part in ray_data.run(task, missing, vit, settings, parts, stages):
                report.add(part)
        except KeyboardInterrupt:
            print(f"\nvitdemo: stopped after {report.done} of {len(missing)} photos; the same command goes on from there.", file=sys.stderr)
            return 130
    report.print_summary(flags.output)
    return 1 if report.errors == len(items) else 0


def _load_model(settings: Settings) -> "Vit":
    """Load the model on the CPU, in the precision in which all actors run it; it is sent to them from there."""
    from dataclasses import replace

    from vitdemo.core.inference.model_store import ModelStore

    vit = ModelStore(replace(settings, device="cpu")).get().result()
    print(vit.introduction, file=sys.stderr)
    return vit


def _find_missing(place: str, about: dict, items: list) -> "tuple[ParquetDataset, list]":
    """Return the output folder, and the files that have no row in it yet."""
    from vitdemo.core.bulk.parquet import ParquetDataset
    from vitdemo.core.outputs import as_utf8

    parts = ParquetDataset(place)
    existing, missing = parts.begin(about), []
    for item in items:
        if existing[name := as_utf8(item.name)]:
            existing[name] -= 1
        else:
            missing.append(item)
    if missing and len(missing) < len(items):
        print(f"{len(items) - len(missing)} of {len(items)} photos are there already", file=sys.stderr)
    return parts, missing


class _ProgressReport:
    """Prints progress as parts are finished. The speed counts from the start of the first part; start-up time is reported separately."""

    def __init__(self, total: int, begin: float):
        self.done = self.errors = 0
        self._total, self._begin, self._first, self._printed = total, begin, 0.0, begin
        self._memory: dict[str, list[float]] = {}  # actor → megabytes after each of its parts
        self._terminal = sys.stderr.isatty()

    def add(self, part: "PartReport") -> None:
        """Count one finished part, and print its errors and the progress."""
        now = time.monotonic()
        self._first = self._first or now - part.seconds
        self.done += part.photos
        self.errors += len(part.errors)
        self._memory.setdefault(part.actor, []).append(part.memory_mb)
        for error in part.errors:
            print(f"{CLEAR if self._terminal else ''}vitdemo: {error}", file=sys.stderr)
        line = progress_line(self.done, self._total, now - self._first)
        if self._terminal:
            print(f"\r{line}", end="" if self.done < self._total else "\n", file=sys.stderr, flush=True)
        elif now - self._printed > REPORT_SECONDS:
            self._printed = now
            print(line, file=sys.stderr, flush=True)

    def print_summary(self, output: object) -> None:
        """Print the totals, the speed, and each actor's memory."""
        seconds = time.monotonic() - self._first
        print(
            f"{counted(self.done, 'row')} in {output}, {self.errors} with an error: {self.done / seconds:.1f} photos a second "
            f"after {self._first - self._begin:.1f} s of start-up",
            file=sys.stderr,
        )
        for actor, memory in sorted(self._memory.items()):
            first, half, last = memory[0], memory[len(memory) // 2], memory[-1]
            print(
                f"  actor {actor}: {len(memory)} parts, {first:.0f} MB after the first, {half:.0f} MB half way, {last:.0f} MB at last, "
                f"{max(memory):.0f} MB at most",
                file=sys.stderr,
            )
