"""The accuracy of fine-tuning on real photos: only the head, the last blocks, few labels, and no pre-training.

The head's time is compared with one pass over the photos. Each part calls the same function as the command. Features are computed once and
shared by the parts whose time isn't measured.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
SEEDS, DRAWS, FEW = 3, 5, 5  # runs of the last blocks; draws of few photos; photos per class in a draw


def run(*, runs: int = 3, photos: Path | None = None) -> dict:
    """Print and return the figures of all parts. This takes about twenty minutes on two cores.

    Args:
        runs: rounds in which the head's run and the pass over the photos take turns.
        photos: a folder with train/ and test/; the shared Caltech photos by default.

    Raises: UserError where weights or photos are missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), photos)
        print(f"{TINY}, {work.folder.name}: {len(work.train)} photos to learn from, {len(work.test)} to be asked", flush=True)
        figures: dict[str, Any] = {"head": work.head(runs), "blocks": work.blocks(range(SEEDS))}
        figures |= {"few": work.few(DRAWS), "scratch": work.scratch()}
        few, scratch, per_class = statistics.mean(figures["few"]), figures["scratch"]["accuracy"], figures["scratch"]["photos_per_class"]
        share = f"less than {FEW / per_class:.2f} of the labels" if few > scratch else f"more than {FEW / per_class:.2f} of the labels"
        print(f"  pre-training reaches what random weights do with {share}", flush=True)
        return figures


class Work:
    """The parts of the bench, with one model and one set of photos. Raises: UserError where weights or photos are missing."""

    def __init__(self, place: Path, photos: Path | None = None):
        import torch

        from vitdemo.core.config import SHARED, Settings
        from vitdemo.core.errors import UserError
        from vitdemo.core.inference.engine import Engine
        from vitdemo.core.photos.search import find_items
        from vitdemo.finetune.data.dataset import TEST
        from vitdemo.finetune.data.folders import place as placed

        self.place, self.folder = place, photos or SHARED / "data" / "caltech20"
        self.weights = SHARED / "weights" / f"{TINY}.safetensors"
        for path in (self.folder, self.weights):
            if not path.exists():
                raise UserError(f"{path} is not there: set VITDEMO_SHARED, or give --photos a folder with train/ and test/.")
        self.settings = Settings(model=TINY, checkpoint=self.weights)
        self.engine = Engine(torch.device("cpu"))
        self.items = find_items([self.folder])
        samples, *_ = placed(self.items, self.folder)
        self.train = [sample for sample in samples if sample.split != TEST]
        self.test = [sample for sample in samples if sample.split == TEST]

    def head(self, runs: int) -> dict:
        """Train only the head, from the files to its report, in turn with one pass that classifies the same photos."""
        from vitdemo.classify.gallery import classify_gallery
        from vitdemo.finetune.recipe import Recipe

        vit, accuracy = self._vit(), 0.0
        seconds: dict[str, list[float]] = {"one pass": [], "head": []}
        for number in range(runs):
            begin = time.perf_counter()
            for _ in classify_gallery(self.items, vit, self.engine, self.settings):
                pass
            passed = time.perf_counter()
            accuracy = self._learn(Recipe(), [*self.train, *self.test], self.place / f"head-{number}")["accuracy"]
            seconds["one pass"].append(passed - begin)
            seconds["head"].append(time.perf_counter() - passed)
        ratio = statistics.median(head / alone for head, alone in zip(seconds["head"], seconds["one pass"], strict=True))
        one, whole = (statistics.median(times) for times in seconds.values())
        print(f"  head alone          {accuracy:.3f}  in {whole:.1f} s; one pass over them {one:.1f} s: {ratio:.2f} times", flush=True)
        return {"accuracy": accuracy, "ratio": ratio} | seconds

    def blocks(self, seeds: Sequence[int]) -> list[dict]:
        """Train the last four blocks with the preset Careful and several seeds; each figure comes with that of the head it started from."""
        from vitdemo.finetune.recipe import PRESETS

        figures = []
        for seed in seeds:
            with self._features() as folder:
                report = self._learn(replace(PRESETS["careful"].recipe, seed=seed), [*self.train, *self.test], folder)
            head = report["baselines"]["head only"]["accuracy"]
            figures.append({"accuracy": report["accuracy"], "head": head, "kept": report["weights_of"], "seconds": report["seconds"]})
            print(f"  last four, seed {seed}   {report['accuracy']:.3f}  (head only {head:.3f})  in {report['seconds']:.0f} s", flush=True)
        means = [statistics.mean(row[name] for row in figures) for name in ("accuracy", "head")]
        print(f"  last four, mean     {means[0]:.3f}  (head only {means[1]:.3f})", flush=True)
        return figures

    def few(self, draws: int) -> list[float]:
        """Train only the head on a few photos of each class, drawn at random several times. Returns the accuracies."""
        import numpy as np

        from vitdemo.finetune.recipe import Recipe

        accuracies = []
        for draw in range(draws):
            rng = np.random.default_rng(draw)
            drawn = [sample for label in sorted({sample.label for sample in self.train}) for sample in self._drawn(label, rng)]
            with self._features() as folder:
                accuracies.append(self._learn(Recipe(seed=draw), [*drawn, *self.test], folder)["accuracy"])
        listed = ", ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        print(f"  {FEW} photos a class    {statistics.mean(accuracies):.3f}  mean of {draws} draws: {listed}", flush=True)
        return accuracies

    def scratch(self) -> dict:
        """Train the same network from random weights, all layers on all photos, for a third of the epochs of the preset Everything."""
        from vitdemo.finetune.recipe import Recipe

        recipe = Recipe(unfreeze="all", epochs=10, lr=5e-4, layer_decay=1.0, patience=0)
        report = self._learn(recipe, [*self.train, *self.test], self.place / "scratch", random=True)
        photos = len(self.train) / len(report["classes"])
        print(f"  random weights      {report['accuracy']:.3f}  from {photos:.0f} photos a class", flush=True)
        return {"accuracy": report["accuracy"], "photos_per_class": photos}

    def _drawn(self, label: str, rng) -> list:
        of_class = [sample for sample in self.train if sample.label == label]
        return [of_class[index] for index in rng.permutation(len(of_class))[:FEW]]

    def _learn(self, recipe, samples: list, folder: Path, *, random: bool = False) -> dict:
        from vitdemo.finetune.learning.train import finetune

        for event in finetune(self._vit(random=random), self.engine, samples, recipe, folder, self.settings):
            report = event
        return report

    def _vit(self, *, random: bool = False):
        import timm
        import torch

        from vitdemo.core.models import loader

        vit = loader.load(TINY, self.settings, torch.device("cpu"), lambda _: None)
        if random:
            torch.manual_seed(0)
            vit.module.load_state_dict(timm.create_model(TINY, pretrained=False).state_dict())
        return vit

    @contextmanager
    def _features(self) -> Iterator[Path]:
        """Yield a temporary folder for a run, with the photos' features in it if they are already computed."""
        folder = Path(tempfile.mkdtemp(dir=self.place))
        if (known := self.place / "head-0" / "run" / "features.safetensors").is_file():
            (folder / "run").mkdir()
            shutil.copy(known, folder / "run")
        yield folder
        shutil.rmtree(folder)
