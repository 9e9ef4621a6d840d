"""A fine-tuning run: photos → features → head → (blocks) → a bundle and a report, in a folder from which a later call resumes.

The folder becomes a bundle in timm's layout. `report.json` says how good the model is. `run/` holds what is needed to resume: `plan.json`
(the request: model, recipe and photos), `features.safetensors`, and `last.safetensors`, written after every epoch.
"""

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.ood import OodDetector
from vitdemo.core.models.vit import Vit
from vitdemo.core.outputs import read_json, write_json
from vitdemo.core.training import checkpoint
from vitdemo.finetune.data.dataset import TEST, VALIDATION, Sample, settle
from vitdemo.finetune.data.features import FeatureCache
from vitdemo.finetune.heads import head, logistic, readout
from vitdemo.finetune.learning.blocks import answers, check_depth
from vitdemo.finetune.learning.blocks_stage import learn_blocks
from vitdemo.finetune.learning.estimate import estimate
from vitdemo.finetune.learning.head_stage import learn_head
from vitdemo.finetune.learning.outcome import REFUSES_NOTHING, Asked, Outcome
from vitdemo.finetune.learning.run import Run
from vitdemo.finetune.learning.state import State
from vitdemo.finetune.recipe import Recipe

FAMILIAR = 0.95  # share of new photos of the classes that must count as familiar


def finetune(
    vit: Vit, engine: Engine, samples: Sequence[Sample], recipe: Recipe, folder: Path, settings: Settings, notes: Sequence[str] = ()
) -> Iterator[dict]:
    """Fine-tune, or resume the run in `folder`. The result is a bundle with its report in that folder.

    Args:
        samples: from `folders.place`.
        notes: sentences about the samples, for the report.

    Yields: events, dicts with a `kind`: `estimate` (seconds of the whole run on this machine, if it begins anew), `photos` (done, total,
        speed), `data` (classes, counts, notes), `step` and `epoch` (stage, epoch, of, loss, rates; an epoch's accuracy, macro_f1,
        validation_loss, photos_per_second, seconds_left, guesses), `resumed` (stage, epoch, history), `note` (text), and at the end
        `report` (what report.json holds). The head has a single epoch.
    Raises: UserError with the remedy for photos, recipes and folders that can't be used.
    """
    check_depth(vit, recipe)
    if not vit.adapter.has_config:
        raise UserError(f"timm has no config for {vit.name}, whose layers it has no word for: choose another model.")
    check_folder(folder)
    run = Run(vit, engine, recipe, folder, settings)
    samples = yield from _read(run, samples, notes)
    run.outcome = _settle(run, samples, notes)
    data = run.outcome.data
    yield {"kind": "data", "classes": data.classes, "counts": data.counts(), "notes": data.notes}
    yield from _resume(run)
    if vit.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(vit.device)
    if run.state.stage == "head":
        yield from learn_head(run)
    if recipe.blocks and not run.state.ended and run.state.epoch < recipe.epochs:
        yield from learn_blocks(run)
    yield {"kind": "note", "text": "Asking it about the photos it has not learned from …"}
    finished = _finish(run)
    yield from _learn_what_is_familiar(run)
    yield {"kind": "report"} | finished


def check_folder(folder: Path) -> None:
    """Check that a run can use this folder. Raises: UserError for a file, or a folder that holds anything but a run."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose a folder for the result.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "run").is_dir():
        raise UserError(f"{folder} holds other files: choose an empty folder, or one that a fine-tuning was in.")


def _read(run: Run, samples: Sequence[Sample], notes: Sequence[str]) -> Generator[dict, None, list[Sample]]:
    """Read the photos' features, and yield the progress. Returns the samples with their ids."""
    reader, recipe = run.reader, run.recipe
    with run.write_errors():
        (run.folder / "run").mkdir(parents=True, exist_ok=True)
        yield {"kind": "estimate", "seconds": estimate(reader.original, run.engine, samples, recipe, run.settings)}
        if recipe.features == readout.AUTO:
            yield from reader.choose(samples, notes)
        else:
            reader.take(recipe.features)
        return (yield from reader.embed(reader.cache, samples))


def _settle(run: Run, samples: Sequence[Sample], notes: Sequence[str]) -> Outcome:
    """Decide which photos are learned from, and how the head learns."""
    recipe = run.recipe
    data = settle(samples, share=recipe.validation, seed=recipe.seed, notes=notes)
    width = next(iter(run.reader.cache.rows.values())).shape[0]
    exact = len(data.samples) * (1 + recipe.views) * len(data.classes) * width <= logistic.MOST
    used = data if recipe.blocks or not exact else data.undivided()
    return Outcome(run.reader, used, run.state, run.folder, exact=exact, begun=run.begun)


def _resume(run: Run) -> Iterator[dict]:
    """Resume after the last epoch if the folder's request equals this one; otherwise store this request and start anew."""
    photos = [[sample.id, sample.label, sample.split] for sample in run.outcome.data.samples]
    request = {
        "model": run.reader.model,
        "recipe": run.recipe.as_json(),
        "photos": hashlib.sha256(json.dumps(sorted(photos)).encode()).hexdigest(),
    }
    path = run.folder / "run" / "plan.json"
    if path.is_file() and read_json(path) == request:
        if run.last.is_file():
            state = run.state = run.outcome.state = State(**checkpoint.load(run.last)["more"]["state"])
            yield {"kind": "resumed", "stage": state.stage, "epoch": state.epoch, "history": state.history}
        return
    with run.write_errors():
        if path.is_file():
            yield {"kind": "note", "text": "Photos, model or settings are not those of the run that is there: it begins anew."}
        run.last.unlink(missing_ok=True)
        write_json(request, path)


def _finish(run: Run) -> dict:
    """Write the final report on the weights to use: on the test photos if there are any, else as `Outcome.asked` has it."""
    outcome, state = run.outcome, run.state
    if state.kept["stage"] == "head":
        if run.recipe.blocks and state.best["stage"] != "blocks":
            state.kept |= {"why": "No epoch of the blocks was better than the head on the validation photos, so the head is kept."}
        asked = outcome.asked(final=True)
    else:
        split = TEST if outcome.data.of(TEST) else VALIDATION
        samples, vit = outcome.data.of(split), run.reader.vit
        head.put(vit.module, state.head)
        vit.module.load_state_dict(load_file(run.folder / "model.safetensors"))
        asked = Asked(split, samples, outcome.targets(samples), answers(vit.module, vit, samples, run.engine, run.settings))
    with run.write_errors():
        return outcome.write(asked, finished=True)


def _learn_what_is_familiar(run: Run) -> Iterator[dict]:
    """Add to the bundle what it was trained on, so that it can say of a photo that it is unlike all of it."""
    outcome, known = run.outcome, run.reader.cache
    if not outcome.tells_the_unfamiliar:
        if run.recipe.refuse:
            yield {"kind": "note", "text": REFUSES_NOTHING}
        return
    learned = outcome.learned
    with run.write_errors():
        if run.state.kept["stage"] != "head":  # the blocks have learned, so the features are others
            learned = outcome.train
            weights = hashlib.sha256((run.folder / "model.safetensors").read_bytes()).hexdigest()
            known = FeatureCache(run.folder / "run" / "tuned.safetensors", weights)
            yield from run.reader.embed(known, [*outcome.train, *outcome.validation])
        features, targets = known.of(learned), outcome.targets(learned)
        if outcome.validation and learned is outcome.train:
            detector = OodDetector.fit(features, targets, known.of(outcome.validation), FAMILIAR)
        else:
            detector = OodDetector.cross_validated(features, targets, run.state.checked["folds"], FAMILIAR)
        replace(detector, refuses=run.recipe.refuse).save(run.folder)
