"""Fine-tuning against hand-written code: only a head, and training steps of the whole model.

The head: this app, which runs the frozen backbone once per photo, solves the head and cross-validates it, against a loop that runs the
backbone in each of ten epochs. The steps: the trainer against the same steps written with timm's optimizer, scheduler and clipping. The
sides take turns in every round, after two rounds that are not counted.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from vitdemo.bench.models import TINY, network_of, photos_of, vit_of, weights_note
from vitdemo.bench.rounds import in_turns, ratio

EPOCHS, BATCH, PHOTOS = 10, 32, 60
STEPS, STEP_BATCH = 6, 8


def run(*, runs: int = 5, photos: Path | None = None, precisions: Sequence[str] = ("fp32",)) -> dict:
    """Print the seconds of each side, and return all of them.

    Args:
        runs: rounds, at most 3 for the head.
        photos: a folder with a sub-folder for each class; the shared Caltech photos by default.
        precisions: of the steps; others than fp32 are autocast's, and take turns with fp32's.

    Raises: UserError where there are no photos.
    """
    from vitdemo.core.config import SHARED

    folder = photos or SHARED / "data" / "caltech20" / "train"
    items = photos_of(folder)
    items = items[:: max(1, len(items) // PHOTOS)][:PHOTOS]  # evenly spaced, so that every class is represented
    pairs = [(str(item.path), item.folder) for item in items]
    print(f"a head, {EPOCHS} epochs by the plain loop, {len(pairs)} photos, {TINY}{weights_note(TINY)}", flush=True)
    heads = _compare({"ours": lambda: _ours(items, folder), "backbone in every epoch": lambda: _plain(pairs)}, min(runs, 3))
    print(f"{STEPS} steps of the whole model, {STEP_BATCH} photos each", flush=True)
    steps = _compare({"ours": _trainer_steps(), "timm's pieces": _timm_steps()}, runs)
    return {"head": heads, "step": steps} | {
        f"step {precision}": _steps_in(precision, runs) for precision in precisions if precision != "fp32"
    }


def _steps_in(precision: str, runs: int) -> dict[str, list[float]]:
    """Time the trainer's steps in fp32 and under autocast, and timm's pieces under autocast. Returns the seconds of each side."""
    sides = {
        "ours, fp32": _trainer_steps(),
        f"ours, {precision}": _trainer_steps(precision),
        f"timm's, {precision}": _timm_steps(precision),
    }
    seconds = in_turns(sides, runs)
    print(f"the same steps under {precision} autocast", flush=True)
    for name, times in seconds.items():
        speed = ratio(seconds["ours, fp32"], times)
        print(f"  {name:26}{statistics.median(times):8.2f} s  {speed:.2f} × ours in fp32 in speed", flush=True)
    return seconds


def _compare(sides: dict[str, Callable[[], None]], runs: int) -> dict[str, list[float]]:
    """Time both sides in turn, and print how much faster the first is. Returns the seconds of each side."""
    seconds = in_turns(sides, runs)
    ours, theirs = seconds.values()
    for name, times in seconds.items():
        print(f"  {name:26}{statistics.median(times):8.2f} s  ({min(times):.2f} to {max(times):.2f})", flush=True)
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    print(f"  ours is {statistics.median(ratios):.2f} times as fast, round by round {min(ratios):.2f} to {max(ratios):.2f}", flush=True)
    return seconds


def _network(classes: int):
    """Build timm's own model with a new head."""
    network = network_of(TINY)
    network.reset_classifier(classes)
    return network


def _ours(items: list, folder: Path) -> None:
    """Fine-tune a head with the function that the command calls, features and files included."""
    from vitdemo.core.config import Settings
    from vitdemo.core.inference.engine import Engine
    from vitdemo.finetune.data.folders import place
    from vitdemo.finetune.learning.train import finetune
    from vitdemo.finetune.recipe import Recipe

    vit = vit_of(TINY)
    placed = place(items, folder)
    with tempfile.TemporaryDirectory() as output:
        for _ in finetune(vit, Engine(vit.device), placed.samples, Recipe(), Path(output), Settings(), placed.notes):
            pass


def _plain(pairs: list[tuple[str, str]]) -> None:
    """Train a new head on a frozen backbone as in timm's own examples: every epoch reads every photo and runs the backbone on it."""
    import torch
    from PIL import Image
    from timm.data import create_transform, resolve_model_data_config

    classes = sorted({label for _, label in pairs})
    network = _network(len(classes)).train()
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("head")
    optimizer = torch.optim.AdamW(network.head.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for start in range(0, len(pairs), BATCH):
            part = pairs[start : start + BATCH]
            images = torch.stack([transform(Image.open(path).convert("RGB")) for path, _ in part])
            targets = torch.tensor([classes.index(label) for _, label in part])
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), targets).backward()
            optimizer.step()


def _batch() -> tuple:
    import torch

    generator = torch.Generator().manual_seed(0)
    return torch.randn(STEP_BATCH, 3, 224, 224, generator=generator), torch.arange(STEP_BATCH) % 3


def _trainer_steps(precision: str = "fp32") -> Callable[[], None]:
    import torch

    from vitdemo.core.training.trainer import Trainer, TrainerConfig

    recipe = TrainerConfig(steps=10_000, lr=1e-4, warmup=10, layer_decay=0.75, precision=precision)
    trainer, batch = Trainer(_network(3), recipe, torch.nn.CrossEntropyLoss()), _batch()

    def steps() -> None:
        for _ in range(STEPS):
            trainer.take(*batch)

    return steps


def _timm_steps(precision: str = "fp32") -> Callable[[], None]:
    import torch
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler
    from timm.utils import dispatch_clip_grad

    from vitdemo.core.models.precision import DTYPES

    network, (images, targets) = _network(3).train(), _batch()
    optimizer = create_optimizer_v2(network, "adamw", lr=1e-4, weight_decay=0.05, layer_decay=0.75)
    scheduler = CosineLRScheduler(optimizer, 10_000, warmup_t=10, warmup_prefix=False, t_in_epochs=False)
    loss_of, count = torch.nn.CrossEntropyLoss(), 0

    def steps() -> None:
        nonlocal count
        for _ in range(STEPS):
            with torch.autocast("cpu", DTYPES[precision], enabled=precision != "fp32"):
                loss = loss_of(network(images), targets)
            loss.backward()
            dispatch_clip_grad(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            count += 1
            scheduler.step_update(count)

    return steps
