"""`python -m vitdemo sketch`: draw pictures of everyday things, with their labels and exact masks."""

import argparse
import sys
from pathlib import Path

from vitdemo.core.errors import UsageError, UserError


def add(commands) -> None:
    """Add the `sketch` command to the command line."""
    command = commands.add_parser("sketch", help="drawn pictures of everyday things, with exact masks")
    command.add_argument("--count", type=int, required=True, metavar="N", help="pictures in all, as many of each class as of any other")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed draws the same pictures (default: 0)")
    command.add_argument("--size", type=int, default=224, metavar="N", help="pixels a side, 32 to 8192 (default: 224)")
    command.add_argument("--format", default="png", choices=("png", "jpg"), help="of the pictures; masks are always PNG (default: png)")
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="where images/, masks/ and labels.csv go")
    command.set_defaults(run=_sketch)


def _sketch(flags: argparse.Namespace) -> int:
    if flags.count < 1:
        raise UsageError("--count must be 1 or more.")
    if flags.seed < 0:
        raise UsageError("--seed must be 0 or more.")
    if not 32 <= flags.size <= 8192:
        raise UsageError("--size must be from 32 to 8192 pixels.")
    from vitdemo.sketches import draw

    try:
        for done in draw.write(flags.count, flags.seed, flags.output, flags.size, flags.format):
            if sys.stderr.isatty():
                print(f"\r{done}/{flags.count} pictures", end="" if done < flags.count else "\n", file=sys.stderr)
    except OSError as error:
        raise UserError(f"The pictures can't be written to {flags.output}: {error.strerror}. Choose another --output.") from error
    print(f"{flags.count} pictures with masks in {flags.output}", file=sys.stderr)
    return 0
