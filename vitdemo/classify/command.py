"""`python -m vitdemo classify`: the top classes of photos, folders and zips of photos."""

import argparse
import sys
import time
from pathlib import Path

from vitdemo.core.bulk import command as bulk
from vitdemo.core.config import MODEL_FLAGS, PHOTO_FLAGS, Settings
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.figures import counted, percent
from vitdemo.core.outputs import check_suffix
from vitdemo.core.terminal import CLEAR, printable, progress_line


def add(commands) -> None:
    """Add the `classify` command to the command line."""
    command = commands.add_parser("classify", help="the top classes of photos, folders and zips of photos")
    command.add_argument("paths", nargs="+", metavar="PATH", help="a photo, a folder or zip of photos, a pattern or a URL")
    command.add_argument("--top", type=int, default=5, help="classes per photo (default: 5)")
    command.add_argument("--output", metavar="F", help="a .json, .csv or .parquet file; for ray a folder; without it, lines here")
    bulk.add_flags(command)
    Settings.add_flags(command, (*MODEL_FLAGS, "batch_size", "jpeg_draft", *PHOTO_FLAGS))
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
    from vitdemo.classify.gallery import classify_gallery, with_conflicts
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.core.photos.given import photos_given
    from vitdemo.core.photos.prefetch import sum_up

    if flags.output:
        check_suffix(flags.output, files.WRITERS)
    settings = Settings.read(flags)
    items = photos_given(flags.paths, settings)
    if flags.output:
        files.check_output(flags.output)
    store = ModelStore(settings)
    vit = store.get().result()
    print(vit.introduction, file=sys.stderr)
    begin, rows, stopped = time.monotonic(), [], 0  # `stopped` becomes the exit status of a run that ended early
    show_progress = flags.output and sys.stderr.isatty()
    try:
        for row in classify_gallery(items, vit, store.engine, settings, top=max(5, flags.top)):
            rows.append(row)
            if row.error:
                print(f"{CLEAR if show_progress and len(rows) > 1 else ''}vitdemo: {row.error}", file=sys.stderr)
            elif not flags.output:
                print(printable(row.path), *_lines(row, flags.top), sep="\n")
            if show_progress:
                print(
                    f"\r{progress_line(len(rows), len(items), time.monotonic() - begin)}",
                    end="" if len(rows) < len(items) else "\n",
                    file=sys.stderr,
                )
    except KeyboardInterrupt:
        stopped = 130
        print(f"\nvitdemo: stopped after {len(rows)} of {len(items)} photos.", file=sys.stderr)
    except UserError as error:  # such as too little memory: keep the rows that are done
        if not rows:
            raise
        stopped = 1
        print(f"\nvitdemo: {error} This was after {len(rows)} of {len(items)} photos.", file=sys.stderr)
    rows = with_conflicts(rows)
    if summary := scores.score(rows):
        print(
            f"top-1 {percent(summary.top1 / summary.photos)}, top-5 {percent(summary.top5 / summary.photos)}, calibration error "
            f"{percent(summary.calibration_error)}, of {summary.photos} photos whose folder names a class",
            file=sys.stderr,
        )
    if left_out := scores.left_out(rows):
        print(f"vitdemo: {left_out}", file=sys.stderr)
    for note in sum_up(row.notes for row in rows):
        print(f"vitdemo: {note}", file=sys.stderr)
    if flags.output:
        files.write_rows([row.first(flags.top) for row in rows], flags.output, vit.id)
        print(f"{counted(len(rows), 'row')} in {flags.output}, {sum(row.error is not None for row in rows)} with an error", file=sys.stderr)
    return stopped if stopped else 1 if all(row.error for row in rows) else 0


def _lines(row, top: int) -> list[str]:
    lines = [f"  {percent(prediction.probability):>8}  {printable(prediction.label.name)}" for prediction in row.first(top).predictions]
    if row.unfamiliar:
        lines.append(f"  {'' if row.predictions else 'none of its classes: '}unlike anything the model was trained on")
    return lines
