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
from vitdemo.core.models.ood import OodDetector
from vitdemo.core.models.vit import Vit
from vitdemo.core.outputs import read_json, write_json
from vitdemo.core.training import checkpoint
from vitdemo.finetune.data.augment import varied
from vitdemo.finetune.data.dataset import TEST, TRAIN, VALIDATION, Sample, settle
from vitdemo.finetune.data.features import FeatureCache, fingerprint
from vitdemo.finetune.learning import bundle, card, head, influence, logistic, readout, report, verdict
from vitdemo.finetune.learning.blocks import Blocks, answers, check_depth, precision_on
from vitdemo.finetune.learning.estimate import estimate
from vitdemo.finetune.learning.head import balanced
from vitdemo.finetune.learning.state import State
from vitdemo.finetune.recipe import Recipe
from vitdemo.finetune.scores import ClassifierScores, PairedTest, compare, score

COLLAPSED = 0.5  # share of the head's macro-F1 below which the blocks may have collapsed, forgetting what the model knew
DEFAULT = Recipe()
FAMILIAR = 0.95  # share of new photos of the classes that must count as familiar
CROSSED = 0.8  # a cross-validated photo counts as so many in an interval, as the heads of the folds share most of their photos
CROSS_VALIDATION = "cross-validation"  # what the head is asked about where no photos were kept from it
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
        self.vit, self.engine, self.recipe, self.folder, self.settings = vit, engine, recipe, folder, settings
        self.last = folder / "run" / "last.safetensors"
        self.state = State()
        self.begun = time.monotonic()
        self.original = vit
        self.arguments: dict[str, Any] = {}

    def events(self, samples: Sequence[Sample], notes: Sequence[str]) -> Iterator[dict]:
        """Start or resume the run, and yield its events; arguments, events and errors as in `finetune`."""
        check_depth(self.vit, self.recipe)
        if not self.vit.adapter.is_timms:
            raise UserError(f"timm has no config for {self.vit.name}, whose head or layers it has no word for: choose another model.")
        check_folder(self.folder)
        with self._write_errors():
            (self.folder / "run").mkdir(parents=True, exist_ok=True)
        yield {"kind": "estimate", "seconds": estimate(self.vit, self.engine, samples, self.recipe, self.settings)}
        if (features := self.recipe.features) == readout.AUTO:
            features = yield from self._choose_features(samples, notes)
        self._read(features)
        samples = yield from self._embed(self.cache, samples, "none")
        self._settle(samples, notes)
        yield {"kind": "data", "classes": self.data.classes, "counts": self.data.counts(), "notes": self.data.notes}
        yield from self._resume()
        if self.vit.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.vit.device)
        if self.state.stage == "head":
            yield from self._learn_head()
        if self.recipe.blocks and not self.state.ended and self.state.epoch < self.recipe.epochs:
            yield from self._learn_blocks()
        yield {"kind": "note", "text": "Asking it about the photos it has not learned from …"}
        finished = self._finish()
        yield from self._learn_what_is_familiar()
        yield {"kind": "report"} | finished

    def _read(self, features: str) -> None:
        """Let the head read these features: final, mean or the number of a block."""
        self.features = features
        self.vit, self.arguments = readout.read_from(self.original, features)
        name = "features" if features == readout.FINAL else f"features-{features}"
        self.model = f"{fingerprint(self.vit)} {features}"
        self.cache = FeatureCache(self.folder / "run" / f"{name}.safetensors", self.model)

    def _choose_features(self, samples: Sequence[Sample], notes: Sequence[str]) -> Generator[dict, None, str]:
        """Compare what the head can read by the cross-validation of its head, and yield the progress. Returns the best."""
        losses = []
        candidates = readout.candidates(self.original)
        for features in candidates:
            self._read(features)
            read = yield from self._embed(self.cache, samples, "none")
            learned = settle(read, share=self.recipe.validation, seed=self.recipe.seed, notes=notes).undivided()
            targets = torch.tensor(learned.targets(learned.of(TRAIN)))
            inputs = self.cache.of(learned.of(TRAIN))
            weights = balanced(targets, len(learned.classes)) if self.recipe.balance else None
            checked = logistic.fit_head(inputs, targets, len(learned.classes), weights).checked
            if checked is None or inputs.numel() * len(learned.classes) > logistic.MOST:
                yield {"kind": "note", "text": "There are too few or too many photos to choose what the head reads: it is final."}
                return readout.FINAL
            losses.append(torch.nn.functional.cross_entropy(checked.logits, targets, reduction="none"))
        chosen = candidates[readout.choose(losses)]
        figures = ", ".join(f"{name} {float(loss.mean()):.3f}" for name, loss in zip(candidates, losses, strict=True))
        yield {"kind": "note", "text": f"The head reads {chosen}; cross-validated loss: {figures}."}
        return chosen

    def _learn_what_is_familiar(self) -> Iterator[dict]:
        """Add to the bundle what it was trained on, so that it can say of a photo that it is unlike all of it."""
        learned, known = (self.learned, self.cache) if self.state.kept["stage"] == "head" else (self.train, None)
        if known is None:  # the blocks have learned, so the features are others
            weights = hashlib.sha256((self.folder / "model.safetensors").read_bytes()).hexdigest()
            known = FeatureCache(self.folder / "run" / "tuned.safetensors", weights)
            yield from self._embed(known, [*self.train, *self.validation], "none")
        features, targets = known.of(learned), self._targets(learned)
        if self.validation and learned is self.train:
            detector = OodDetector.fit(features, targets, known.of(self.validation), FAMILIAR)
        elif self.state.checked:
            detector = OodDetector.cross_validated(features, targets, self.state.checked["folds"], FAMILIAR)
        else:
            return
        with self._write_errors():
            detector.save(self.folder)

    def _settle(self, samples: Sequence[Sample], notes: Sequence[str]) -> None:
        """Decide which photos are learned from, and how the head learns."""
        data = settle(samples, share=self.recipe.validation, seed=self.recipe.seed, notes=notes)
        width = next(iter(self.cache.rows.values())).shape[0]
        self.exact = len(data.samples) * (1 + self.recipe.views) * len(data.classes) * width <= logistic.MOST
        self.data = data if self.recipe.blocks or not self.exact else data.undivided()
        self.train, self.validation = self.data.of(TRAIN), self.data.of(VALIDATION)
        whole = self.exact and self.data.drawn
        self.learned = [*self.train, *self.validation] if whole else self.train  # what the head to use learns from

    def _targets(self, samples: Sequence[Sample]) -> torch.Tensor:
        return torch.tensor(self.data.targets(samples), dtype=torch.long)

    def _weights(self, targets: torch.Tensor) -> torch.Tensor | None:
        return balanced(targets, len(self.data.classes)) if self.recipe.balance else None

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
        """Run stage 1: fit the head, and write the first bundle and its report."""
        state, begin = self.state, time.monotonic()
        views = yield from self._views()
        if self.exact:
            yield {"kind": "note", "text": "Fitting the head, and checking it by cross-validation …"}
            fitted = self._fit(self.learned, views)
            state.head, state.checked = fitted.head, fitted.checked.as_json() if fitted.checked else {}
            state.start = fitted.head if len(self.learned) == len(self.train) else self._fit(self.train, views).head
        else:
            yield from self._learn_in_minibatches(views)
        state.epoch = 1
        state.kept = {"stage": "head", "epoch": 1, "why": "Only the head was trained."}
        asked, _, targets, logits = self._asked(final=False)
        learned = head.LabelledFeatures(self.cache.of(self.learned), self._targets(self.learned))
        loss = score(head.answer(state.head, learned.inputs), learned.targets).loss
        assert loss is not None  # these are scores of logits
        judged = self.learned if asked == CROSS_VALIDATION else self.validation
        if self.validation:
            state.better(score(head.answer(state.start, self.cache.of(self.validation)), self._targets(self.validation)), "head", 1)
        speed = len(self.learned) / max(1e-9, time.monotonic() - begin)
        yield self._epoch("head", 1, loss, score(logits, targets), judged, logits, {}, speed, len(self.learned))
        state.stage, state.epoch = "blocks", 0
        head.put(self.vit.module, state.head)
        with self._write_errors():
            bundle.write(self.vit.module, self.data.classes, self.vit.preprocessing, self.folder, self.arguments)
            self._report(*self._asked(final=False))
            checkpoint.save({"more": {"state": self._state_so_far()}}, self.last)

    def _views(self) -> Generator[dict, None, list[FeatureCache]]:
        """Compute the features of varied copies of the photos, and yield the progress. Returns a cache for each copy."""
        recipe, caches = self.recipe, []
        for view in range(1, recipe.views + 1):
            name = self.folder / "run" / f"view-{view}.safetensors"
            caches.append(FeatureCache(name, f"{self.model} {recipe.augment} {recipe.seed} {view}"))
            yield {"kind": "note", "text": f"Variation {view} of {recipe.views} of each photo"}
            yield from self._embed(caches[-1], self.learned, recipe.augment, recipe.seed, view)
        return caches

    def _fit(self, samples: Sequence[Sample], views: Sequence[FeatureCache]) -> logistic.ExactHead:
        targets = self._targets(samples)
        inputs = torch.cat([cache.of(samples) for cache in (self.cache, *views)])
        return logistic.fit_head(inputs, targets, len(self.data.classes), self._weights(targets), len(views))

    def _learn_in_minibatches(self, views: Sequence[FeatureCache]) -> Iterator[dict]:
        """Train the head where there are too many photos to solve it, and keep its best epoch on the validation photos."""
        many = f"{len(self.train):,} photos are too many to solve the head exactly"
        yield {"kind": "note", "text": f"{many}: it learns in {head.EPOCHS} passes, checked on the validation photos."}
        targets = self._targets(self.train)
        inputs = torch.cat([cache.of(self.train) for cache in (self.cache, *views)])
        train = head.LabelledFeatures(inputs, targets.repeat(1 + len(views)))
        learner = head.MinibatchHead(train, len(self.data.classes), self._weights(targets), self.recipe.seed)
        wanted, best = self._targets(self.validation), math.inf
        features = self.cache.of(self.validation)
        for number in range(head.EPOCHS):
            learner.epoch(number)
            found = learner.folded()
            logits = head.answer(found, features)
            heat = logistic.temperature(logits, wanted)
            scores = score(heat * logits, wanted)
            yield {"kind": "note", "text": f"Head, pass {number + 1} of {head.EPOCHS}: validation {scores.accuracy:.1%}"}
            if scores.loss is not None and scores.loss < best:
                best, self.state.head = scores.loss, {name: heat * value for name, value in found.items()}
        self.state.start = self.state.head

    def _learn_blocks(self) -> Iterator[dict]:
        """Run stage 2: train the blocks, and write the bundle and its report after each epoch that is the best so far."""
        recipe, state = self.recipe, self.state
        targets, wanted = self._targets(self.train), self._targets(self.validation)
        stage = Blocks(self.vit, state.start, self.train, targets.tolist(), recipe, self._weights(targets))
        if state.epoch:
            stage.trainer.load(self.last)
        heads = head.answer(state.start, self.cache.of(self.validation))
        head_f1 = score(heads, wanted).macro_f1
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
            scores = score(logits, wanted)
            state.epoch += 1
            state.waited += 1
            if state.better(scores, "blocks", state.epoch):
                state.waited = 0
                test = compare(logits.argmax(-1), heads.argmax(-1), wanted)
                if test.verdict > 0:
                    state.kept = {"stage": "blocks", "epoch": state.epoch, "why": _why(test)}
                    with self._write_errors():
                        bundle.write(stage.trainer.best, self.data.classes, self.vit.preprocessing, self.folder, self.arguments)
                        self._report(VALIDATION, self.validation, wanted, logits)
                elif state.kept["stage"] == "head":
                    state.kept |= {"why": _why(test)}
            yield self._epoch("blocks", recipe.epochs, loss, scores, self.validation, logits, progress["rates"], speed, len(self.train))
            if scores.macro_f1 < COLLAPSED * head_f1 and loss > 0.8 * math.log(len(self.data.classes)):
                state.ended = f"At a rate of {recipe.lr:g} the model forgot what it knew: choose a lower one ({DEFAULT.lr:g} is usual)."
            elif recipe.patience and state.waited >= recipe.patience:
                state.ended = f"Ended after {state.epoch} epochs: the last {state.waited} were no better."
            self._save(stage.trainer)
        if state.ended:
            yield {"kind": "note", "text": state.ended}

    def _finish(self) -> dict:
        """Write the final report on the weights to use: on the test photos if there are any, else as `_asked` has it."""
        if self.state.kept["stage"] == "head":
            if self.recipe.blocks and self.state.best["stage"] != "blocks":
                self.state.kept |= {"why": "No epoch of the blocks was better than the head on the validation photos, so the head is kept."}
            asked = self._asked(final=True)
        else:
            split = TEST if self.data.of(TEST) else VALIDATION
            samples, network = self.data.of(split), self.vit.module
            head.put(network, self.state.head)
            network.load_state_dict(load_file(self.folder / "model.safetensors"))
            asked = split, samples, self._targets(samples), answers(network, self.vit, samples, self.engine, self.settings)
        with self._write_errors():
            return self._report(*asked, finished=True)

    def _asked(self, *, final: bool) -> tuple[str, list[Sample], torch.Tensor, torch.Tensor]:
        """The head's answers: what it is asked about, those photos, their class indices, and the logits.

        Photos of the test are asked in the final report alone. Without a test or a validation split that was given, it is all photos, by
        cross-validation.
        """
        if final and (samples := self.data.of(TEST)):
            return TEST, samples, self._targets(samples), head.answer(self.state.head, self.cache.of(samples))
        if self.state.checked and self.data.drawn:
            return CROSS_VALIDATION, self.learned, self._targets(self.learned), self.state.checked["logits"]
        return VALIDATION, self.validation, self._targets(self.validation), head.answer(self.state.head, self.cache.of(self.validation))

    def _report(
        self, asked: str, samples: Sequence[Sample], targets: torch.Tensor, logits: torch.Tensor, *, finished: bool = False
    ) -> dict:
        """Write the report of these answers, and the model card."""
        state, crossed = self.state, asked == CROSS_VALIDATION
        known = self.learned if state.kept["stage"] == "head" else self.train
        features = self.cache.of(samples)
        first = state.head if state.kept["stage"] == "head" else state.start
        head_only = logits if crossed else head.answer(first, features)
        others = report.baselines_of(
            head.LabelledFeatures(self.cache.of(known), self._targets(known)),
            head.LabelledFeatures(features, targets),
            head_only.argmax(-1),
            state.checked["folds"] if crossed else None,
        )
        content = {
            "finished": finished,
            "model": self.vit.name,
            "icc": self.vit.preprocessing.icc,
            "recipe": self.recipe.as_json(),
            "classes": self.data.classes,
            "counts": self.data.counts(),
            "notes": [*self.data.notes, *([state.ended] if state.ended else [])],
            "weights_of": {"stage": state.kept["stage"], "epoch": state.kept["epoch"]},
            "why_these_weights": state.kept["why"],
            "head": self._head_figures(),
            "features": self.features,
            "learned_from": len(known),
            "precision": precision_on(self.vit.device, self.recipe.precision) if self.recipe.blocks else "fp32",
            "seconds": state.seconds + time.monotonic() - self.begun,
            "peak_gpu_mb": torch.cuda.max_memory_allocated(self.vit.device) / 1e6 if self.vit.device.type == "cuda" else None,
            "asked": asked,
            "history": state.history,
        } | report.of(self.data, samples, targets, logits, others, CROSSED if crossed else 1)
        curve = state.checked.get("curve", ())
        content["learning_curve"] = report.learning_curve(curve, self._targets(self.learned), self.data.classes)
        content |= {"verdict": verdict.verdict(content), "would_gain": verdict.weakest(content)}
        content["why"] = self._why(content["worst"], samples, logits) if state.kept["stage"] == "head" else []
        write_json(content, self.folder / "report.json")
        card.write(content, self.folder)
        return content

    def _why(self, worst: Sequence[int], samples: Sequence[Sample], logits: torch.Tensor) -> list[dict]:
        """The training photos that spoke for and against the most confident mistakes, one entry for each of `worst`."""
        if not worst:
            return []
        known, places = self.cache.of(self.learned), {sample.id: index for index, sample in enumerate(self.learned)}
        return influence.explain(
            logits[list(worst)].softmax(-1),
            self.cache.of([samples[index] for index in worst]),
            known,
            head.answer(self.state.head, known).softmax(-1),
            self._targets(self.learned),
            [(sample.item.name, sample.label) for sample in self.learned],
            [places.get(samples[index].id) for index in worst],
        )

    def _head_figures(self) -> dict:
        """How the head was fitted, for the report."""
        if not self.exact:
            return {"fitted": "minibatches", "passes": head.EPOCHS}
        checked = self.state.checked
        folds = int(checked["folds"].max()) + 1 if checked else None
        strength = checked.get("strength", logistic.STRENGTH)
        return {"fitted": "exactly", "strength": strength, "strength_chosen": checked.get("chosen", False), "folds": folds}

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
        return event | {"guesses": report.guesses(self.data, judged, logits, _spread(len(judged), SHOWN_GUESSES))}

    def _save(self, trainer) -> None:
        """Write everything needed to resume from here."""
        with self._write_errors():
            trainer.save(self.last, state=self._state_so_far())

    def _state_so_far(self) -> dict:
        state = {field.name: getattr(self.state, field.name) for field in fields(State)}
        return state | {"seconds": state["seconds"] + time.monotonic() - self.begun}

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
