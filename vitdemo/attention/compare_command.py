"""`python -m vitdemo attention … --compare`: which map to believe, on one photo or on a gallery."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from vitdemo.core.config import Settings
from vitdemo.core.errors import UsageError, as_usage_error
from vitdemo.core.outputs import check_writable, write_json
from vitdemo.core.terminal import CLEAR, printable

OF_ONE_MAP = ("method", "layer", "head", "rival", "fusion", "discard", "start_layer", "gradient", "npz", "lens", "off")


def add_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags of a comparison to the `attention` command."""
    command.add_argument(
        "--compare", action="store_true", help="compare all methods, beside random and centre, on these photos and folders"
    )
    command.add_argument("--masks", type=Path, metavar="DIR", help="with --compare: masks of the objects, NAME.png for NAME.jpg")
    command.add_argument("--erase", type=int, metavar="N", help="with --compare: how many photos are erased, evenly spread (default: 48)")
    command.add_argument(
        "--mosaics",
        type=int,
        metavar="N",
        help="with --compare: how many 2×2 mosaics test for the class (default: 25, or 0 on an odd grid)",
    )


def compare(flags: argparse.Namespace, settings: Settings) -> int:
    """Compare, print the table and what it says, and write it where asked. Ctrl-C keeps what is done."""
    _check_flags(flags)
    from vitdemo.attention.evaluation.compare import compare_photo, compare_photos
    from vitdemo.attention.evaluation.mosaics import has_quarters
    from vitdemo.attention.evaluation.subjects import subjects_of
    from vitdemo.attention.evaluation.table import lines_of
    from vitdemo.attention.methods.gradients import check_target, find_target
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.core.photos.given import photos_given

    items = photos_given(flags.image, settings)
    if flags.output:
        check_writable(flags.output)
    store = ModelStore(settings)
    vit = store.get().result()
    print(vit.introduction, file=sys.stderr)
    check_target(vit, 0)
    subjects = subjects_of(items, vit, settings, flags.masks)
    if len(subjects) == 1:
        with as_usage_error():
            target = None if flags.target is None else find_target(vit, flags.target)
        steps = compare_photo(vit, store.engine, subjects[0], target)
    else:
        if flags.target is not None:
            raise UsageError("--target is for one photo: of many, each photo's top class is taken.")
        most = 25 if has_quarters(vit.adapter.grid(vit.preprocessing.size)) else 0
        erase, mosaics = (default if given is None else given for given, default in ((flags.erase, 48), (flags.mosaics, most)))
        steps = compare_photos(vit, store.engine, subjects, erase=erase, mosaics=mosaics)
    comparison, stopped = None, False
    try:
        for step in steps:
            comparison = step.comparison
            print(f"{CLEAR}{step.done} of {step.total}", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        stopped = True
    print(CLEAR, end="", file=sys.stderr)
    if comparison is None:
        return 130
    for reason in (*comparison.refused, *comparison.left_out):
        print(f"vitdemo: {printable(reason)}", file=sys.stderr)
    if len(comparison.left_out) == len(subjects):
        return 1
    table = comparison.table()
    print(
        f"{table.photos} photos, {table.erased} of them erased, {table.mosaics} mosaics; 95 % intervals; *: better than random and centre"
    )
    print("\n".join(lines_of(table)))
    for method, sentence in table.sentences.items():
        print(f"{method}: {sentence}")
    if flags.output:
        write_json(asdict(table) | {"model": vit.id, "left_out": comparison.left_out, "refused": comparison.refused}, flags.output)
    return 130 if stopped else 0


def _check_flags(flags: argparse.Namespace) -> None:
    """Raises: UsageError for a value that no comparison takes."""
    if flags.output and flags.output.suffix.lower() != ".json":
        raise UsageError("With --compare, --output must end in .json.")
    for name in ("erase", "mosaics"):
        if (given := getattr(flags, name)) is not None and given < 0:
            raise UsageError(f"--{name} must be 0 or more.")
    for name in OF_ONE_MAP:
        if getattr(flags, name) not in (None, False):
            print(f"vitdemo: --{name.replace('_', '-')} changes nothing for --compare.", file=sys.stderr)
