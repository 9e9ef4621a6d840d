"""Stage 1: a linear head on cached features. A backbone that stays as it is runs once for each photo, not once for each epoch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from vitdemo.core.training import trainer
from vitdemo.core.training.trainer import Trainer
from vitdemo.finetune.recipe import Recipe
from vitdemo.finetune.scores import ClassifierScores, score

BATCH = 64  # photos an update


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features (N, width) with their class indices (N,)."""

    inputs: torch.Tensor
    targets: torch.Tensor


class Head:
    """A linear classifier of standardised features, trained an epoch at a time."""

    def __init__(self, train: LabelledFeatures, validation: LabelledFeatures, classes: int, recipe: Recipe, weight: torch.Tensor | None):
        self.mean, self.std = train.inputs.mean(0), train.inputs.std(0).clamp(min=1e-6)
        self.train = LabelledFeatures(self._standard(train.inputs), train.targets)
        self.validation = LabelledFeatures(self._standard(validation.inputs), validation.targets)
        self.recipe = recipe
        linear = nn.Linear(train.inputs.shape[1], classes)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        steps = recipe.head_epochs * math.ceil(len(train.inputs) / BATCH)
        self.trainer = Trainer(
            linear,
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
        """Learn from every photo once. Returns the mean loss, the scores on validation photos and their logits."""
        dice = torch.Generator().manual_seed(self.recipe.seed * 10_007 + number)
        losses = []
        for part in torch.randperm(len(self.train.inputs), generator=dice).split(BATCH):
            update = self.trainer.take(self.train.inputs[part], self.train.targets[part])
            losses.append(update.loss * len(part))
        self.trainer.model.eval()
        with torch.inference_mode():
            logits = self.trainer.model(self.validation.inputs)
        return sum(losses) / len(self.train.inputs), score(logits, self.validation.targets), logits

    def folded(self) -> dict[str, torch.Tensor]:
        """Weight and bias of the same classifier for features as they are."""
        weight = self.trainer.model.weight.detach() / self.std
        return {"weight": weight, "bias": self.trainer.model.bias.detach() - weight @ self.mean}

    def _standard(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs - self.mean) / self.std


def put(module: nn.Module, head: dict[str, torch.Tensor]) -> None:
    """Give a ViT this head, in place of its own. A distilled ViT answers with the mean of two: both become this one."""
    module.reset_classifier(len(head["bias"]))
    for name in ("head", "head_dist"):
        if linear := getattr(module, name, None):
            linear.load_state_dict(head)
            linear.to(next(module.parameters()).device)


def answer(head: dict[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """(N, width) → (N, classes)."""
    return features @ head["weight"].T + head["bias"]


def balanced(targets: torch.Tensor, classes: int) -> torch.Tensor:
    """A weight for each class with which all count alike; their mean over the photos is 1."""
    counts = torch.bincount(targets, minlength=classes).clamp(min=1)
    return len(targets) / (classes * counts)


def batches_of(order: list[int], size: int) -> Iterator[list[int]]:
    """Consecutive parts."""
    for start in range(0, len(order), size):
        yield order[start : start + size]
