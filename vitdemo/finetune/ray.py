"""`python -m vitdemo finetune --engine ray`: the same command in several processes of a Ray Train job, which learn one model together."""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from vitdemo.core.bulk.ray_session import ray_session, said_last
from vitdemo.core.errors import UsageError, UserError

PATHS = ("folder", "output", "checkpoint")  # flags that must mean the same in every process
CPUS_EACH = 2  # of a process without a GPU
LISTEN = 0.5  # seconds between looks at what the job says


def run(flags: argparse.Namespace) -> int:
    """Start the job and wait for it. Returns the command's exit status.

    On several machines the photos and --output lie where all of them see them; the first process writes.
    """
    if flags.processes is not None and flags.processes < 1:
        raise UsageError("--processes must be 1 or more.")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # or every line comes twice
    with ray_session("--engine ray", flags.address), tempfile.TemporaryDirectory(prefix="vd-") as notes:
        try:
            import ray
            from ray.train import RunConfig, ScalingConfig
            from ray.train.torch import TorchConfig, TorchTrainer
        except ImportError:
            raise UserError("--engine ray needs Ray Train, which is not installed: pip install -r requirements-scale.txt") from None
        there = ray.cluster_resources()
        gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
        processes = flags.processes or gpus or max(1, cpus // CPUS_EACH)
        print(f"Ray Train: {processes} processes, with {'a GPU' if gpus else 'CPUs'} each", file=sys.stderr)
        with _listening() as lines:
            trainer = TorchTrainer(
                _process,
                train_loop_config={"flags": _everywhere(flags), "lines": lines},
                scaling_config=ScalingConfig(
                    num_workers=processes, use_gpu=gpus > 0, resources_per_worker={"CPU": min(1, cpus / processes / 2)}
                ),
                torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
                run_config=RunConfig(storage_path=notes),
            )
            try:
                trainer.fit()
            except Exception as error:  # Ray Train wraps what a process says in errors of its own
                raise UserError(f"The job has ended: {said_last(error)} The same command goes on after the last epoch there is.") from error
    return 0


def _everywhere(flags: argparse.Namespace) -> dict:
    """The flags as another process takes them, wherever it stands."""
    given = {name: value for name, value in vars(flags).items() if name != "run"}
    given |= {name: Path(given[name]).absolute() for name in PATHS if given.get(name)}
    if (given.get("model") or "").startswith("local-dir:"):
        given["model"] = f"local-dir:{Path(given['model'].removeprefix('local-dir:')).absolute()}"
    return given


def _process(config: dict) -> None:
    """What each process does: the command, as `torchrun` would start it."""
    from vitdemo.finetune.local import learn

    with contextlib.redirect_stderr(_Handed(config["lines"])):
        learn(argparse.Namespace(**config["flags"]))


class _Handed(io.TextIOBase):
    """A place to print to, whose lines the command prints."""

    def __init__(self, lines):
        self._lines, self._rest = lines, ""

    def write(self, text: str) -> int:
        *whole, self._rest = (self._rest + text).split("\n")
        for each in whole:
            self._lines.add.remote(each)
        return len(text)


class _Lines:
    """An actor that holds what the job has said until the command takes it."""

    def __init__(self):
        self._waiting: list[str] = []

    def add(self, line: str) -> None:
        self._waiting.append(line)

    def take(self) -> list[str]:
        taken, self._waiting = self._waiting, []
        return taken


@contextlib.contextmanager
def _listening() -> Iterator:
    """Print what is added to the lines that this gives."""
    import ray

    lines, over = ray.remote(num_cpus=0)(_Lines).remote(), threading.Event()

    def tell() -> None:
        for line in ray.get(lines.take.remote()):
            print(line, file=sys.stderr, flush=True)

    def listen() -> None:
        while not over.wait(LISTEN):
            tell()

    thread = threading.Thread(target=listen, name="listen to the job", daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        over.set()
        thread.join()
        tell()
