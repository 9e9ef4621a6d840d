"""Stage 2: train the transformer blocks below the head, starting from stage 1's head (LP-FT, Kumar et al. 2022, arXiv:2202.10054)."""

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
from vitdemo.core.inference.engine import LAYER_WIDTHS, Engine, free_memory
from vitdemo.core.models.adapter import Adapter
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.prefetch import batches, photos_ahead
from vitdemo.core.training import trainer
from vitdemo.core.training.precision import training_precision
from vitdemo.core.training.trainer import Trainer, share_of
from vitdemo.finetune.data.augment import varied
from vitdemo.finetune.data.dataset import Sample
from vitdemo.finetune.data.features import run_over
from vitdemo.finetune.heads import head
from vitdemo.finetune.recipe import UPDATE, Recipe

TELL_EVERY = 0.5  # seconds between two progress events


def check_depth(vit: Vit, recipe: Recipe) -> None:
    """Check that the model has the blocks that are to learn. Raises: UsageError where it has fewer."""
    depth = vit.adapter.layers
    if recipe.unfreeze.isdecimal() and int(recipe.unfreeze) > depth:
        raise UsageError(f"This model has {depth} blocks, so the last {recipe.unfreeze} can't learn: choose fewer, or all.")


class Blocks:
    """A ViT of which some or all layers are trained, one epoch at a time."""

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
        self.target = {sample.id: target for sample, target in zip(samples, targets, strict=True)}
        self.module = copy.deepcopy(vit.module)
        head.put(self.module, first)
        self.module.requires_grad_(True)
        self.depth = vit.adapter.layers
        drop_paths(self.module, recipe.drop_path)
        if recipe.unfreeze.isdecimal():
            self.free(int(recipe.unfreeze))
        cuda = vit.device.type == "cuda"
        self.size = recipe.batch_size or (UPDATE if cuda else 8)
        if recipe.checkpointing or activations(vit, self.size) > free_memory(vit.device) / 2:
            self.module.set_grad_checkpointing(True)
        self.precision = training_precision(vit, recipe.precision)
        accumulate = recipe.accumulate or max(1, UPDATE // self.size)
        self.updates = math.ceil(math.ceil(len(share_of(self.samples)) / self.size) / accumulate)  # per epoch
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
            self.free(1)  # only now: the optimizer must have been made with all layers

    def free(self, count: int) -> None:
        """Unfreeze the last `count` blocks and the layers after them; the whole model if that is all blocks."""
        if count >= self.depth:
            self.module.requires_grad_(True)
            return
        self.module.requires_grad_(False)
        for part in Adapter(self.module).after(count):
            part.requires_grad_(True)

    def freed(self, epoch: int) -> int:
        """Return how many blocks learn in this epoch (from 0) of a gradual run; in the last epoch all of them do."""
        return math.ceil(self.depth * (epoch + 1) / self.recipe.epochs)

    def epoch(self, number: int, settings: Settings) -> Iterator[dict]:
        """Train on every photo once. Yields the progress: photos done and in total, mean loss so far, each layer's learning rate.

        Raises: FloatingPointError where the loss is not finite.
        """
        recipe = self.recipe
        if recipe.unfreeze == "gradual":
            self.free(self.freed(number))
        seed = (recipe.seed, number)
        torch.manual_seed(recipe.seed * 10_007 + number)  # drop path repeats after an interruption
        order = np.random.default_rng(seed).permutation(len(self.samples))
        samples = [self.samples[index] for index in share_of(order.tolist())]
        prepare = varied(self.vit.preprocessing, recipe.augment, *seed)
        losses, done, reported = [], 0, 0.0
        items = [sample.item for sample in samples]
        with closing(photos_ahead(items, prepare, settings, ahead=3 * self.size)) as ready:
            for batch in batches(ready, self.size):
                usable = [(photo.id, photo.made) for photo in batch if photo.id is not None and photo.made is not None]
                if usable:
                    targets = torch.tensor([self.target[id] for id, _ in usable])
                    update = self.trainer.take(torch.stack([made for _, made in usable]), targets)
                    losses += [update.loss] if update else []
                done += len(batch)
                if losses and time.monotonic() - reported > TELL_EVERY:
                    reported = time.monotonic()
                    yield self._progress(done, len(samples), losses)
        if update := self.trainer.finish():
            losses.append(update.loss)
        yield self._progress(done, len(samples), losses)

    def answers(self, samples: Sequence[Sample], engine: Engine, settings: Settings) -> torch.Tensor:
        """Return the logits (photos, classes) of the weights to use: the averaged weights if the recipe has any."""
        network = self.trainer.best.eval()
        return answers(network, self.vit, samples, engine, settings)

    def rates(self) -> dict[str, float]:
        """Return the next learning rate of each layer that learns, from the top layer down."""
        names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        rates: dict[str, float] = {}
        for group in self.trainer.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.requires_grad:
                    rates.setdefault(_layer(names[id(parameter)], self.depth), group["lr"])
        return dict(sorted(rates.items(), key=lambda pair: _height(pair[0], self.depth), reverse=True))

    def _progress(self, done: int, total: int, losses: list[float]) -> dict:
        return {"done": done, "total": total, "loss": sum(losses) / max(1, len(losses)), "rates": self.rates()}


def answers(network: nn.Module, vit: Vit, samples: Sequence[Sample], engine: Engine, settings: Settings) -> torch.Tensor:
    """Return a network's logits (photos, classes), float32."""
    size = engine.batch_size(vit, settings.batch_size)
    batches_run = run_over(network, samples, lambda photo: vit.preprocessing(photo.image), engine, settings, size)
    parts = [outputs for _, outputs in batches_run if len(outputs)]
    return torch.cat(parts) if parts else torch.empty(0, 1)


def drop_paths(module: nn.Module, rate: float) -> None:
    """Give a ViT stochastic depth (Huang et al. 2016, arXiv:1603.09382): the drop rate rises from 0 to `rate`, as in timm's constructor."""
    blocks = Adapter(module).blocks
    for share, block in zip(torch.linspace(0, rate, len(blocks)).tolist(), blocks, strict=True):
        for name in ("drop_path1", "drop_path2"):
            if hasattr(block, name):
                setattr(block, name, DropPath(share) if share else nn.Identity())


def activations(vit: Vit, photos: int) -> float:
    """Bytes, about, that a forward pass keeps for the backward pass of so many photos, in fp32."""
    return 4 * photos * vit.adapter.layers * vit.adapter.tokens(vit.preprocessing.size) * vit.adapter.width * LAYER_WIDTHS


def _layer(name: str, depth: int) -> str:
    first, *rest = name.split(".")
    if first in ("head", "head_dist"):
        return "head"
    if first in ("norm", "fc_norm", "attn_pool"):  # timm groups these with the last block
        return f"block {depth}"
    return f"block {int(rest[0]) + 1}" if first == "blocks" else "embedding"


def _height(layer: str, depth: int) -> int:
    return {"head": depth + 1, "embedding": 0}[layer] if " " not in layer else int(layer.split()[1])
