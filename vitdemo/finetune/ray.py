"""`python -m vitdemo finetune --engine ray`: the same command in several processes of a Ray Train job that train one model together."""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vitdemo.core.bulk.ray_session import last_message, ray_session
from vitdemo.core.errors import UsageError, UserError

PATHS = ("folder", "output", "checkpoint", "labels")  # flags with a path, made absolute for processes in other folders
CPUS_EACH = 2  # per process, where there are no GPUs
LISTEN = 0.5  # seconds between two polls of the job's output


def run(flags: argparse.Namespace) -> int:
    """Start the job and wait until it ends. Returns the command's exit status.

    On several machines the photos and --output must be on storage that all of them share; the first process writes.

    Raises: UsageError for fewer than one process; UserError where Ray Train is missing or the job fails.
    """
    if flags.processes is not None and flags.processes < 1:
        raise UsageError("--processes must be 1 or more.")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # otherwise every line is printed twice
    with ray_session("--engine ray", flags.address), tempfile.TemporaryDirectory(prefix="vd-") as storage:
        try:
            import ray
            from ray.train import RunConfig, ScalingConfig
            from ray.train.torch import TorchConfig, TorchTrainer
        except ImportError:
            raise UserError("--engine ray needs Ray Train, which is not installed: pip install -r requirements-scale.txt") from None
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        processes = flags.processes or gpus or max(1, cpus // CPUS_EACH)
        print(f"Ray Train: {processes} processes, with {'a GPU' if gpus else 'CPUs'} each", file=sys.stderr)
        with _printed_output() as lines:
            trainer = TorchTrainer(
                _process,
                train_loop_config={"flags": _portable(flags), "lines": lines},
                scaling_config=ScalingConfig(
                    num_workers=processes, use_gpu=gpus > 0, resources_per_worker={"CPU": min(1, cpus / processes / 2)}
                ),
                torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
                run_config=RunConfig(storage_path=storage),
            )
            try:
                trainer.fit()
            except Exception as error:  # Ray Train wraps a process's error in exceptions of its own
                raise UserError(
                    f"The job has ended: {last_message(error)} The same command goes on after the last epoch there is."
                ) from error
    return 0


def _portable(flags: argparse.Namespace) -> dict:
    """Return the flags for a process in another folder: with absolute paths."""
    values = {name: value for name, value in vars(flags).items() if name != "run"}
    values |= {name: Path(values[name]).absolute() for name in PATHS if values.get(name)}
    if (values.get("model") or "").startswith("local-dir:"):
        values["model"] = f"local-dir:{Path(values['model'].removeprefix('local-dir:')).absolute()}"
    return values


def _process(config: dict) -> None:
    """Run the command in one process of the job, as `torchrun` would start it."""
    from vitdemo.finetune.local import learn

    with contextlib.redirect_stderr(_ForwardedStderr(config["lines"])):
        learn(argparse.Namespace(**config["flags"]))


class _ForwardedStderr(io.TextIOBase):
    """A text stream that sends its lines to the command, which prints them."""

    def __init__(self, lines):
        self._lines, self._rest = lines, ""

    def write(self, text: str) -> int:
        """Send all complete lines, and keep the rest for the next call."""
        *complete, self._rest = (self._rest + text).split("\n")
        for line in complete:
            self._lines.add.remote(line)
        return len(text)


class _LineBuffer:
    """An actor that holds the job's output lines until the command fetches them."""

    def __init__(self):
        self._waiting: list[str] = []

    def add(self, line: str) -> None:
        """Append a line."""
        self._waiting.append(line)

    def take(self) -> list[str]:
        """Return the waiting lines, and empty the buffer."""
        lines, self._waiting = self._waiting, []
        return lines


@contextlib.contextmanager
def _printed_output() -> Iterator:
    """Yield a buffer actor, and print the lines that are added to it."""
    import ray

    lines: Any = ray.remote(num_cpus=0)(_LineBuffer).remote()  # Ray's types don't know the `remote` of an actor's plain methods
    ended = threading.Event()

    def print_waiting() -> None:
        for line in ray.get(lines.take.remote()):
            print(line, file=sys.stderr, flush=True)

    def poll() -> None:
        while not ended.wait(LISTEN):
            print_waiting()

    thread = threading.Thread(target=poll, name="listen to the job", daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        ended.set()
        thread.join()
        print_waiting()
