"""A training run, step by step: optimizer, schedule, gradient accumulation, precision, averaged weights, checkpoint.

timm's optimizer factory, scheduler and ModelEmaV3 do the work. The trainer returns each update, and the caller reports it. Under
`accelerate launch` or `torchrun` each process trains on its own batches, and all processes make the same updates from the mean of their
gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as group
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from torch import nn

from vitdemo.core.training import checkpoint

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TrainerConfig:
    """How to train.

    Attributes:
        steps: total number of optimizer updates.
        lr: peak learning rate, reached after `warmup` updates, then lowered to zero along a cosine.
        optimizer: the optimizer's name in timm.
        warmup: updates until the peak learning rate.
        weight_decay: the optimizer's weight decay.
        layer_decay: learning rate of each layer as a share of the next layer's; None for one rate.
        accumulate: batches whose gradients make one update.
        clip: largest norm of the gradients; None for no limit.
        precision: fp32, bf16, or fp16 (with a loss scaler).
        ema: decay of the averaged weights; None for no averaging.
    """

    steps: int
    lr: float
    optimizer: str = "adamw"
    warmup: int = 0
    weight_decay: float = 0.05
    layer_decay: float | None = None
    accumulate: int = 1
    clip: float | None = 1.0
    precision: str = "fp32"
    ema: float | None = None


@dataclass(frozen=True)
class Update:
    """One optimizer update: its number, counted from 1, the mean loss of its batches, and the highest learning rate it was made with."""

    step: int
    loss: float
    lr: float


class Trainer:
    """Trains `model`, which is already on its device."""

    def __init__(self, model: nn.Module, recipe: TrainerConfig, loss: Loss):
        self.model, self.recipe, self.loss = model, recipe, loss
        self.device = next(model.parameters()).device
        self.optimizer = create_optimizer_v2(
            model, recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, layer_decay=recipe.layer_decay
        )
        self.schedule = CosineLRScheduler(self.optimizer, recipe.steps, warmup_t=recipe.warmup, warmup_prefix=False, t_in_epochs=False)
        self.average = ModelEmaV3(model, recipe.ema, use_warmup=True) if recipe.ema else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.step = 0
        self._batches, self._loss = 0, 0.0
        self.schedule.step_update(0)  # timm applies layer-wise learning rates only from the scheduler's first step on

    @property
    def rates(self) -> list[float]:
        """The next learning rate of each of the optimizer's parameter groups."""
        return [parameters["lr"] for parameters in self.optimizer.param_groups]

    @property
    def best(self) -> nn.Module:
        """The model to use: the one with averaged weights, if weights are averaged."""
        return self.average.module if self.average else self.model

    def take(self, images: torch.Tensor, targets: torch.Tensor) -> Update | None:
        """Train on one batch, images (B, 3, H, W). Returns the update that the batch completed, or None.

        Raises: FloatingPointError where the loss is not finite.
        """
        self.model.train()
        dtype = _DTYPES.get(self.recipe.precision)
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            loss = self.loss(self.model(images.to(self.device)), targets.to(self.device)) / self.recipe.accumulate
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.step + 1}: choose a lower learning rate")
        self.scaler.scale(loss).backward()
        self._batches, self._loss = self._batches + 1, self._loss + loss.item()
        return self._update() if self._batches == self.recipe.accumulate else None

    def finish(self) -> Update | None:
        """Make an update from the mean of the batches accumulated so far, as at the end of an epoch. Returns None where there are none."""
        if not self._batches:
            return None
        share = self.recipe.accumulate / self._batches
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(share)
        self._loss *= share
        return self._update()

    def save(self, path: Path, **more) -> None:
        """Write everything needed to resume, and `more`, completely or not at all. Raises: OSError where the file can't be written."""
        parts: dict[str, Any] = {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler}
        parts |= {"average": self.average} if self.average else {}
        state = {name: part.state_dict() for name, part in parts.items()} | {"step": self.step, "more": more}
        checkpoint.save(state, path)

    def load(self, path: Path) -> dict:
        """Resume from a file that `save` wrote. Returns the `more` that was saved. Raises: UserError where the file can't be used."""
        state = checkpoint.load(path, self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.step = state["step"]
        self.schedule.step_update(self.step)
        return state["more"]

    def _update(self) -> Update:
        if group.is_initialized():
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    group.all_reduce(parameter.grad)
                    parameter.grad.div_(group.get_world_size())
        if self.recipe.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        lr = max(self.rates)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.step += 1
        self.schedule.step_update(self.step)
        if self.average:
            self.average.update(self.model, self.step)
        update = Update(self.step, self._loss, lr)
        self._batches, self._loss = 0, 0.0
        return update


def share_of(photos: list) -> list:
    """Return this process's share of the photos. All shares have the same length: where photos don't divide evenly, the first repeat."""
    if not group.is_initialized():
        return photos
    count = -(-len(photos) // group.get_world_size())
    start = group.get_rank() * count
    return [photos[index % len(photos)] for index in range(start, start + count)]
