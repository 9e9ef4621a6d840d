"""`python -m vitdemo bench`: measure this app against what a user would run instead."""

import argparse
from pathlib import Path

from vitdemo.bench import BENCHES
from vitdemo.core.errors import UsageError
from vitdemo.core.outputs import check_writable, write_json

PRECISIONS = ("fp32", "bf16", "fp16")
BY_PRECISION = ("startup", "classify", "trace", "embed", "finetune")


def add(commands) -> None:
    """Add the `bench` command to the command line."""
    command = commands.add_parser("bench", help="measure, side by side with what one would run instead")
    command.add_argument("names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(BENCHES)} (default: all)")
    command.add_argument("--runs", type=int, default=5, help="times each side is run, in turn (default: 5)")
    command.add_argument("--photos", type=Path, metavar="DIR", help="photos to measure on, instead of the shared ones")
    command.add_argument("--json", type=Path, metavar="F", help="write the figures to a file as well")
    command.add_argument("--minutes", type=float, default=1, metavar="M", help="how long the load lasts (default: 1)")
    command.add_argument("--clients", type=int, default=50, metavar="N", help="how many visitors the load has (default: 50)")
    command.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        metavar="P",
        help=f"of {', '.join(BY_PRECISION)}: {', '.join(PRECISIONS)} (default: fp32)",
    )
    command.set_defaults(run=_bench)


def _bench(flags: argparse.Namespace) -> int:
    if flags.runs < 1:
        raise UsageError("--runs must be 1 or more.")
    if unknown := [name for name in flags.names if name not in BENCHES]:
        raise UsageError(f"There is no bench {unknown[0]}: choose from {', '.join(BENCHES)}.")
    if not 0 < flags.minutes <= 1440 or not 1 <= flags.clients <= 1000:
        raise UsageError("--minutes must be more than 0 and at most 1440, and --clients from 1 to 1000.")
    names = flags.names or [*BENCHES]
    if flags.precision and not set(names) & set(BY_PRECISION):
        raise UsageError(f"--precision is for {', '.join(BY_PRECISION)}.")
    own = {"load": {"minutes": flags.minutes, "clients": flags.clients}}
    if flags.precision:
        own |= {name: {"precisions": tuple(dict.fromkeys(flags.precision))} for name in BY_PRECISION}
    if flags.json:
        check_writable(flags.json)
    results = {}
    for name in names:
        results[name] = BENCHES[name](runs=flags.runs, photos=flags.photos, **own.get(name, {}))
        if flags.json:
            write_json(results, flags.json)  # after each, as the next may take an hour and fail
    return 0
