"""A fine-tuning run: photos → features → head → (blocks) → a bundle and a report, in a folder from which a later call resumes.

The folder becomes a bundle in timm's layout. `report.json` says how good the model is. `run/` holds what is needed to resume: `plan.json`
(the request: model, recipe and photos), `features.safetensors`, and `last.safetensors`, written after every epoch.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
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
from vitdemo.finetune.learning import bundle, head, logistic, readout, report
from vitdemo.finetune.learning.blocks import Blocks, answers, check_depth
from vitdemo.finetune.learning.estimate import estimate
from vitdemo.finetune.learning.head import balanced
from vitdemo.finetune.learning.outcome import CROSS_VALIDATION, REFUSES_NOTHING, Asked, Outcome
from vitdemo.finetune.learning.reading import FeatureReader
from vitdemo.finetune.learning.state import State
from vitdemo.finetune.recipe import Recipe
from vitdemo.finetune.scores import ClassifierScores, PairedTest, compare, score

COLLAPSED = 0.5  # share of the head's macro-F1 below which the blocks may have collapsed, forgetting what the model knew
DEFAULT = Recipe()
FAMILIAR = 0.95  # share of new photos of the classes that must count as familiar
SHOWN_GUESSES = 8  # photos whose predictions are part of each epoch's event


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
        self.engine, self.recipe, self.folder, self.settings = engine, recipe, folder, settings
        self.reader = FeatureReader(vit, engine, recipe, folder / "run", settings)
        self.last = folder / "run" / "last.safetensors"
        self.state = State()
        self.begun = time.monotonic()

    def events(self, samples: Sequence[Sample], notes: Sequence[str]) -> Iterator[dict]:
        """Start or resume the run, and yield its events; arguments, events and errors as in `finetune`."""
        reader, vit = self.reader, self.reader.original
        check_depth(vit, self.recipe)
        if not vit.adapter.has_config:
            raise UserError(f"timm has no config for {vit.name}, whose layers it has no word for: choose another model.")
        check_folder(self.folder)
        with self._write_errors():
            (self.folder / "run").mkdir(parents=True, exist_ok=True)
            yield {"kind": "estimate", "seconds": estimate(vit, self.engine, samples, self.recipe, self.settings)}
            if self.recipe.features == readout.AUTO:
                yield from reader.choose(samples, notes)
            else:
                reader.take(self.recipe.features)
            samples = yield from reader.embed(reader.cache, samples)
        self.outcome = self._settle(samples, notes)
        data = self.outcome.data
        yield {"kind": "data", "classes": data.classes, "counts": data.counts(), "notes": data.notes}
        yield from self._resume()
        if vit.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(vit.device)
        if self.state.stage == "head":
            yield from self._learn_head()
        if self.recipe.blocks and not self.state.ended and self.state.epoch < self.recipe.epochs:
            yield from self._learn_blocks()
        yield {"kind": "note", "text": "Asking it about the photos it has not learned from …"}
        finished = self._finish()
        yield from self._learn_what_is_familiar()
        yield {"kind": "report"} | finished

    def _settle(self, samples: Sequence[Sample], notes: Sequence[str]) -> Outcome:
        """Decide which photos are learned from, and how the head learns."""
        data = settle(samples, share=self.recipe.validation, seed=self.recipe.seed, notes=notes)
        width = next(iter(self.reader.cache.rows.values())).shape[0]
        exact = len(data.samples) * (1 + self.recipe.views) * len(data.classes) * width <= logistic.MOST
        used = data if self.recipe.blocks or not exact else data.undivided()
        return Outcome(self.reader, used, self.state, self.folder, exact=exact, begun=self.begun)

    def _learn_what_is_familiar(self) -> Iterator[dict]:
        """Add to the bundle what it was trained on, so that it can say of a photo that it is unlike all of it."""
        outcome, known = self.outcome, self.reader.cache
        if not outcome.tells_the_unfamiliar:
            if self.recipe.refuse:
                yield {"kind": "note", "text": REFUSES_NOTHING}
            return
        learned = outcome.learned
        with self._write_errors():
            if self.state.kept["stage"] != "head":  # the blocks have learned, so the features are others
                learned = outcome.train
                weights = hashlib.sha256((self.folder / "model.safetensors").read_bytes()).hexdigest()
                known = FeatureCache(self.folder / "run" / "tuned.safetensors", weights)
                yield from self.reader.embed(known, [*outcome.train, *outcome.validation])
            features, targets = known.of(learned), outcome.targets(learned)
            if outcome.validation and learned is outcome.train:
                detector = OodDetector.fit(features, targets, known.of(outcome.validation), FAMILIAR)
            else:
                detector = OodDetector.cross_validated(features, targets, self.state.checked["folds"], FAMILIAR)
            replace(detector, refuses=self.recipe.refuse).save(self.folder)

    def _weights(self, targets: torch.Tensor) -> torch.Tensor | None:
        return balanced(targets, len(self.outcome.data.classes)) if self.recipe.balance else None

    def _resume(self) -> Iterator[dict]:
        """Resume after the last epoch if the folder's request equals this one; otherwise store this request and start anew."""
        photos = [[sample.id, sample.label, sample.split] for sample in self.outcome.data.samples]
        request = {
            "model": self.reader.model,
            "recipe": self.recipe.as_json(),
            "photos": hashlib.sha256(json.dumps(sorted(photos)).encode()).hexdigest(),
        }
        path = self.folder / "run" / "plan.json"
        if path.is_file() and read_json(path) == request:
            if self.last.is_file():
                self.state = self.outcome.state = State(**checkpoint.load(self.last)["more"]["state"])
                yield {"kind": "resumed", "stage": self.state.stage, "epoch": self.state.epoch, "history": self.state.history}
            return
        with self._write_errors():
            if path.is_file():
                yield {"kind": "note", "text": "Photos, model or settings are not those of the run that is there: it begins anew."}
            self.last.unlink(missing_ok=True)
            write_json(request, path)

    def _learn_head(self) -> Iterator[dict]:
        """Run stage 1: fit the head, and write the first bundle and its report."""
        state, outcome, begin = self.state, self.outcome, time.monotonic()
        with self._write_errors():
            views = yield from self.reader.views(outcome.learned)
        if outcome.exact:
            yield {"kind": "note", "text": "Fitting the head, and checking it by cross-validation …"}
            fitted = self._fit(outcome.learned, views)
            state.head, state.checked = fitted.head, fitted.checked.as_json() if fitted.checked else {}
            state.start = fitted.head if len(outcome.learned) == len(outcome.train) else self._fit(outcome.train, views).head
        else:
            yield from self._learn_in_minibatches(views)
        state.epoch = 1
        state.kept = {"stage": "head", "epoch": 1, "why": "Only the head was trained."}
        asked = outcome.asked(final=False)
        learned, kept = outcome.labelled(outcome.learned), outcome.labelled(outcome.validation) if outcome.validation else None
        loss = score(head.answer(state.head, learned.inputs), learned.targets).loss
        assert loss is not None  # these are scores of logits
        judged = outcome.learned if asked.about == CROSS_VALIDATION else outcome.validation
        if kept:
            state.better(score(head.answer(state.start, kept.inputs), kept.targets), "head", 1)
        speed = len(outcome.learned) / max(1e-9, time.monotonic() - begin)
        yield self._epoch("head", 1, loss, score(asked.logits, asked.targets), judged, asked.logits, {}, speed, len(outcome.learned))
        state.stage, state.epoch = "blocks", 0
        head.put(self.reader.vit.module, state.head)
        with self._write_errors():
            self._write_bundle(self.reader.vit.module)
            outcome.write(outcome.asked(final=False))
            checkpoint.save({"more": {"state": self._state_so_far()}}, self.last)

    def _fit(self, samples: Sequence[Sample], views: Sequence[FeatureCache]) -> logistic.ExactHead:
        targets = self.outcome.targets(samples)
        inputs = torch.cat([cache.of(samples) for cache in (self.reader.cache, *views)])
        return logistic.fit_head(inputs, targets, len(self.outcome.data.classes), self._weights(targets), len(views))

    def _write_bundle(self, module: torch.nn.Module) -> None:
        bundle.write(module, self.outcome.data.classes, self.reader.vit.preprocessing, self.folder, self.reader.arguments)

    def _learn_in_minibatches(self, views: Sequence[FeatureCache]) -> Iterator[dict]:
        """Train the head where there are too many photos to solve it, and keep its best epoch on the validation photos."""
        train_photos, kept = self.outcome.train, self.outcome.labelled(self.outcome.validation)
        many = f"{len(train_photos):,} photos are too many to solve the head exactly"
        yield {"kind": "note", "text": f"{many}: it learns in {head.EPOCHS} passes, checked on the validation photos."}
        targets = self.outcome.targets(train_photos)
        inputs = torch.cat([cache.of(train_photos) for cache in (self.reader.cache, *views)])
        train = head.LabelledFeatures(inputs, targets.repeat(1 + len(views)))
        learner = head.MinibatchHead(train, len(self.outcome.data.classes), self._weights(targets), self.recipe.seed)
        best = math.inf
        for number in range(head.EPOCHS):
            learner.epoch(number)
            found = learner.folded()
            logits = head.answer(found, kept.inputs)
            heat = logistic.temperature(logits, kept.targets)
            scores = score(heat * logits, kept.targets)
            yield {"kind": "note", "text": f"Head, pass {number + 1} of {head.EPOCHS}: validation {scores.accuracy:.1%}"}
            if scores.loss is not None and scores.loss < best:
                best, self.state.head = scores.loss, {name: heat * value for name, value in found.items()}
        self.state.start = self.state.head

    def _learn_blocks(self) -> Iterator[dict]:
        """Run stage 2: train the blocks, and write the bundle and its report after each epoch that is the best so far."""
        recipe, state, outcome = self.recipe, self.state, self.outcome
        train, validation = outcome.train, outcome.validation
        targets, wanted = outcome.targets(train), outcome.targets(validation)
        stage = Blocks(self.reader.vit, state.start, train, targets.tolist(), recipe, self._weights(targets))
        if state.epoch:
            stage.trainer.load(self.last)
        heads = head.answer(state.start, self.reader.cache.of(validation))
        head_f1 = score(heads, wanted).macro_f1
        while state.epoch < recipe.epochs and not state.ended:
            begin = time.monotonic()
            progress: dict[str, Any] = {"loss": math.inf}
            try:
                for progress in stage.epoch(state.epoch, self.settings):
                    yield {"kind": "step", "stage": "blocks", "epoch": state.epoch + 1, "of": recipe.epochs} | progress
            except FloatingPointError:
                progress = {"loss": math.inf}
            loss, speed = progress["loss"], len(train) / (time.monotonic() - begin)
            if loss > _hopeless(len(outcome.data.classes)):
                state.ended = f"Training diverged at a learning rate of {recipe.lr:g}: choose a lower one ({DEFAULT.lr:g} is usual)."
                break
            logits = stage.answers(validation, self.engine, self.settings)
            scores = score(logits, wanted)
            state.epoch += 1
            state.waited += 1
            if state.better(scores, "blocks", state.epoch):
                state.waited = 0
                test = compare(logits.argmax(-1), heads.argmax(-1), wanted)
                if test.verdict > 0:
                    state.kept = {"stage": "blocks", "epoch": state.epoch, "why": _why(test)}
                    with self._write_errors():
                        self._write_bundle(stage.trainer.best)
                        outcome.write(Asked(VALIDATION, validation, wanted, logits))
                elif state.kept["stage"] == "head":
                    state.kept |= {"why": _why(test)}
            yield self._epoch("blocks", recipe.epochs, loss, scores, validation, logits, progress["rates"], speed, len(train))
            if scores.macro_f1 < COLLAPSED * head_f1 and loss > 0.8 * math.log(len(outcome.data.classes)):
                state.ended = f"At a rate of {recipe.lr:g} the model forgot what it knew: choose a lower one ({DEFAULT.lr:g} is usual)."
            elif recipe.patience and state.waited >= recipe.patience:
                state.ended = f"Ended after {state.epoch} epochs: the last {state.waited} were no better."
            self._save(stage.trainer)
        if state.ended:
            yield {"kind": "note", "text": state.ended}

    def _finish(self) -> dict:
        """Write the final report on the weights to use: on the test photos if there are any, else as `Outcome.asked` has it."""
        outcome = self.outcome
        if self.state.kept["stage"] == "head":
            if self.recipe.blocks and self.state.best["stage"] != "blocks":
                self.state.kept |= {"why": "No epoch of the blocks was better than the head on the validation photos, so the head is kept."}
            asked = outcome.asked(final=True)
        else:
            split = TEST if outcome.data.of(TEST) else VALIDATION
            samples, vit = outcome.data.of(split), self.reader.vit
            head.put(vit.module, self.state.head)
            vit.module.load_state_dict(load_file(self.folder / "model.safetensors"))
            asked = Asked(split, samples, outcome.targets(samples), answers(vit.module, vit, samples, self.engine, self.settings))
        with self._write_errors():
            return outcome.write(asked, finished=True)

    def _epoch(
        self,
        stage: str,
        of: int,
        loss: float,
        scores: ClassifierScores,
        judged: Sequence[Sample],
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
            "best": stage == "head" or (state.best["stage"] == stage and state.best["epoch"] == state.epoch),
        }
        state.history.append(event)
        return event | {"guesses": report.guesses(self.outcome.data, judged, logits, _spread(len(judged), SHOWN_GUESSES))}

    def _save(self, trainer) -> None:
        """Write everything needed to resume from here."""
        with self._write_errors():
            trainer.save(self.last, state=self._state_so_far())

    def _state_so_far(self) -> dict:
        state = {field.name: getattr(self.state, field.name) for field in fields(State)}
        return state | {"seconds": self.outcome.seconds}

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


def _why(test: PairedTest) -> str:
    """Why the head or the blocks are kept, by the paired test of the blocks against the head."""
    counts = f"Of the validation photos the blocks alone classify {test.won} correctly, and the head alone {test.lost}"
    outcome = {1: "the blocks are better", 0: "a tie, which goes to the head", -1: "the head is better"}[test.verdict]
    return f"{counts} (McNemar's test, p = {test.p:.2g}): {outcome}."


def _hopeless(classes: int) -> float:
    """Return the mean loss of an epoch that only a diverging run reaches: twice that of uniform guessing, plus 1."""
    return 2 * math.log(classes) + 1


def _spread(count: int, most: int) -> list[int]:
    """Return up to `most` evenly spaced indices below `count`."""
    return sorted({round(position) for position in torch.linspace(0, count - 1, min(count, most)).tolist()})
