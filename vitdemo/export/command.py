"""`python -m vitdemo export`: write a model as a bundle that runs elsewhere."""

import argparse
import sys
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from vitdemo.core.config import MODEL_FLAGS, PHOTO_FLAGS, Settings
from vitdemo.core.figures import percent
from vitdemo.core.jobs.child import emit_event
from vitdemo.core.outputs import check_new_folder
from vitdemo.export.plan import EXTRAS, FILES, KITS, PRECISIONS, PREFERENCES, Plan


def add(commands) -> None:
    """Add the `export` command to the command line."""
    command = commands.add_parser("export", help="a model as a bundle that runs elsewhere, with proof that it is the same")
    command.add_argument("--format", required=True, metavar="FORMAT", help=", ".join(FILES))
    command.add_argument("--precision", dest="number", default="fp32", metavar="P", help=f"{', '.join(PRECISIONS)} (default: fp32)")
    command.add_argument(
        "--prefer", default="fastest", metavar="WHICH", help=f"int8: {' or '.join(PREFERENCES)} that agrees (default: fastest)"
    )
    command.add_argument("--bake-preprocessing", action="store_true", help="the graph takes uint8 RGB crops and normalises them itself")
    command.add_argument(
        "--with", dest="extras", action="append", default=[], metavar="OUTPUT", help=f"a further output: {', '.join(EXTRAS)}"
    )
    command.add_argument("--calibrate", type=Path, metavar="FOLDER", help="int8: photos for a static recipe; the rest is compared on")
    command.add_argument("--photos", type=Path, metavar="FOLDER", help="photos to compare on (default: those of --calibrate, or drawings)")
    command.add_argument("--serve", action="append", default=[], metavar="KIT", help=f"what to serve it with: {', '.join(KITS)}")
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="a folder that is new or empty")
    flags = [flag for flag in MODEL_FLAGS if flag != "precision"]  # --precision is the bundle's in this command
    Settings.add_flags(command, (*flags, *PHOTO_FLAGS, "compare_photos"))
    command.set_defaults(run=_export)


def _export(flags: argparse.Namespace) -> int:
    plan = Plan(
        format=flags.format,
        precision=flags.number,
        baked=flags.bake_preprocessing,
        extras=tuple(dict.fromkeys(flags.extras)),
        kits=tuple(dict.fromkeys(flags.serve)),
        prefer=flags.prefer,
    )
    settings = replace(Settings.read(flags), precision="fp32")  # the original always runs in fp32
    photos, calibration = _photos_in(flags.photos, settings), _photos_in(flags.calibrate, settings)
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.export import bundle

    check_new_folder(flags.output)
    store = ModelStore(settings)
    emit_event({"kind": "step", "stage": "model", "phase": "Loading the model", "done": 0, "total": 0})
    vit = store.get().result()
    print(vit.introduction, file=sys.stderr)
    print(f"about {plan.expected_bytes(vit.parameters) / 1e6:.0f} MB", file=sys.stderr)
    with closing(bundle.export(vit, store.engine, plan, flags.output, settings, photos=photos, calibration=calibration)) as steps:
        report = _follow(steps)
    _print_report(report, flags.output)
    return 0


def _photos_in(folder: Path | None, settings: Settings) -> list | None:
    if folder is None:
        return None
    from vitdemo.core.photos.given import photos_given

    return photos_given([folder], settings)


def _follow(steps):
    """Print each phase, with its progress on a terminal, and emit each step. Returns the report, which comes last."""
    phase, interactive = "", sys.stderr.isatty()
    for step in steps:
        if not hasattr(step, "phase"):
            print(file=sys.stderr, end="\n" if interactive and phase else "")
            return step
        emit_event({"kind": "step"} | asdict(step))
        if step.phase != phase:
            phase = step.phase
            print(f"{chr(10) if interactive else ''}{phase}", end="" if interactive else "\n", file=sys.stderr, flush=True)
        if interactive and step.total:
            print(f"\r{phase} {step.done}/{step.total}", end="", file=sys.stderr, flush=True)
    raise AssertionError("an export ends with its report")


def _print_report(report, output: Path) -> None:
    shipped = report.shipped
    if len(report.rows) > 1:
        print(f"{'':38}{'MB':>7}{'agrees':>11}{'right':>10}{'largest Δ':>11}{'1 photo':>10}{'8 photos':>10}")
        for row in report.rows:
            print(f"{'→' if row.shipped else ' '} {row.name:36}{_figures(row)}")
    else:
        print(f"{output}: {shipped.bytes / 1e6:.1f} MB, {_sentence(shipped.agreement)}")
    for batch, seconds in report.torch_seconds.items():
        print(f"batch {batch}: torch {1e3 * seconds:.1f} ms, {report.runtime} {1e3 * shipped.seconds[batch]:.1f} ms")
    for name, difference in report.extras.items():
        print(f"{name}: differs by {difference:.2g} at most")
    for sentence in report.warnings:
        print(f"vitdemo: {sentence}", file=sys.stderr)
    print(f"the bundle is in {output}; {output / 'report.html'} shows what was measured", file=sys.stderr)


def _figures(row) -> str:
    parity = row.agreement
    accuracy = "–" if parity.accuracy is None else percent(parity.accuracy)
    times = "".join(f"{1e3 * seconds:7.1f} ms" for seconds in row.seconds.values())
    return f"{row.bytes / 1e6:7.1f}{percent(parity.agreement):>11}{accuracy:>10}{parity.largest:11.2g}{times}"


def _sentence(parity) -> str:
    what = "the same first class" if parity.top5 is not None else "the same features"
    accuracy = (
        f", accuracy {percent(parity.accuracy)} (the original {percent(parity.accuracy_before)})" if parity.accuracy is not None else ""
    )
    return f"{what} on {percent(parity.agreement)} of {parity.photos} photos, outputs differ by {parity.largest:.2g} at most{accuracy}"
