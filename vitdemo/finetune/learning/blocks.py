"""Stage 2: the blocks below the head, starting from stage 1's head (LP-FT, Kumar et al. 2022, arXiv:2202.10054)."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import torch
from timm.layers import DropPath
from torch import nn

from vitdemo.core.config import Settings
from vitdemo.core.errors import UsageError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.module_hooks import hooked
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.prefetch import batches, photos_ahead
from vitdemo.core.training import trainer
from vitdemo.core.training.trainer import Trainer, share_of
from vitdemo.finetune.data.augment import varied
from vitdemo.finetune.data.dataset import Sample
from vitdemo.finetune.data.features import run_over
from vitdemo.finetune.learning import head
from vitdemo.finetune.recipe import UPDATE, Recipe

TELL_EVERY = 0.5  # seconds


def check_depth(vit: Vit, recipe: Recipe) -> None:
    """Raises: UsageError where more blocks are to learn than there are."""
    depth = len(vit.module.blocks)
    if recipe.unfreeze.isdecimal() and int(recipe.unfreeze) > depth:
        raise UsageError(f"This model has {depth} blocks, so the last {recipe.unfreeze} can't learn: choose fewer, or all.")


class Blocks:
    """A ViT whose layers learn, an epoch at a time."""

    def __init__(
        self,
        vit: Vit,
        first: dict[str, torch.Tensor],
        samples: Sequence[Sample],
        targets: Sequence[int],
        recipe: Recipe,
        weight: torch.Tensor | None,
    ):
        self.vit, self.recipe, self.samples = vit, recipe, list(samples)
        self.target = {each.id: target for each, target in zip(samples, targets, strict=True)}
        with hooked(()):  # nobody's hooks are copied
            self.module = copy.deepcopy(vit.module)
        head.put(self.module, first)
        self.module.requires_grad_(True)
        self.depth = len(self.module.blocks)
        drop_paths(self.module, recipe.drop_path)
        if recipe.checkpointing:
            self.module.set_grad_checkpointing(True)
        if recipe.unfreeze.isdecimal():
            self.free(int(recipe.unfreeze))
        cuda = vit.device.type == "cuda"
        self.size = recipe.batch_size or (UPDATE if cuda else 8)
        self.precision = precision_on(vit.device, recipe.precision)
        accumulate = recipe.accumulate or max(1, UPDATE // self.size)
        self.updates = math.ceil(math.ceil(len(share_of(self.samples)) / self.size) / accumulate)  # an epoch
        steps = recipe.epochs * self.updates
        self.trainer = Trainer(
            self.module,
            trainer.TrainerConfig(
                steps=steps,
                lr=recipe.lr,
                warmup=int(recipe.warmup * steps),
                weight_decay=recipe.weight_decay,
                layer_decay=recipe.layer_decay,
                accumulate=accumulate,
                clip=recipe.clip or None,
                precision=self.precision,
                ema=recipe.ema or None,
            ),
            nn.CrossEntropyLoss(weight=None if weight is None else weight.to(vit.device), label_smoothing=recipe.label_smoothing),
        )
        if recipe.unfreeze == "gradual":
            self.free(1)  # the optimizer knows all layers by now

    def free(self, count: int) -> None:
        """Let the last `count` blocks learn, with what follows them; all of the model where that is all blocks."""
        if count >= self.depth:
            self.module.requires_grad_(True)
            return
        self.module.requires_grad_(False)
        for part in (*self.module.blocks[self.depth - count :], self.module.norm, self.module.fc_norm, self.module.attn_pool):
            if part is not None:
                part.requires_grad_(True)
        for name in ("head", "head_dist"):
            if part := getattr(self.module, name, None):
                part.requires_grad_(True)

    def freed(self, epoch: int) -> int:
        """How many blocks learn in this epoch of a gradual run, from 0: one at first, all at the end."""
        return math.ceil(self.depth * (epoch + 1) / self.recipe.epochs)

    def epoch(self, number: int, settings: Settings) -> Iterator[dict]:
        """Learn from every photo once. Yields how far it is: photos done of all, the mean loss so far, each layer's rate.

        Raises: FloatingPointError where the loss is no number any more.
        """
        recipe = self.recipe
        if recipe.unfreeze == "gradual":
            self.free(self.freed(number))
        seed = (recipe.seed, number)
        torch.manual_seed(recipe.seed * 10_007 + number)  # for drop path, the same after an interruption
        order = np.random.default_rng(seed).permutation(len(self.samples))
        chosen = [self.samples[index] for index in share_of(order.tolist())]
        prepare = varied(self.vit.preprocessing, recipe.augment, *seed)
        losses, done, told = [], 0, 0.0
        items = [each.item for each in chosen]
        with closing(photos_ahead(items, prepare, settings, ahead=3 * self.size)) as ready:
            for run in batches(ready, self.size):
                usable = [each for each in run if each.made is not None]
                if usable:
                    targets = torch.tensor([self.target[each.id] for each in usable])
                    update = self.trainer.take(torch.stack([each.made for each in usable]), targets)
                    losses += [update.loss] if update else []
                done += len(run)
                if losses and time.monotonic() - told > TELL_EVERY:
                    told = time.monotonic()
                    yield self._told(done, len(chosen), losses)
        if update := self.trainer.finish():
            losses.append(update.loss)
        yield self._told(done, len(chosen), losses)

    def answers(self, samples: Sequence[Sample], engine: Engine, settings: Settings) -> torch.Tensor:
        """Logits (photos, classes) by the weights to use."""
        network = self.trainer.best.eval()
        return answers(network, self.vit, samples, engine, settings)

    def rates(self) -> dict[str, float]:
        """The next learning rate of each layer that learns, from the top."""
        names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        found: dict[str, float] = {}
        for each in self.trainer.optimizer.param_groups:
            for parameter in each["params"]:
                if parameter.requires_grad:
                    found.setdefault(_layer(names[id(parameter)], self.depth), each["lr"])
        return dict(sorted(found.items(), key=lambda pair: _height(pair[0], self.depth), reverse=True))

    def _told(self, done: int, total: int, losses: list[float]) -> dict:
        return {"done": done, "total": total, "loss": sum(losses) / max(1, len(losses)), "rates": self.rates()}


def answers(network: nn.Module, vit: Vit, samples: Sequence[Sample], engine: Engine, settings: Settings) -> torch.Tensor:
    """A network's logits (photos, classes), float32."""
    size = engine.batch_size(vit, settings.batch_size)
    runs = run_over(network, samples, lambda photo: vit.preprocessing(photo.image), engine, settings, size)
    parts = [outputs for _, outputs in runs if len(outputs)]
    return torch.cat(parts) if parts else torch.empty(0, 1)


def drop_paths(module: nn.Module, rate: float) -> None:
    """Give a ViT stochastic depth, rising from 0 to `rate` as timm's constructor would (Huang et al. 2016, arXiv:1603.09382)."""
    for share, block in zip(torch.linspace(0, rate, len(module.blocks)).tolist(), module.blocks, strict=True):
        for name in ("drop_path1", "drop_path2"):
            if hasattr(block, name):
                setattr(block, name, DropPath(share) if share else nn.Identity())


def precision_on(device: torch.device, asked: str) -> str:
    """What `auto` comes to: mixed precision on a GPU, in bf16 where it has that; fp32 elsewhere."""
    if asked != "auto":
        return asked
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _layer(name: str, depth: int) -> str:
    first, *rest = name.split(".")
    if first in ("head", "head_dist"):
        return "head"
    if first in ("norm", "fc_norm", "attn_pool"):  # timm counts them with the last block
        return f"block {depth}"
    return f"block {int(rest[0]) + 1}" if first == "blocks" else "embedding"


def _height(layer: str, depth: int) -> int:
    return {"head": depth + 1, "embedding": 0}.get(layer) if " " not in layer else int(layer.split()[1])
