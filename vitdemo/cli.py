"""The command line: `python -m vitdemo …`, one command per room."""

import argparse
import json
import sys
from pathlib import Path

from vitdemo import __version__
from vitdemo.core.config import MODEL_FLAGS, Settings
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.memory import give_back_freed_memory


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns its exit status: 1 if nothing could be done, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m vitdemo", description="Take a Vision Transformer apart, without the browser.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_classify(commands)
    _add_sketch(commands)
    _add_bench(commands)
    flags = parser.parse_args(arguments)
    give_back_freed_memory()
    try:
        return flags.run(flags)
    except UserError as error:
        print(f"vitdemo: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("\nvitdemo: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        return 1


def _add_classify(commands) -> None:
    command = commands.add_parser("classify", help="the top classes of photos and folders of photos")
    command.add_argument("paths", nargs="+", metavar="PATH", help="a photo or a folder of photos")
    command.add_argument("--top", type=int, default=5, help="classes per photo (default: 5)")
    command.add_argument("--output", type=Path, metavar="F", help="a .json, .csv or .parquet file; without it, lines on the terminal")
    Settings.add_flags(command, (*MODEL_FLAGS, "max_upload_mb", "max_megapixels"))
    command.set_defaults(run=_classify)


def _classify(flags: argparse.Namespace) -> int:
    if flags.top < 1:
        raise UsageError("--top must be 1 or more.")
    from vitdemo import classify
    from vitdemo.core.photos import find_photos
    from vitdemo.core.store import ModelStore

    if flags.output and flags.output.suffix.lower() not in classify.WRITERS:
        raise UsageError(f"--output must end in {', '.join(classify.WRITERS)}.")
    settings = Settings.read(flags)
    paths = find_photos(flags.paths)
    if not paths:
        raise UserError("There are no photos in what you gave: give photos, or a folder that holds some.")
    if flags.output:
        classify.check_output(flags.output)
    store = ModelStore(settings)
    vit = store.get().result()
    print(f"{vit.name} on {vit.device}, weights from {vit.source}", file=sys.stderr)
    rows = []
    for row in classify.classify_files(paths, vit, store.engine, settings, top=flags.top):
        rows.append(row)
        if row.error:
            print(f"vitdemo: {row.error}", file=sys.stderr)
        elif not flags.output:
            print(
                _printable(row.path), *(f"  {each.probability:6.1%}  {_printable(each.label.name)}" for each in row.predictions), sep="\n"
            )
        if flags.output and sys.stderr.isatty():
            print(f"\r{len(rows)}/{len(paths)} photos", end="" if len(rows) < len(paths) else "\n", file=sys.stderr)
    if flags.output:
        classify.write_rows(rows, flags.output, vit.name)
        print(f"{len(rows)} rows in {flags.output}, {sum(row.error is not None for row in rows)} of them errors", file=sys.stderr)
    return 1 if all(row.error for row in rows) else 0


def _printable(text: str) -> str:
    """A path or name that can't steer the terminal it is printed on."""
    return text if text.isprintable() else ascii(text)


def _add_sketch(commands) -> None:
    command = commands.add_parser("sketch", help="drawn pictures of everyday things, with exact masks")
    command.add_argument("--count", type=int, required=True, metavar="N", help="pictures in all, as many of each class as of any other")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed draws the same pictures (default: 0)")
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="where images/, masks/ and labels.csv go")
    command.set_defaults(run=_sketch)


def _sketch(flags: argparse.Namespace) -> int:
    if flags.count < 1:
        raise UsageError("--count must be 1 or more.")
    if flags.seed < 0:
        raise UsageError("--seed must be 0 or more.")
    from vitdemo.sketches import draw

    try:
        for done in draw.write(flags.count, flags.seed, flags.output):
            if sys.stderr.isatty():
                print(f"\r{done}/{flags.count} pictures", end="" if done < flags.count else "\n", file=sys.stderr)
    except OSError as error:
        raise UserError(f"The pictures can't be written to {flags.output}: {error.strerror}. Choose another --output.") from error
    print(f"{flags.count} pictures with masks in {flags.output}", file=sys.stderr)
    return 0


def _add_bench(commands) -> None:
    from vitdemo.bench import BENCHES

    command = commands.add_parser("bench", help="measure, side by side with what one would run instead")
    command.add_argument("names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(BENCHES)} (default: all)")
    command.add_argument("--runs", type=int, default=5, help="times each side is run, in turn (default: 5)")
    command.add_argument("--json", type=Path, metavar="F", help="write the figures to a file as well")
    command.set_defaults(run=_bench)


def _bench(flags: argparse.Namespace) -> int:
    from vitdemo.bench import BENCHES

    if flags.runs < 1:
        raise UsageError("--runs must be 1 or more.")
    if unknown := [name for name in flags.names if name not in BENCHES]:
        raise UsageError(f"There is no bench {unknown[0]}: choose from {', '.join(BENCHES)}.")
    results = {name: BENCHES[name](runs=flags.runs) for name in flags.names or BENCHES}
    if flags.json:
        flags.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    return 0
