"""A linear head on cached features: how it is put into a model and applied, and how it learns where there are too many photos to solve it.

The frozen backbone runs once per photo. `logistic` solves the head exactly; `MinibatchHead` is for a million photos.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vitdemo.core.training import trainer
from vitdemo.core.training.trainer import Trainer

EPOCHS, RATE, WEIGHT_DECAY = 20, 0.003, 0.05
BATCH, UPDATES = 64, 1000  # photos per update at least, and updates per epoch at most


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features (N, width) with their class indices (N,)."""

    inputs: torch.Tensor
    targets: torch.Tensor


class MinibatchHead:
    """A linear classifier of standardised features, trained one epoch at a time."""

    def __init__(self, train: LabelledFeatures, classes: int, weight: torch.Tensor | None, seed: int):
        self.mean, self.std = train.inputs.mean(0), train.inputs.std(0).clamp(min=1e-6)
        self.train, self.seed = train, seed
        self.linear = nn.Linear(train.inputs.shape[1], classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.batch = max(BATCH, math.ceil(len(train.inputs) / UPDATES))
        steps = EPOCHS * math.ceil(len(train.inputs) / self.batch)
        self.trainer = Trainer(
            self.linear,
            trainer.TrainerConfig(steps=steps, lr=RATE, warmup=steps // 10, weight_decay=WEIGHT_DECAY),
            nn.CrossEntropyLoss(weight=weight),
        )

    def epoch(self, number: int) -> float:
        """Train on every photo once. Returns the mean loss."""
        generator = torch.Generator().manual_seed(self.seed * 10_007 + number)
        losses = []
        for batch in torch.randperm(len(self.train.inputs), generator=generator).split(self.batch):
            update = self.trainer.take((self.train.inputs[batch] - self.mean) / self.std, self.train.targets[batch])
            assert update is not None  # every batch makes an update
            losses.append(update.loss * len(batch))
        return sum(losses) / len(self.train.inputs)

    def folded(self) -> dict[str, torch.Tensor]:
        """Return weight and bias of the same classifier for features that are not standardised."""
        weight = self.linear.weight.detach() / self.std
        return {"weight": weight, "bias": self.linear.bias.detach() - weight @ self.mean}


def put(module: Any, head: dict[str, torch.Tensor]) -> None:
    """Replace a ViT's head by this one. A distilled ViT averages the logits of two heads: both are replaced."""
    module.reset_classifier(len(head["bias"]))
    for name in ("head", "head_dist"):
        if linear := getattr(module, name, None):
            linear.load_state_dict(head)
            linear.to(next(module.parameters()).device)


def answer(head: dict[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """Apply a head: features (N, width) → logits (N, classes)."""
    return features @ head["weight"].T + head["bias"]


def balanced(targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Return a weight per class that makes all classes count alike; the mean weight over the photos is 1."""
    counts = torch.bincount(targets, minlength=classes).clamp(min=1)
    return len(targets) / (classes * counts)
