"""The features that the head reads, computed once per photo and kept in the run's folder."""

import time
from collections.abc import Generator, Sequence
from pathlib import Path

import torch

from vitdemo.core.config import Settings
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.vit import Vit
from vitdemo.finetune.data.augment import varied
from vitdemo.finetune.data.dataset import TRAIN, Sample, settle
from vitdemo.finetune.data.features import FeatureCache, fingerprint
from vitdemo.finetune.heads import logistic, readout
from vitdemo.finetune.heads.head import balanced
from vitdemo.finetune.recipe import Recipe

REPORT_EVERY = 0.2  # seconds between two progress events


class FeatureReader:
    """Reads what the head reads, once it is told what by `take` or `choose`.

    Args:
        folder: where the features are kept.

    Attributes:
        features: what the head reads: final, mean, both or the number of a block.
        vit: the model whose head reads it.
        arguments: with which timm builds that model.
        model: identifies the model without its head.
        cache: the photos' features.
    """

    def __init__(self, vit: Vit, engine: Engine, recipe: Recipe, folder: Path, settings: Settings):
        self.original, self.engine, self.recipe, self.folder, self.settings = vit, engine, recipe, folder, settings
        self.vit = vit

    def take(self, features: str) -> None:
        """Let the head read these features. Raises: UsageError where the model has them not."""
        self.features = features
        self.vit, self.arguments = readout.read_from(self.original, features)
        name = "features" if features == readout.FINAL else f"features-{features}"
        self.model = f"{fingerprint(self.vit)} {features}"
        self.cache = FeatureCache(self.folder / f"{name}.safetensors", self.model)

    def choose(self, samples: Sequence[Sample], notes: Sequence[str]) -> Generator[dict, None, None]:
        """Compare what the head can read by the cross-validation of its head, take the best, and yield the progress.

        The photos pass through the model once.
        """
        candidates, losses = readout.candidates(self.original), []
        key = f"{fingerprint(self.original)} {candidates}"
        together = FeatureCache(self.folder / "candidates.safetensors", key, readout.all_of(self.original, candidates))
        read = yield from self.embed(together, samples)
        learned = settle(read, share=self.recipe.validation, seed=self.recipe.seed, notes=notes).undivided()
        targets = torch.tensor(learned.targets(learned.of(TRAIN)))
        weights = balanced(targets, len(learned.classes)) if self.recipe.balance else None
        sizes = readout.widths(self.original, candidates)
        for inputs in together.of(learned.of(TRAIN)).split(sizes, 1):
            many = inputs.numel() * len(learned.classes) > logistic.MOST
            checked = None if many else logistic.fit_head(inputs, targets, len(learned.classes), weights).checked
            if checked is None:
                yield {"kind": "note", "text": "There are too few or too many photos to choose what the head reads: it is final."}
                self.take(readout.FINAL)
                return
            losses.append(torch.nn.functional.cross_entropy(checked.logits, targets, reduction="none"))
        best = readout.choose(losses)
        self.take(candidates[best])
        self.cache.rows = {photo: row.split(sizes)[best] for photo, row in together.rows.items()}
        self.cache.save()
        figures = ", ".join(f"{name} {float(loss.mean()):.3f}" for name, loss in zip(candidates, losses, strict=True))
        yield {"kind": "note", "text": f"The head reads {candidates[best]}; cross-validated loss: {figures}."}

    def embed(
        self, cache: FeatureCache, samples: Sequence[Sample], augment: str = "none", *seed: int
    ) -> Generator[dict, None, list[Sample]]:
        """Compute the samples' features, and yield the progress. Returns the samples with their ids."""
        read, done, begin, reported = list(samples), 0, time.monotonic(), 0.0
        prepare = varied(self.vit.preprocessing, augment, *seed)
        for part in cache.compute(self.vit, samples, prepare, self.engine, self.settings):
            for index, sample in part:
                read[index] = sample
            done += len(part)
            if time.monotonic() - reported > REPORT_EVERY or done == len(samples):
                reported = time.monotonic()
                yield {"kind": "photos", "done": done, "total": len(samples), "speed": done / max(1e-9, reported - begin)}
        return read

    def views(self, samples: Sequence[Sample]) -> Generator[dict, None, list[FeatureCache]]:
        """Compute the features of varied copies of the photos, and yield the progress. Returns a cache for each copy."""
        recipe, caches = self.recipe, []
        for view in range(1, recipe.views + 1):
            name = self.folder / f"view-{view}.safetensors"
            caches.append(FeatureCache(name, f"{self.model} {recipe.augment} {recipe.seed} {view}"))
            yield {"kind": "note", "text": f"Variation {view} of {recipe.views} of each photo"}
            yield from self.embed(caches[-1], samples, recipe.augment, recipe.seed, view)
        return caches
