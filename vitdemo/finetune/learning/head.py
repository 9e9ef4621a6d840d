"""Stage 1: a linear head on cached features. The frozen backbone runs once per photo, not once per photo and epoch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vitdemo.core.training import trainer
from vitdemo.core.training.trainer import Trainer
from vitdemo.finetune.recipe import Recipe
from vitdemo.finetune.scores import ClassifierScores, score

BATCH = 64  # photos per update


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features (N, width) with their class indices (N,)."""

    inputs: torch.Tensor
    targets: torch.Tensor


class Head:
    """A linear classifier of standardised features, trained one epoch at a time."""

    def __init__(self, train: LabelledFeatures, validation: LabelledFeatures, classes: int, recipe: Recipe, weight: torch.Tensor | None):
        self.mean, self.std = train.inputs.mean(0), train.inputs.std(0).clamp(min=1e-6)
        self.train = LabelledFeatures(self._standard(train.inputs), train.targets)
        self.validation = LabelledFeatures(self._standard(validation.inputs), validation.targets)
        self.recipe = recipe
        self.linear = nn.Linear(train.inputs.shape[1], classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        steps = recipe.head_epochs * math.ceil(len(train.inputs) / BATCH)
        self.trainer = Trainer(
            self.linear,
            trainer.TrainerConfig(
                steps=steps,
                lr=recipe.head_lr,
                warmup=int(recipe.warmup * steps),
                weight_decay=recipe.weight_decay,
                clip=recipe.clip or None,
            ),
            nn.CrossEntropyLoss(weight=weight, label_smoothing=recipe.label_smoothing),
        )

    def epoch(self, number: int) -> tuple[float, ClassifierScores, torch.Tensor]:
        """Train on every photo once. Returns the mean loss, the scores on the validation photos, and their logits."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 10_007 + number)
        losses = []
        for batch in torch.randperm(len(self.train.inputs), generator=generator).split(BATCH):
            update = self.trainer.take(self.train.inputs[batch], self.train.targets[batch])
            assert update is not None  # every batch makes an update
            losses.append(update.loss * len(batch))
        self.linear.eval()
        with torch.inference_mode():
            logits = self.linear(self.validation.inputs)
        return sum(losses) / len(self.train.inputs), score(logits, self.validation.targets), logits

    def folded(self) -> dict[str, torch.Tensor]:
        """Return weight and bias of the same classifier for features that are not standardised."""
        weight = self.linear.weight.detach() / self.std
        return {"weight": weight, "bias": self.linear.bias.detach() - weight @ self.mean}

    def _standard(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs - self.mean) / self.std


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


def batches_of(order: list[int], size: int) -> Iterator[list[int]]:
    """Split a list into consecutive batches."""
    for start in range(0, len(order), size):
        yield order[start : start + size]
