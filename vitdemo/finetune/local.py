"""Fine-tuning in this process, from the command line's flags to the output on the terminal."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Set
from dataclasses import fields, replace
from pathlib import Path

from vitdemo.core.config import PHOTO_FLAGS, Settings
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.figures import percent
from vitdemo.core.jobs.child import emit_event
from vitdemo.core.names import one_spelling
from vitdemo.core.terminal import CLEAR, printable
from vitdemo.finetune.recipe import PRESETS, Recipe

SETTINGS = ("model", "checkpoint", "labels", "device", "icc", *PHOTO_FLAGS)


def learn(flags: argparse.Namespace) -> int:
    """Fine-tune in this process, together with others if a launcher started several. Returns the exit status.

    Raises: UserError for flags, photos or folders that can't be used.
    """
    recipe = recipe_of(flags)
    taken_as = _taken_as(flags.split)
    settings = Settings.read(argparse.Namespace(**{name: getattr(flags, name) for name in SETTINGS}))
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.core.photos.given import photos_given
    from vitdemo.finetune.data.folders import NothingToLearn, place
    from vitdemo.finetune.learning.train import check_folder, finetune

    check_folder(flags.output)
    if not flags.folder.exists():
        raise UserError(f"“{flags.folder}” is not there: check the name of the folder or zip.")
    items = photos_given([flags.folder], settings)
    try:
        found = place(items, flags.folder, taken_as=taken_as)
        classes = {sample.label for sample in found.samples}
        _check_known("--split", taken_as, found.folders or classes, "folder")
        changes = dict(_renamed(text, classes) for text in flags.rename)
        _check_known("--rename", changes, classes, "class")
        placed = place(items, flags.folder, changes, taken_as)
    except NothingToLearn as error:
        _tell(error.placed.notes)
        raise
    notes = [*items.notes, *placed.notes, *flags.note]
    from vitdemo.core.training.distributed import process_group

    with process_group(flags.output) as (output, rank):
        if rank is not None and settings.device == "auto":
            settings = replace(settings, device=f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if _cuda() else "cpu")
        store = ModelStore(replace(settings, precision="fp32"))
        emit_event({"kind": "note", "text": "Loading the model …"})
        vit = store.get().result()
        printer = _ProgressPrinter(told={*items.notes, *placed.notes}) if not rank else None
        if printer:
            _tell(placed.notes)
            print(vit.introduction, file=sys.stderr)
            if rank is not None:
                print(f"{_processes()} processes learn together", file=sys.stderr)
        try:
            for event in finetune(vit, store.engine, placed.samples, recipe, output, settings, notes):
                if printer:
                    printer.tell(event)
        except KeyboardInterrupt:
            print(f"\nvitdemo: stopped. The same command goes on after the last epoch; {_so_far(output)}", file=sys.stderr)
            return 130
        if printer:
            print(f"The model is in {flags.output}: use it with --model {shlex.quote(f'local-dir:{flags.output}')}", file=sys.stderr)
    return 0


def _so_far(output: Path) -> str:
    return f"the best weights so far are in {output}." if (output / "report.json").is_file() else "there are no weights yet."


def recipe_of(flags: argparse.Namespace) -> Recipe:
    """Return the recipe that the flags ask for. Raises: UsageError for an unknown preset or an invalid value."""
    if (name := flags.preset or "quick") not in PRESETS:
        raise UsageError(f"--preset is “{name}”, but it must be one of {', '.join(PRESETS)}.")
    base = PRESETS[name].recipe
    return Recipe.read({setting.name: value for setting in fields(Recipe) if (value := getattr(flags, setting.name)) is not None}, base)


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"vitdemo: {printable(note)}", file=sys.stderr)


def _renamed(text: str, classes: Iterable[str]) -> tuple[str, str]:
    """A class and its new name. Both may have a “=”: of what the text begins with, the longest that is a class is one."""
    places = [place for place, letter in enumerate(text) if letter == "=" and place]
    if not places:
        raise UsageError(f"--rename is “{text}”, but it must be OLD=NEW, or OLD= to leave the class out.")
    known = {one_spelling(name) for name in classes}
    place = max((place for place in places if one_spelling(text[:place]) in known), default=places[0])
    return text[:place], text[place + 1 :]


def _processes() -> int:
    from torch.distributed import get_world_size

    return get_world_size()


def _taken_as(given: list[str]) -> dict[str, str]:
    from vitdemo.finetune.data.folders import TAKEN_AS

    words = ", ".join(filter(None, TAKEN_AS))
    taken_as = {}
    for text in given:
        folder, _, what = text.rpartition("=")  # no WHAT has a “=”
        if not folder:
            raise UsageError(f"--split is “{text}”, but it must be FOLDER=WHAT, where WHAT is {words}, or nothing to leave it out.")
        taken_as[folder] = what
    if unknown := [what for what in taken_as.values() if what not in TAKEN_AS]:
        raise UsageError(f"--split takes a folder as “{unknown[0]}”, but it must be one of {words}, or nothing to leave it out.")
    return taken_as


def _check_known(flag: str, given: Iterable[str], known: Iterable[str], what: str) -> None:
    spellings = {one_spelling(name): name for name in known}
    if unknown := sorted(name for name in given if one_spelling(name) not in spellings):
        shown = ", ".join(sorted(spellings.values())[:20]) + (" …" if len(spellings) > 20 else "")
        raise UsageError(f"{flag} names “{unknown[0]}”, and there is no such {what}: there are {shown}.")


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


class _ProgressPrinter:
    """Prints a run's events on the terminal, and emits them to the process that follows the job.

    Args:
        told: notes that are printed already.
    """

    def __init__(self, told: Set[str] = frozenset()):
        self._told = told
        self._open = False  # whether the last line printed is a progress line that the next line replaces

    def tell(self, event: dict) -> None:
        """Emit an event, a report without its content, and print it with the method named after its kind."""
        emit_event({key: value for key, value in event.items() if event["kind"] != "report" or key == "kind"})
        getattr(self, f"_{event['kind']}")(event)

    def _photos(self, event: dict) -> None:
        over = event["done"] == event["total"]
        self._progress(f"{event['done']}/{event['total']} photos, {event['speed']:.1f} a second", over)

    def _estimate(self, event: dict) -> None:
        left = round(event["seconds"])
        self._print(f"About {left // 60}:{left % 60:02} of work for these photos on this machine")

    def _data(self, event: dict) -> None:
        totals = {split: sum(counts[split] for counts in event["counts"].values()) for split in ("train", "validation", "test")}
        summary = ", ".join(f"{count} for {split}" for split, count in totals.items() if count)
        self._print(f"{len(event['classes'])} classes: {summary}")
        for note in event["notes"]:
            if note not in self._told:
                self._print(f"vitdemo: {note}")

    def _note(self, event: dict) -> None:
        self._print(event["text"])

    def _resumed(self, event: dict) -> None:
        self._print(f"Going on after epoch {event['epoch']} of the {event['stage']}" if event["epoch"] else "Going on after the head")

    def _step(self, event: dict) -> None:
        loss = f", loss {event['loss']:.3f}" if event["done"] else ""
        self._progress(f"blocks, epoch {event['epoch']} of {event['of']}: {event['done']}/{event['total']} photos{loss}", False)

    def _epoch(self, event: dict) -> None:
        left = round(event["seconds_left"])
        line = (
            f"{event['stage']}, epoch {event['epoch']} of {event['of']}: loss {event['loss']:.3f}, "
            f"validation {percent(event['accuracy'])}, macro-F1 {event['macro_f1']:.3f}, "
            f"{event['photos_per_second']:.0f} photos a second, {left // 60}:{left % 60:02} left"
        )
        if event["stage"] == "head":
            self._progress(line, event["epoch"] == event["of"])
        else:
            self._print(line + (" · best so far" if event["best"] else ""))

    def _report(self, event: dict) -> None:
        low, high = event["interval"]
        selected = ", which also selected the weights" if event["weights_of"]["stage"] == "blocks" else ""
        which = {
            "test": "test photos",
            "validation": f"validation photos{selected}",
            "cross-validation": "photos by cross-validation, each asked of a head that had not learned it",
        }[event["asked"]]
        self._print(
            f"Accuracy {percent(event['accuracy'])} on {event['of']} {which} (95 % confidence interval: {percent(low)} to {percent(high)})"
        )
        for name, baseline in event["baselines"].items():
            self._print(f"  {name}: {percent(baseline['accuracy'])}")
        if event["recipe"]["unfreeze"] != "head":
            self._print(event["why_these_weights"])
        self._print(event["verdict"])
        if event["peak_gpu_mb"]:
            self._print(f"At most {event['peak_gpu_mb']:.0f} MB of the GPU's memory, in {event['precision']}")

    def _print(self, line: str) -> None:
        print(f"{CLEAR if self._open else ''}{printable(line)}", file=sys.stderr)
        self._open = False

    def _progress(self, line: str, over: bool) -> None:
        """Print a line that the next line replaces; where stderr is no terminal, print it only at the end."""
        if sys.stderr.isatty():
            line = line[: shutil.get_terminal_size().columns - 1]
            print(f"{CLEAR}{line}", end="\n" if over else "", file=sys.stderr, flush=True)
            self._open = not over
        elif over:
            print(line, file=sys.stderr)
