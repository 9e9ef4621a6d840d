"""Make the demo model: a small plain ViT that knows the drawn pictures. `python -m vitdemo.sketches.train --work DIR` starts or goes on.

Most of the training happens at 112×112 (49 patches), where a picture takes an eighth of the time. Then the position embeddings are
resampled to 224×224 (196 patches, the geometry of ViT-B/16), and training ends at that size. Workers draw every picture once; none is used
twice.

Because the drawings have masks, each patch is also trained to predict what it shows (token labelling, Jiang et al. 2021, arXiv:2104.10858).
The patches' head is removed at the end, which leaves timm's plain VisionTransformer.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from timm.models import save_for_hf
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vitdemo.core.models.ood import OodDetector
from vitdemo.core.training.trainer import Loss, Trainer, TrainerConfig
from vitdemo.sketches.draw import LABELS, sketch
from vitdemo.sketches.initialisation import initialise

SHAPE: dict[str, Any] = {"patch_size": 16, "embed_dim": 128, "depth": 12, "num_heads": 4, "num_classes": len(LABELS)}
MEAN = STD = (0.5, 0.5, 0.5)
BACKGROUND = len(LABELS)  # class index of a patch without the thing
FRESH = 1_000_000_007  # distance from the seeds of the training pictures to those of new pictures
FAMILIAR_SHARE = 0.96  # share of new pictures that must count as familiar
SAVE_EVERY = 120  # seconds between two checkpoints


@dataclass(frozen=True)
class TrainingStage:
    """A part of the training: its name, image size in pixels, pictures per update, and the trainer's configuration."""

    name: str
    size: int
    batch: int
    recipe: TrainerConfig


def stages(small: int, large: int) -> list[TrainingStage]:
    """Return the two stages, for these numbers of pictures."""
    return [
        TrainingStage("small", 112, 64, TrainerConfig(small // 64, lr=2e-3, optimizer="muon", warmup=60, ema=0.999)),
        TrainingStage("large", 224, 32, TrainerConfig(large // 32, lr=1e-3, optimizer="muon", warmup=50, ema=0.998)),
    ]


class Drawings(IterableDataset):
    """An endless data set: pictures number `start`, `start` + 1, … of a seed, drawn on demand.

    Yields (3, size, size) float32 and 1 + patches class indices: the picture's class, and each patch's class, which is BACKGROUND where the
    thing covers at most a third of the patch.
    """

    def __init__(self, size: int, seed: int, start: int = 0):
        self.size, self.seed, self.start = size, seed, start

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        torch.set_num_threads(1)
        number = self.start + (worker.id if worker else 0)
        while True:
            target = int(np.random.default_rng((self.seed, number)).integers(len(LABELS)))
            drawn = sketch(LABELS[target], self.seed + number, self.size)
            image = torch.from_numpy(np.array(drawn.image)).permute(2, 0, 1).float().div_(127.5).sub_(1)
            covered = torch.from_numpy(np.array(drawn.mask)).float().div_(255).unfold(0, 16, 16).unfold(1, 16, 16).mean((-1, -2))
            patches = torch.where(covered.flatten() > 1 / 3, target, BACKGROUND)
            yield image, torch.cat([torch.tensor([target]), patches])
            number += worker.num_workers if worker else 1


class TokenLabelled(nn.Module):
    """A ViT that classifies the picture and each patch: logits (B, classes) and (B, patches, classes + background)."""

    def __init__(self, vit: VisionTransformer):
        super().__init__()
        self.vit = vit
        self.patch_head = nn.Linear(vit.embed_dim, len(LABELS) + 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of the pictures and of their patches."""
        tokens = self.vit.forward_features(images)  # (B, 1 + patches, width)
        return self.vit.forward_head(tokens), self.patch_head(tokens[:, 1:])


def token_loss(outputs: tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    """Return the picture's loss, with label smoothing 0.05, plus half the patches' mean loss."""
    logits, patches = outputs
    picture = nn.functional.cross_entropy(logits, targets[:, 0], label_smoothing=0.05)
    return picture + 0.5 * nn.functional.cross_entropy(patches.flatten(0, 1), targets[:, 1:].flatten())


def train(stage: TrainingStage, work: Path, begin: dict | None, seed: int, workers: int) -> dict:
    """Run a stage to its end, from its checkpoint if there is one. Returns the weights to use.

    Args:
        begin: the weights to start from; mimetic initialisation if None.
    """
    torch.manual_seed(seed)
    model = TokenLabelled(VisionTransformer(img_size=stage.size, **SHAPE)).to("cuda" if torch.cuda.is_available() else "cpu")
    if begin is None:
        initialise(model.vit)
    else:
        if "patch_head" in begin:
            model.patch_head.load_state_dict(begin["patch_head"])
        model.vit.load_state_dict(checkpoint_filter_fn(begin["vit"], model.vit))
    trainer = Trainer(model, stage.recipe, cast(Loss, token_loss))  # this model's output is a pair
    checkpoint = work / f"{stage.name}.safetensors"
    if checkpoint.exists():
        trainer.load(checkpoint)
    if trainer.step < stage.recipe.steps:
        drawings = Drawings(stage.size, seed, trainer.step * stage.batch)
        saved = printed = time.monotonic()
        seen, losses = 0, []
        for images, targets in DataLoader(drawings, stage.batch, num_workers=workers, prefetch_factor=4 if workers else None):
            update = trainer.take(images, targets)
            assert update is not None  # every batch makes an update
            seen += len(targets)
            losses.append(update.loss)
            now = time.monotonic()
            if now - printed > 20:
                speed = seen / (now - printed)
                print(
                    f"{stage.name}: step {update.step} of {stage.recipe.steps}, loss {np.mean(losses):.3f}, {speed:.0f} pictures/s",
                    flush=True,
                )
                printed, seen, losses = now, 0, []
            if now - saved > SAVE_EVERY or trainer.step == stage.recipe.steps:
                trainer.save(checkpoint)
                saved = now
            if trainer.step == stage.recipe.steps:
                break
    best = cast(TokenLabelled, trainer.best)
    return {"vit": best.vit.cpu().state_dict(), "patch_head": best.patch_head.cpu().state_dict()}


def measure(model: VisionTransformer, seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run the model on new pictures of its own size. Returns logits (count, classes), CLS features (count, width) and targets (count,)."""
    logits, features, answers = [], [], []
    loader = DataLoader(Drawings(224, seed), 32, num_workers=1)
    with torch.inference_mode():
        for images, targets in loader:
            tokens = model.forward_features(images)
            features.append(model.forward_head(tokens, pre_logits=True))
            logits.append(model.forward_head(tokens))
            answers.append(targets[:, 0])
            if len(answers) * 32 >= count:
                break
    return torch.cat(logits), torch.cat(features), torch.cat(answers)


def temperature(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the temperature with the lowest cross-entropy (Guo et al. 2017, arXiv:1706.04599)."""
    scale = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale], max_iter=50)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / scale, targets)
        value.backward()
        return value

    optimizer.step(loss)
    return scale.item()


def finish(weights: dict, folder: Path, seed: int) -> None:
    """Calibrate the model on new pictures, and write it in timm's layout, in fp16, with its out-of-distribution detector."""
    model = cast(VisionTransformer, timm.create_model("vit_tiny_patch16_224", **SHAPE))
    model.load_state_dict(weights["vit"])
    model.eval()
    logits, fresh, targets = measure(model, seed + FRESH, 2000)
    scale = temperature(logits, targets)
    head = cast(nn.Linear, model.head)
    head.weight.data.div_(scale)
    head.bias.data.div_(scale)
    print(f"accuracy on {len(targets)} fresh pictures {(logits.argmax(-1) == targets).float().mean():.4f}, temperature {scale:.3f}")
    config = {"label_names": list(LABELS), "model_args": {key: value for key, value in SHAPE.items() if key != "num_classes"}}
    preprocessing = {"tag": "sketches", "mean": MEAN, "std": STD, "crop_pct": 1.0, "interpolation": "bicubic"}
    save_for_hf(model.half(), str(folder), model_config=config | {"pretrained_cfg": preprocessing}, safe_serialization=True)
    _, known, answers = measure(model.float(), seed + 2 * FRESH, 4000)
    OodDetector.fit(known, answers, fresh, FAMILIAR_SHARE).save(folder)
    print(json.dumps({path.name: path.stat().st_size for path in sorted(folder.iterdir())}))


def weights_of(folder: Path) -> dict:
    """Load a finished bundle's weights, for a stage to start from. They have no patches' head: `finish` removed it."""
    return {"vit": timm.create_model(f"local-dir:{folder}", pretrained=True).float().state_dict()}


def main() -> None:
    """Train both stages, or only the second from a finished bundle, and write the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints, outside the project")
    parser.add_argument("--output", type=Path, default=Path("assets/demo"))
    parser.add_argument("--begin", type=Path, metavar="DIR", help="a finished bundle to go on from, at 224×224 alone")
    parser.add_argument("--small", type=int, default=200_000, help="pictures at 112×112")
    parser.add_argument("--large", type=int, default=24_000, help="pictures at 224×224")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    flags = parser.parse_args()
    flags.work.mkdir(parents=True, exist_ok=True)
    small, large = stages(flags.small, flags.large)
    weights = begin = weights_of(flags.begin) if flags.begin else None
    for stage in [large] if flags.begin else [small, large]:
        weights = train(stage, flags.work, weights, flags.seed, flags.workers)
    assert weights is not None  # a stage has run
    if begin:  # the mean of before and after is better than either (Wortsman et al. 2022, arXiv:2109.01903)
        weights["vit"] = {name: (begin["vit"][name] + value) / 2 for name, value in weights["vit"].items()}
    finish(weights, flags.output, flags.seed)


if __name__ == "__main__":
    main()
