"""The command line: `python -m vitdemo …`, one command per room."""

import argparse
import json
import sys
import time
from pathlib import Path

from vitdemo import __version__
from vitdemo.attention import command as attention
from vitdemo.core import bulk
from vitdemo.core.config import MODEL_FLAGS, Settings
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.jobs import announce, attend
from vitdemo.core.memory import give_back_freed_memory
from vitdemo.core.terminal import CLEAR, printable, progress
from vitdemo.embeddings import command as embeddings
from vitdemo.embeddings import map_command as maps
from vitdemo.export import command as export
from vitdemo.finetune import command as finetune


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns its exit status: 1 if nothing could be done, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m vitdemo", description="Take a Vision Transformer apart, without the browser.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_classify(commands)
    attention.add(commands)
    embeddings.add(commands)
    maps.add(commands, _map_page)
    finetune.add(commands)
    export.add(commands)
    _add_sketch(commands)
    _add_bench(commands)
    flags = parser.parse_args(arguments)
    give_back_freed_memory()
    attend()
    try:
        return flags.run(flags)
    except UserError as error:
        announce({"kind": "error", "text": str(error)})
        print(f"vitdemo: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("\nvitdemo: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        return 1


def _add_classify(commands) -> None:
    command = commands.add_parser("classify", help="the top classes of photos, folders and zips of photos")
    command.add_argument("paths", nargs="+", metavar="PATH", help="a photo, a folder or zip of photos, a pattern or a URL")
    command.add_argument("--top", type=int, default=5, help="classes per photo (default: 5)")
    command.add_argument("--output", metavar="F", help="a .json, .csv or .parquet file; for ray a folder; without it, lines here")
    bulk.add_flags(command)
    Settings.add_flags(command, (*MODEL_FLAGS, "batch_size", "max_upload_mb", "max_megapixels"))
    command.set_defaults(run=_classify)


def _classify(flags: argparse.Namespace) -> int:
    if flags.top < 1:
        raise UsageError("--top must be 1 or more.")
    bulk.check_flags(flags)
    if flags.engine == "ray":
        from vitdemo.classify import ray

        return ray.run(flags)
    flags.output = flags.output and Path(flags.output)
    from vitdemo.classify import files, scores
    from vitdemo.classify.gallery import classify_gallery
    from vitdemo.core.gallery import find_items
    from vitdemo.core.store import ModelStore

    if flags.output and flags.output.suffix.lower() not in files.WRITERS:
        raise UsageError(f"--output must end in {', '.join(files.WRITERS)}.")
    settings = Settings.read(flags)
    items = find_items(flags.paths)
    if not items:
        raise UserError("There are no photos in what you gave: give photos, or a folder or zip that holds some.")
    if flags.output:
        files.check_output(flags.output)
    store = ModelStore(settings)
    vit = store.get().result()
    print(f"{vit.name} on {vit.device}, weights from {vit.source}", file=sys.stderr)
    begin, rows, stopped = time.monotonic(), [], 0  # the exit status of one that ended early
    follow = flags.output and sys.stderr.isatty()
    try:
        for row in classify_gallery(items, vit, store.engine, settings, top=max(5, flags.top)):
            rows.append(row)
            if row.error:
                print(f"{CLEAR if follow and len(rows) > 1 else ''}vitdemo: {row.error}", file=sys.stderr)
            elif not flags.output:
                print(printable(row.path), *_lines(row, flags.top), sep="\n")
            if follow:
                print(
                    f"\r{progress(len(rows), len(items), time.monotonic() - begin)}",
                    end="" if len(rows) < len(items) else "\n",
                    file=sys.stderr,
                )
    except KeyboardInterrupt:
        stopped = 130
        print(f"\nvitdemo: stopped after {len(rows)} of {len(items)} photos.", file=sys.stderr)
    except UserError as error:  # such as too little memory: what is done stays
        if not rows:
            raise
        stopped = 1
        print(f"\nvitdemo: {error} This was after {len(rows)} of {len(items)} photos.", file=sys.stderr)
    if found := scores.score(rows, vit.labels):
        print(
            f"top-1 {found.top1 / found.photos:.1%}, top-5 {found.top5 / found.photos:.1%}, calibration error "
            f"{found.calibration_error:.1%}, of {found.photos} photos whose folder names a class",
            file=sys.stderr,
        )
    if flags.output:
        files.write_rows([row.first(flags.top) for row in rows], flags.output, vit.name)
        print(f"{len(rows)} rows in {flags.output}, {sum(row.error is not None for row in rows)} of them errors", file=sys.stderr)
    return stopped if stopped else 1 if all(row.error for row in rows) else 0


def _lines(row, top: int) -> list[str]:
    lines = [f"  {each.probability:6.1%}  {printable(each.label.name)}" for each in row.first(top).predictions]
    if row.unfamiliar:
        lines.append("  unlike anything the model was trained on")
    return lines


def _map_page(drawn: maps.LargeMap, pictures: int, settings: Settings) -> str:
    from vitdemo.ui.map_pages import page

    return page(drawn, pictures, settings)


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
    command.add_argument("--photos", type=Path, metavar="DIR", help="photos to measure on, instead of the shared ones")
    command.add_argument("--json", type=Path, metavar="F", help="write the figures to a file as well")
    command.add_argument("--minutes", type=float, default=1, metavar="M", help="how long the load lasts (default: 1)")
    command.add_argument("--clients", type=int, default=50, metavar="N", help="how many visitors the load has (default: 50)")
    command.set_defaults(run=_bench)


def _bench(flags: argparse.Namespace) -> int:
    from vitdemo.bench import BENCHES

    if flags.runs < 1:
        raise UsageError("--runs must be 1 or more.")
    if unknown := [name for name in flags.names if name not in BENCHES]:
        raise UsageError(f"There is no bench {unknown[0]}: choose from {', '.join(BENCHES)}.")
    if not 0 < flags.minutes <= 1440 or not 1 <= flags.clients <= 1000:
        raise UsageError("--minutes must be more than 0 and at most 1440, and --clients from 1 to 1000.")
    load = {"minutes": flags.minutes, "clients": flags.clients}
    results = {}
    for name in flags.names or BENCHES:
        results[name] = BENCHES[name](runs=flags.runs, photos=flags.photos, **(load if name == "load" else {}))
    if flags.json:
        flags.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    return 0
