"""A fine-tuning run: photos → features → head → (blocks) → a bundle and a report, in a folder from which a later call resumes.

The folder becomes a bundle in timm's layout. `report.json` says how good the model is. `run/` holds what is needed to resume: `plan.json`
(the request: model, recipe and photos), `features.safetensors`, and `last.safetensors`, written after every epoch.
"""

import hashlib
import json
import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.vit import Vit
from vitdemo.core.outputs import read_json, write_json
from vitdemo.core.training import checkpoint
from vitdemo.finetune.data.augment import varied
from vitdemo.finetune.data.dataset import TEST, TRAIN, VALIDATION, Sample, settle
from vitdemo.finetune.data.features import FeatureCache, fingerprint
from vitdemo.finetune.learning import bundle, head, report
from vitdemo.finetune.learning.blocks import Blocks, answers, check_depth, precision_on
from vitdemo.finetune.learning.head import Head, balanced
from vitdemo.finetune.learning.state import State
from vitdemo.finetune.recipe import Recipe
from vitdemo.finetune.scores import ClassifierScores, score

COLLAPSED = 0.5  # share of the head's macro-F1 below which the blocks may have collapsed, forgetting what the model knew
DEFAULT = Recipe()
SHOWN_GUESSES = 8  # validation photos whose predictions are part of each epoch's event


def finetune(
    vit: Vit, engine: Engine, samples: Sequence[Sample], recipe: Recipe, folder: Path, settings: Settings, notes: Sequence[str] = ()
) -> Iterator[dict]:
    """Fine-tune, or resume the run in `folder`. The result is a bundle with its report in that folder.

    Args:
        samples: from `folders.place`.
        notes: sentences about the samples, for the report.

    Yields: events, dicts with a `kind`: `photos` (done, total, speed), `data` (classes, counts, notes), `step` and `epoch` (stage, epoch,
        of, loss, rates; an epoch's accuracy, macro_f1, validation_loss, photos_per_second, seconds_left, guesses), `resumed` (stage, epoch,
        history), `note` (text), and at the end `report` (what report.json holds).
    Raises: UserError with the remedy for photos, recipes and folders that can't be used.
    """
    yield from FinetuneRun(vit, engine, recipe, folder, settings).events(samples, notes)


def check_folder(folder: Path) -> None:
    """Check that a run can use this folder. Raises: UserError for a file, or a folder that holds anything but a run."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose a folder for the result.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "run").is_dir():
        raise UserError(f"{folder} holds other files: choose an empty folder, or one that a fine-tuning was in.")


class FinetuneRun:
    """One fine-tuning run, from its photos to its report."""

    def __init__(self, vit: Vit, engine: Engine, recipe: Recipe, folder: Path, settings: Settings):
        self.vit, self.engine, self.recipe, self.folder, self.settings = vit, engine, recipe, folder, settings
        self.last = folder / "run" / "last.safetensors"
        self.state = State()
        self.begun = time.monotonic()
        self.model = fingerprint(vit)

    def events(self, samples: Sequence[Sample], notes: Sequence[str]) -> Iterator[dict]:
        """Start or resume the run, and yield its events; arguments, events and errors as in `finetune`."""
        check_depth(self.vit, self.recipe)
        if not self.vit.adapter.is_timms:
            raise UserError(f"timm has no config for {self.vit.name}, whose head or layers it has no word for: choose another model.")
        check_folder(self.folder)
        with self._write_errors():
            (self.folder / "run").mkdir(parents=True, exist_ok=True)
        self.cache = FeatureCache(self.folder / "run" / "features.safetensors", self.model)
        samples = yield from self._embed(self.cache, samples, "none")
        self.data = settle(samples, share=self.recipe.validation, seed=self.recipe.seed, notes=notes)
        yield {"kind": "data", "classes": self.data.classes, "counts": self.data.counts(), "notes": self.data.notes}
        yield from self._resume()
        self.train, self.validation = self.data.of(TRAIN), self.data.of(VALIDATION)
        self.targets = {split: torch.tensor(self.data.targets(self.data.of(split))) for split in (TRAIN, VALIDATION, TEST)}
        self.weight = balanced(self.targets[TRAIN], len(self.data.classes)) if self.recipe.balance else None
        if self.vit.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.vit.device)
        if self.state.stage == "head":
            yield from self._learn_head()
        if self.recipe.blocks and not self.state.ended:
            yield from self._learn_blocks()
        yield {"kind": "note", "text": "Asking it about the photos it has not learned from …"}
        yield {"kind": "report"} | self._finish()

    def _embed(self, cache: FeatureCache, samples: Sequence[Sample], augment: str, *seed: int) -> Generator[dict, None, list[Sample]]:
        """Compute the samples' features, and yield the progress. Returns the samples with their ids."""
        read, done, begin, reported = list(samples), 0, time.monotonic(), 0.0
        prepare = varied(self.vit.preprocessing, augment, *seed)
        with self._write_errors():
            for part in cache.compute(self.vit, samples, prepare, self.engine, self.settings):
                for index, sample in part:
                    read[index] = sample
                done += len(part)
                if time.monotonic() - reported > 0.2 or done == len(samples):
                    reported = time.monotonic()
                    yield {"kind": "photos", "done": done, "total": len(samples), "speed": done / max(1e-9, reported - begin)}
        return read

    def _resume(self) -> Iterator[dict]:
        """Resume after the last epoch if the folder's request equals this one; otherwise store this request and start anew."""
        photos = [[sample.id, sample.label, sample.split] for sample in self.data.samples]
        request = {
            "model": self.model,
            "recipe": self.recipe.as_json(),
            "photos": hashlib.sha256(json.dumps(sorted(photos)).encode()).hexdigest(),
        }
        path = self.folder / "run" / "plan.json"
        if path.is_file() and read_json(path) == request:
            if self.last.is_file():
                self.state = State(**checkpoint.load(self.last)["more"]["state"])
                yield {"kind": "resumed", "stage": self.state.stage, "epoch": self.state.epoch, "history": self.state.history}
            return
        with self._write_errors():
            if path.is_file():
                yield {"kind": "note", "text": "Photos, model or settings are not those of the run that is there: it begins anew."}
            self.last.unlink(missing_ok=True)
            write_json(request, path)

    def _learn_head(self) -> Iterator[dict]:
        """Run stage 1: train the head, and write the first bundle and its report."""
        recipe, state, classes = self.recipe, self.state, len(self.data.classes)
        inputs, targets = self.cache.of(self.train), self.targets[TRAIN]
        for view in range(1, recipe.views + 1):
            name = self.folder / "run" / f"view-{view}.safetensors"
            cache = FeatureCache(name, f"{self.model} {recipe.augment} {recipe.seed} {view}")
            yield {"kind": "note", "text": f"Variation {view} of {recipe.views} of each photo"}
            yield from self._embed(cache, self.train, recipe.augment, recipe.seed, view)
            inputs, targets = torch.cat([inputs, cache.of(self.train)]), torch.cat([targets, self.targets[TRAIN]])
        validation = head.LabelledFeatures(self.cache.of(self.validation), self.targets[VALIDATION])
        torch.manual_seed(recipe.seed)
        stage = Head(head.LabelledFeatures(inputs, targets), validation, classes, recipe, self.weight)
        if state.epoch:
            stage.trainer.load(self.last)
        while state.epoch < recipe.head_epochs:
            begin = time.monotonic()
            try:
                loss, scores, logits = stage.epoch(state.epoch)
            except FloatingPointError:
                loss = math.inf
            if loss > _hopeless(classes):
                raise UserError(
                    f"The head's training diverged at a learning rate of {recipe.head_lr:g}: choose a lower one "
                    f"({DEFAULT.head_lr:g} is usual)."
                )
            state.epoch += 1
            if state.better(scores, "head", state.epoch):
                state.head = stage.folded()
            speed = len(inputs) / max(1e-9, time.monotonic() - begin)
            yield self._epoch("head", recipe.head_epochs, loss, scores, logits, {"head": max(stage.trainer.rates)}, speed, len(inputs))
            self._save(stage.trainer)
        state.stage, state.epoch = "blocks", 0
        head.put(self.vit.module, state.head)
        with self._write_errors():
            bundle.write(self.vit.module, self.data.classes, self.vit.preprocessing, self.folder)
            self._report(VALIDATION, head.answer(state.head, validation.inputs))
        self._save(stage.trainer)

    def _learn_blocks(self) -> Iterator[dict]:
        """Run stage 2: train the blocks, and write the bundle and its report after each epoch that is the best so far."""
        recipe, state = self.recipe, self.state
        stage = Blocks(self.vit, state.head, self.train, self.targets[TRAIN].tolist(), recipe, self.weight)
        if state.epoch:
            stage.trainer.load(self.last)
        head_f1 = max(event["macro_f1"] for event in state.history if event["stage"] == "head")
        while state.epoch < recipe.epochs and not state.ended:
            begin = time.monotonic()
            progress: dict[str, Any] = {"loss": math.inf}
            try:
                for progress in stage.epoch(state.epoch, self.settings):
                    yield {"kind": "step", "stage": "blocks", "epoch": state.epoch + 1, "of": recipe.epochs} | progress
            except FloatingPointError:
                progress = {"loss": math.inf}
            loss, speed = progress["loss"], len(self.train) / (time.monotonic() - begin)
            if loss > _hopeless(len(self.data.classes)):
                state.ended = f"Training diverged at a learning rate of {recipe.lr:g}: choose a lower one ({DEFAULT.lr:g} is usual)."
                break
            logits = stage.answers(self.validation, self.engine, self.settings)
            scores = score(logits, self.targets[VALIDATION])
            state.epoch += 1
            state.waited += 1
            if state.better(scores, "blocks", state.epoch):
                state.waited = 0
                with self._write_errors():
                    bundle.write(stage.trainer.best, self.data.classes, self.vit.preprocessing, self.folder)
                    self._report(VALIDATION, logits)
            yield self._epoch("blocks", recipe.epochs, loss, scores, logits, progress["rates"], speed, len(self.train))
            if scores.macro_f1 < COLLAPSED * head_f1 and loss > 0.8 * math.log(len(self.data.classes)):
                state.ended = f"At a rate of {recipe.lr:g} the model forgot what it knew: choose a lower one ({DEFAULT.lr:g} is usual)."
            elif recipe.patience and state.waited >= recipe.patience:
                state.ended = f"Ended after {state.epoch} epochs: the last {state.waited} were no better."
            self._save(stage.trainer)
        if state.ended:
            yield {"kind": "note", "text": state.ended}

    def _finish(self) -> dict:
        """Write the final report on the weights to use: on the test photos if there are any, else on the validation photos."""
        split = TEST if self.data.of(TEST) else VALIDATION
        samples = self.data.of(split)
        if self.state.best["stage"] == "head":
            logits = head.answer(self.state.head, self.cache.of(samples))
        else:
            network = self.vit.module
            head.put(network, self.state.head)
            network.load_state_dict(load_file(self.folder / "model.safetensors"))
            logits = answers(network, self.vit, samples, self.engine, self.settings)
        with self._write_errors():
            return self._report(split, logits, finished=True)

    def _report(self, split: str, logits: torch.Tensor, *, finished: bool = False) -> dict:
        samples, state = self.data.of(split), self.state
        known = head.LabelledFeatures(self.cache.of(self.train), self.targets[TRAIN])
        content = {
            "finished": finished,
            "model": self.vit.name,
            "icc": self.vit.preprocessing.icc,
            "recipe": self.recipe.as_json(),
            "classes": self.data.classes,
            "counts": self.data.counts(),
            "notes": [*self.data.notes, *([state.ended] if state.ended else [])],
            "weights_of": {"stage": state.best["stage"], "epoch": state.best["epoch"]},
            "precision": precision_on(self.vit.device, self.recipe.precision) if self.recipe.blocks else "fp32",
            "seconds": state.seconds + time.monotonic() - self.begun,
            "peak_gpu_mb": torch.cuda.max_memory_allocated(self.vit.device) / 1e6 if self.vit.device.type == "cuda" else None,
            "asked": split,
            "history": state.history,
        } | report.of(self.data, samples, logits, self.targets[split], known, self.cache.of(samples), state.head)
        write_json(content, self.folder / "report.json")
        return content

    def _epoch(
        self,
        stage: str,
        of: int,
        loss: float,
        scores: ClassifierScores,
        logits: torch.Tensor,
        rates: dict[str, float],
        speed: float,
        photos: int,
    ) -> dict:
        """Record a finished epoch in the history, and return its event."""
        state = self.state
        event = {
            "kind": "epoch",
            "stage": stage,
            "epoch": state.epoch,
            "of": of,
            "loss": loss,
            "validation_loss": scores.loss,
            "accuracy": scores.accuracy,
            "macro_f1": scores.macro_f1,
            "rates": rates,
            "photos_per_second": speed,
            "seconds_left": (of - state.epoch) * photos / speed,
            "best": state.best["stage"] == stage and state.best["epoch"] == state.epoch,
        }
        state.history.append(event)
        return event | {"guesses": report.guesses(self.data, self.validation, logits, _spread(len(self.validation), SHOWN_GUESSES))}

    def _save(self, trainer) -> None:
        """Write everything needed to resume from here."""
        state = {field.name: getattr(self.state, field.name) for field in fields(State)}
        state["seconds"] += time.monotonic() - self.begun
        with self._write_errors():
            trainer.save(self.last, state=state)

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        """Turn a failed write into a UserError; the files already on the disk stay valid."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(
                f"{self.folder} can't be written ({why}): make room and start again with the same folder, it goes on after the last epoch."
            ) from None


def _hopeless(classes: int) -> float:
    """Return the mean loss of an epoch that only a diverging run reaches: twice that of uniform guessing, plus 1."""
    return 2 * math.log(classes) + 1


def _spread(count: int, most: int) -> list[int]:
    """Return up to `most` evenly spaced indices below `count`."""
    return sorted({round(position) for position in torch.linspace(0, count - 1, min(count, most)).tolist()})
