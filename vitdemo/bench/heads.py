"""The head against others on the same features: accuracy over draws of few photos, whether its interval is honest, and its time.

Beside scikit-learn's LogisticRegressionCV, five nearest neighbours, and a head that is trained in 60 epochs on four fifths of the photos,
its epoch chosen on the last fifth. All differences are paired: the same photos to learn from and to be asked.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitdemo.bench import labels

PER_CLASS = (1, 2, 3, 5, 10, 30)  # photos of each class to learn from
DRAWN_PER_CLASS = (1, 2, 3, 5)  # of the bundled drawings, of which there are twelve
DRAWS, INTERVALS, OF_INTERVALS = 10, 100, 5
EPOCHS, RATE, BATCH, SMOOTHING = 60, 0.003, 64, 0.1  # of the head that is trained
T_95 = {10: 2.262}  # Student's t for the interval of the mean of so many draws
BASE, PASSED = "vit_base_patch16_224", 8


def run(*, runs: int = 3, photos: Path | None = None) -> dict:
    """Print and return the figures of all parts. This takes about fifteen minutes on two cores.

    Args:
        runs: rounds in which the head's fit and a pass of ViT-B/16 are timed.
        photos: a folder with train/ and test/; the shared Caltech photos by default.

    Raises: UserError where weights or photos are missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = labels.Work(Path(folder), photos)
        same = seeds(work)
        known, targets = features_of(work, work.train)
        asked, wanted = features_of(work, work.test)
        print(f"{labels.TINY}, {work.folder.name}: accuracy, and ours minus each, mean of {DRAWS} draws with its 95 % interval", flush=True)
        figures: dict[str, Any] = {"photos": [compared(known, targets, count, (asked, wanted)) for count in PER_CLASS]}
        print("the bundled drawings, by the demo model", flush=True)
        drawn_inputs, drawn_targets = drawings()
        figures["drawings"] = [compared(drawn_inputs, drawn_targets, count) for count in DRAWN_PER_CLASS]
        figures["interval"] = honest(known, targets, asked, wanted)
        return figures | {"same_with_two_seeds": same, "time": timed(known, targets, runs)}


def compared(inputs, targets, count: int, asked: tuple | None = None) -> dict:
    """Draw `count` photos of each class to learn from, ten times, and ask every head about the same others.

    Where all photos are learned from each time, draws differ in the seed alone, and McNemar's test compares the first one's answers.

    Args:
        inputs: (photos, width) features.
        targets: (photos,) class indices.
        asked: features and class indices of the photos to ask about; the photos that were not drawn if None.
    """
    from vitdemo.finetune.scores import compare

    found: dict[str, list[float]] = {name: [] for name in HEADS}
    first: dict = {}
    for draw in range(DRAWS):
        known, others = drawn(targets, count, 0 if asked else None, draw)
        questions, wanted = asked or (inputs[others], targets[others])
        for name, answers in HEADS.items():
            taken = answers(inputs[known], targets[known], questions, draw)
            first.setdefault(name, taken)
            found[name].append((taken == wanted).float().mean().item())
    means = {name: statistics.mean(values) for name, values in found.items()}
    ours = found["ours"]
    differences = {
        name: interval_of([own - other for own, other in zip(ours, found[name], strict=True)]) for name in found if name != "ours"
    }
    p = {name: compare(first["ours"], first[name], wanted).p for name in differences} if len(known) == len(targets) else {}
    said = {name: f", p = {value:.2g}" for name, value in p.items()}
    listed = "  ".join(
        f"{name} {means[name]:.4f} ({low:+.4f} to {high:+.4f}{said.get(name, '')})" for name, (_, low, high) in differences.items()
    )
    print(f"  {count:2} a class  ours {means['ours']:.4f}  {listed}", flush=True)
    return {"per_class": count, "accuracy": means, "difference": differences, "p": p}


def interval_of(differences: list[float]) -> tuple[float, float, float]:
    """Return the mean of paired differences, and its 95 % interval by Student's t."""
    mean = statistics.mean(differences)
    half = T_95[len(differences)] * statistics.stdev(differences) / len(differences) ** 0.5
    return mean, mean - half, mean + half


def drawn(targets, count: int, asked: int | None, seed: int):
    """Draw photos of each class: indices of `count` of each to learn from, and of `asked` others of each (all others if None)."""
    import numpy as np
    import torch

    rng = np.random.default_rng(seed)
    known, others = [], []
    for label in range(int(targets.max()) + 1):
        order = rng.permutation(np.flatnonzero(targets.numpy() == label))
        known.append(order[:count])
        others.append(order[count:] if asked is None else order[len(order) - asked :])
    return torch.from_numpy(np.concatenate(known)), torch.from_numpy(np.concatenate(others))


def honest(known, targets, asked, wanted) -> dict:
    """Count how often the stated interval of a head from five photos a class holds its accuracy on the photos to be asked."""
    from vitdemo.finetune.heads.head import answer
    from vitdemo.finetune.heads.logistic import fit_head
    from vitdemo.finetune.learning.outcome import CROSSED
    from vitdemo.finetune.scores import interval

    held, widths, wilson = 0, [], []
    for draw in range(INTERVALS):
        rows, _ = drawn(targets, OF_INTERVALS, 0, 1000 + draw)
        fitted = fit_head(known[rows], targets[rows], int(targets.max()) + 1)
        assert fitted.checked is not None  # there are five photos of each class
        right = int((fitted.checked.logits.argmax(-1) == targets[rows]).sum())
        low, high = interval(CROSSED * right, CROSSED * len(rows))
        accuracy = (answer(fitted.head, asked).argmax(-1) == wanted).float().mean().item()
        held += low <= accuracy <= high
        widths.append(high - low)
        ends = interval(accuracy * len(rows), len(rows))
        wilson.append(ends[1] - ends[0])
    ratio = statistics.mean(widths) / statistics.mean(wilson)
    print(f"  the interval holds the accuracy in {held} of {INTERVALS} draws, and is {ratio:.2f} times as wide as Wilson's", flush=True)
    return {"held": held, "of": INTERVALS, "width": statistics.mean(widths), "wilson": statistics.mean(wilson), "ratio": ratio}


def timed(known, targets, runs: int) -> dict:
    """Time the head, with its cross-validation and learning curve, from 768 features of each photo, beside a pass of ViT-B/16 over them."""
    import timm
    import torch

    from vitdemo.finetune.heads.logistic import fit_head

    generator = torch.Generator().manual_seed(0)
    wide = known @ torch.randn(known.shape[1], 768, generator=generator) / 768**0.5
    wide = wide + 0.1 * wide.std() * torch.randn(wide.shape, generator=generator)
    network, batch = timm.create_model(BASE, pretrained=False).eval(), torch.zeros(PASSED, 3, 224, 224)
    heads, passes = [], []
    for _ in range(runs):
        begin = time.perf_counter()
        fit_head(wide, targets, int(targets.max()) + 1)
        fitted = time.perf_counter()
        with torch.inference_mode():
            network(batch)
        heads.append(fitted - begin)
        passes.append((time.perf_counter() - fitted) * len(known) / PASSED)
    ratio = statistics.median(head / one for head, one in zip(heads, passes, strict=True))
    head, one = statistics.median(heads), statistics.median(passes)
    print(f"  {len(known)} photos: features to head {head:.1f} s, a pass of ViT-B/16 {one:.0f} s: {ratio:.3f} times", flush=True)
    return {"head": heads, "pass": passes, "ratio": ratio}


def seeds(work: labels.Work) -> bool:
    """Fine-tune the head with two seeds by the command's function, and say whether every test photo gets the same class."""
    from vitdemo.finetune.recipe import Recipe

    learned = []
    for seed in (0, 1):
        folder = work.place / "head-0"  # the second run finds the features there
        report = work._learn(replace(Recipe(), seed=seed), [*work.train, *work.test], folder)
        learned.append([row["taken"] for row in report["photos"]])
    print(f"  two seeds name {'the same' if learned[0] == learned[1] else 'another'} class for every test photo", flush=True)
    return learned[0] == learned[1]


def features_of(work: labels.Work, samples: list):
    """Return the samples' features, (photos, width), and class indices, (photos,), as the runs of `seeds` computed them."""
    import torch

    from vitdemo.core.photos.photo import id_of
    from vitdemo.core.training import checkpoint

    stored = checkpoint.load(work.place / "head-0" / "run" / "features.safetensors")
    rows = dict(zip(stored["ids"], stored["features"], strict=True))
    classes = sorted({sample.label for sample in work.train})
    features = torch.stack([rows[id_of(sample.item.read(work.settings))] for sample in samples])
    return features, torch.tensor([classes.index(sample.label) for sample in samples])


def drawings():
    """Return the demo model's features of the bundled drawings of three classes that it has not seen, and their class indices."""
    import torch

    from vitdemo.core.config import ASSETS, Settings
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.models import loader
    from vitdemo.core.photos.search import find_items
    from vitdemo.finetune.data.features import features_of as inputs_of
    from vitdemo.finetune.data.features import run_over
    from vitdemo.finetune.data.folders import place

    settings = Settings(model="demo")
    vit = loader.load("demo", settings, torch.device("cpu"), lambda _: None)
    folder = ASSETS / "examples" / "unseen"
    samples = place(find_items([folder]), folder).samples
    batches = run_over(inputs_of(vit.module), samples, lambda photo: vit.preprocessing(photo.image), Engine(vit.device), settings, BATCH)
    classes = sorted({sample.label for sample in samples})
    return torch.cat([outputs for _, outputs in batches]), torch.tensor([classes.index(sample.label) for sample in samples])


def _ours(known, targets, asked, seed: int):
    from vitdemo.finetune.heads.head import answer
    from vitdemo.finetune.heads.logistic import fit_head

    return answer(fit_head(known, targets, int(targets.max()) + 1).head, asked).argmax(-1)


def _scikit_learn(known, targets, asked, seed: int):
    """scikit-learn's choice of C by cross-validation, as its defaults have it; its default C where a class has one photo."""
    import torch
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    fewest = int(torch.bincount(targets).min())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: these are its defaults
        model = LogisticRegressionCV(cv=min(5, fewest)) if fewest > 1 else LogisticRegression()
        model.fit(known.numpy(), targets.numpy())
    return torch.from_numpy(model.predict(asked.numpy()))


def _neighbours(known, targets, asked, seed: int):
    from vitdemo.finetune.scores import nearest

    return nearest(known, targets, asked, int(targets.max()) + 1)


def _trained(known, targets, asked, seed: int):
    """A head of standardised features by AdamW, its epoch chosen on a fifth of each class (at least a photo, if there are two)."""
    import torch

    from vitdemo.core.training.trainer import Trainer, TrainerConfig

    classes = int(targets.max()) + 1
    count = int(torch.bincount(targets).min())
    kept = max(1, round(0.2 * count)) if count > 1 else 0
    apart, _ = drawn(targets, kept, 0, seed)
    learned = torch.ones(len(targets), dtype=torch.bool)
    learned[apart] = False
    mean, std = known[learned].mean(0), known[learned].std(0).clamp(min=1e-6)
    standard = (known - mean) / std
    linear = torch.nn.Linear(known.shape[1], classes)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    steps = EPOCHS * -(-int(learned.sum()) // BATCH)
    trainer = Trainer(linear, TrainerConfig(steps=steps, lr=RATE, warmup=steps // 10), torch.nn.CrossEntropyLoss(label_smoothing=SMOOTHING))
    inputs, wanted = standard[learned], targets[learned]
    best, taken = (-1.0, 0.0), None
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs), generator=generator).split(BATCH):
            trainer.take(inputs[batch], wanted[batch])
        with torch.inference_mode():
            logits = linear(standard[apart])
            loss = torch.nn.functional.cross_entropy(logits, targets[apart]).item() if kept else 0.0
            right = (logits.argmax(-1) == targets[apart]).float().mean().item() if kept else 0.0
            if taken is None or not kept or (right, -loss) > best:
                best, taken = (right, -loss), linear((asked - mean) / std).argmax(-1)
    return taken


HEADS: dict[str, Callable] = {"ours": _ours, "scikit-learn": _scikit_learn, "5-NN": _neighbours, "60 epochs": _trained}
