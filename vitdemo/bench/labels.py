"""What fine-tuning reaches on real photos: the head alone beside one pass over them, the last blocks, few labels, and no pre-training.

Each part goes through the same function as the command. Features are computed once and shared by the parts that need no time of theirs.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
SEEDS, DRAWS, FEW = 3, 5, 5  # of the last blocks; of the few; photos a class


def run(*, runs: int = 3, photos: Path | None = None) -> dict:
    """Print and return the figures of all parts. It takes about twenty minutes on two cores.

    Args:
        runs: times that the head's run and the pass over the photos take turns.
        photos: a folder with train/ and test/; the shared Caltech photos by default.

    Raises: UserError where weights or photos are missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), photos)
        print(f"{TINY}, {work.folder.name}: {len(work.train)} photos to learn from, {len(work.test)} to be asked", flush=True)
        found = {"head": work.head(runs), "blocks": work.blocks(range(SEEDS)), "few": work.few(DRAWS), "scratch": work.scratch()}
        few, scratch, each = statistics.mean(found["few"]), found["scratch"]["accuracy"], found["scratch"]["photos_per_class"]
        says = f"less than {FEW / each:.2f} of the labels" if few > scratch else f"more than {FEW / each:.2f} of the labels"
        print(f"  pre-training reaches what random weights do with {says}", flush=True)
        return found


class Work:
    """The parts, over one model and one set of photos."""

    def __init__(self, place: Path, photos: Path | None = None):
        import torch

        from vitdemo.core.config import SHARED, Settings
        from vitdemo.core.errors import UserError
        from vitdemo.core.inference.engine import Engine
        from vitdemo.core.photos.gallery import find_items
        from vitdemo.finetune.data.dataset import TEST
        from vitdemo.finetune.data.dataset import place as placed

        self.place, self.folder = place, photos or SHARED / "data" / "caltech20"
        self.weights = SHARED / "weights" / f"{TINY}.safetensors"
        for each in (self.folder, self.weights):
            if not each.exists():
                raise UserError(f"{each} is not there: set VITDEMO_SHARED, or give --photos a folder with train/ and test/.")
        self.settings = Settings(model=TINY, checkpoint=self.weights)
        self.engine = Engine(torch.device("cpu"))
        self.items = find_items([self.folder])
        samples, _ = placed(self.items, self.folder)
        self.train = [each for each in samples if each.split != TEST]
        self.test = [each for each in samples if each.split == TEST]

    def head(self, runs: int) -> dict:
        """The head alone, from the files to its report, beside one pass that classifies the same photos."""
        from vitdemo.classify.gallery import classify_gallery
        from vitdemo.finetune.recipe import Recipe

        vit, seconds, accuracy = self._vit(), {"one pass": [], "head": []}, 0.0
        for number in range(runs):
            begin = time.perf_counter()
            for _ in classify_gallery(self.items, vit, self.engine, self.settings):
                pass
            passed = time.perf_counter()
            accuracy = self._learn(Recipe(), [*self.train, *self.test], self.place / f"head-{number}")["accuracy"]
            seconds["one pass"].append(passed - begin)
            seconds["head"].append(time.perf_counter() - passed)
        ratio = statistics.median(head / alone for head, alone in zip(seconds["head"], seconds["one pass"], strict=True))
        one, whole = (statistics.median(each) for each in seconds.values())
        print(f"  head alone          {accuracy:.3f}  in {whole:.1f} s; one pass over them {one:.1f} s: {ratio:.2f} times", flush=True)
        return {"accuracy": accuracy, "ratio": ratio} | seconds

    def blocks(self, seeds: Sequence[int]) -> list[dict]:
        """The last four blocks, as Careful does, with several seeds; beside each the head it began from."""
        from vitdemo.finetune.recipe import PRESETS

        found = []
        for seed in seeds:
            with self._features() as folder:
                report = self._learn(replace(PRESETS["careful"].recipe, seed=seed), [*self.train, *self.test], folder)
            head = report["baselines"]["head only"]["accuracy"]
            found.append({"accuracy": report["accuracy"], "head": head, "kept": report["weights_of"], "seconds": report["seconds"]})
            print(f"  last four, seed {seed}   {report['accuracy']:.3f}  (head only {head:.3f})  in {report['seconds']:.0f} s", flush=True)
        means = [statistics.mean(each[name] for each in found) for name in ("accuracy", "head")]
        print(f"  last four, mean     {means[0]:.3f}  (head only {means[1]:.3f})", flush=True)
        return found

    def few(self, draws: int) -> list[float]:
        """The head alone from a few photos of each class, drawn several times."""
        import numpy as np

        from vitdemo.finetune.recipe import Recipe

        found = []
        for draw in range(draws):
            dice = np.random.default_rng(draw)
            some = [each for label in sorted({each.label for each in self.train}) for each in self._drawn(label, dice)]
            with self._features() as folder:
                found.append(self._learn(Recipe(seed=draw), [*some, *self.test], folder)["accuracy"])
        drawn = ", ".join(f"{each:.3f}" for each in found)
        print(f"  {FEW} photos a class    {statistics.mean(found):.3f}  mean of {draws} draws: {drawn}", flush=True)
        return found

    def scratch(self) -> dict:
        """The same network from random weights, all of it learning from all photos, as long as Everything's third."""
        from vitdemo.finetune.recipe import Recipe

        recipe = Recipe(unfreeze="all", epochs=10, lr=5e-4, layer_decay=1.0, patience=0)
        report = self._learn(recipe, [*self.train, *self.test], self.place / "scratch", random=True)
        each = len(self.train) / len(report["classes"])
        print(f"  random weights      {report['accuracy']:.3f}  from {each:.0f} photos a class", flush=True)
        return {"accuracy": report["accuracy"], "photos_per_class": each}

    def _drawn(self, label: str, dice) -> list:
        own = [each for each in self.train if each.label == label]
        return [own[index] for index in dice.permutation(len(own))[:FEW]]

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
        """A folder for a run that finds the photos' features there."""
        folder = Path(tempfile.mkdtemp(dir=self.place))
        if (known := self.place / "head-0" / "run" / "features.safetensors").is_file():
            (folder / "run").mkdir()
            shutil.copy(known, folder / "run")
        yield folder
        shutil.rmtree(folder)
