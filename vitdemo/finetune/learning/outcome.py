"""What a run has learned: the answers that it is judged by, and the report of them."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from vitdemo.core.outputs import write_json
from vitdemo.core.training.precision import training_precision
from vitdemo.finetune.data.dataset import TEST, TRAIN, VALIDATION, Dataset, Sample
from vitdemo.finetune.heads import head, influence, logistic
from vitdemo.finetune.heads.reading import FeatureReader
from vitdemo.finetune.learning import card, report, verdict
from vitdemo.finetune.learning.state import State

CROSSED = 0.8  # a cross-validated photo counts as so many in an interval, as the heads of the folds share most of their photos
REFUSES_NOTHING = "There are too few photos to tell what is unlike them, so the model refuses none: give three a class at least."
CROSS_VALIDATION = "cross-validation"  # what the head is asked about where no photos were kept from it


class Asked(NamedTuple):
    """Answers that a model is judged by.

    Attributes:
        about: test, validation or cross-validation.
        samples: the photos.
        targets: their class indices, (photos,).
        logits: (photos, classes).
    """

    about: str
    samples: list[Sample]
    targets: torch.Tensor
    logits: torch.Tensor


class Outcome:
    """The answers of a run's model, and its report.

    Attributes:
        exact: whether the head is solved exactly.
        train, validation: the photos of these splits.
        learned: what the head to use learns from.
        begun: when the run began or went on, on the monotonic clock.
    """

    def __init__(self, reader: FeatureReader, data: Dataset, state: State, folder: Path, *, exact: bool, begun: float):
        self.reader, self.data, self.state, self.folder, self.exact, self.begun = reader, data, state, folder, exact, begun
        self.train, self.validation = data.of(TRAIN), data.of(VALIDATION)
        self.learned = [*self.train, *self.validation] if exact and data.drawn else self.train

    def targets(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Class indices, (photos,)."""
        return torch.tensor(self.data.targets(samples), dtype=torch.long)

    def labelled(self, samples: Sequence[Sample]) -> head.LabelledFeatures:
        """The photos' features and class indices."""
        return head.LabelledFeatures(self.reader.cache.of(samples), self.targets(samples))

    def asked(self, *, final: bool) -> Asked:
        """The head's answers.

        Photos of the test are asked in the final report alone. Without a test or a validation split that was given, it is all photos, by
        cross-validation.
        """
        if self.state.checked and self.data.drawn and not (final and self.data.of(TEST)):
            return Asked(CROSS_VALIDATION, self.learned, self.targets(self.learned), self.state.checked["logits"])
        split = TEST if final and self.data.of(TEST) else VALIDATION
        samples = self.data.of(split)
        return Asked(split, samples, self.targets(samples), head.answer(self.state.head, self.reader.cache.of(samples)))

    @property
    def tells_the_unfamiliar(self) -> bool:
        """Whether the photos say what is unlike all of them: a class must keep two beside those from which the limit comes."""
        learned = self.learned if self.state.kept["stage"] == "head" else self.train
        targets = self.targets(learned)
        if self.validation and learned is self.train:
            parts = [targets]
        elif self.state.checked:
            folds = self.state.checked["folds"]
            parts = [targets[folds != fold] for fold in folds.unique()]
        else:
            return False
        return all(part.bincount().max() > 1 for part in parts)

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return self.state.seconds + time.monotonic() - self.begun

    def write(self, asked: Asked, *, finished: bool = False) -> dict:
        """Write the report of these answers and the model card. Returns the report. Raises: OSError where that fails."""
        state, reader, crossed = self.state, self.reader, asked.about == CROSS_VALIDATION
        of_head = state.kept["stage"] == "head"
        known, features = self.learned if of_head else self.train, reader.cache.of(asked.samples)
        head_only = asked.logits if crossed else head.answer(state.head if of_head else state.start, features)
        others = report.baselines_of(
            self.labelled(known),
            head.LabelledFeatures(features, asked.targets),
            head_only.argmax(-1),
            state.checked["folds"] if crossed else None,
        )
        vit, recipe = reader.vit, reader.recipe
        content = {
            "finished": finished,
            "model": vit.name,
            "icc": vit.preprocessing.icc,
            "recipe": recipe.as_json(),
            "classes": self.data.classes,
            "counts": self.data.counts(),
            "notes": [*self.data.notes, *([state.ended] if state.ended else []), *self._refusing_nothing()],
            "weights_of": {"stage": state.kept["stage"], "epoch": state.kept["epoch"]},
            "why_these_weights": state.kept["why"],
            "head": self._head_figures(),
            "features": reader.features,
            "learned_from": len(known),
            "precision": training_precision(vit, recipe.precision) if recipe.blocks else "fp32",
            "seconds": self.seconds,
            "peak_gpu_mb": torch.cuda.max_memory_allocated(vit.device) / 1e6 if vit.device.type == "cuda" else None,
            "asked": asked.about,
            "history": state.history,
        } | report.of(self.data, asked.samples, asked.targets, asked.logits, others, CROSSED if crossed else 1)
        curve = state.checked.get("curve", ())
        content["learning_curve"] = report.learning_curve(curve, self.targets(self.learned), self.data.classes)
        content |= {"verdict": verdict.verdict(content), "would_gain": verdict.weakest(content)}
        content["why"] = self._why(content["worst"], asked) if of_head else []
        write_json(content, self.folder / "report.json")
        card.write(content, self.folder)
        return content

    def _refusing_nothing(self) -> list[str]:
        return [REFUSES_NOTHING] if self.reader.recipe.refuse and not self.tells_the_unfamiliar else []

    def _why(self, worst: Sequence[int], asked: Asked) -> list[dict]:
        """The training photos that spoke for and against the most confident mistakes, one entry for each of `worst`."""
        if not worst:
            return []
        known, places = self.labelled(self.learned), {sample.id: index for index, sample in enumerate(self.learned)}
        return influence.explain(
            asked.logits[list(worst)].softmax(-1),
            self.reader.cache.of([asked.samples[index] for index in worst]),
            known.inputs,
            head.answer(self.state.head, known.inputs).softmax(-1),
            known.targets,
            [(sample.item.name, sample.label) for sample in self.learned],
            [places.get(asked.samples[index].id) for index in worst],
        )

    def _head_figures(self) -> dict:
        """How the head was fitted, for the report."""
        if not self.exact:
            return {"fitted": "minibatches", "passes": head.EPOCHS}
        checked = self.state.checked
        folds = int(checked["folds"].max()) + 1 if checked else None
        strength = checked.get("strength", logistic.STRENGTH)
        return {"fitted": "exactly", "strength": strength, "strength_chosen": checked.get("chosen", False), "folds": folds}
