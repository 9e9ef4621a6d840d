"""What the head reads: CLS after the last block (the model's own readout), the mean of the patches, both, or CLS after an earlier block.

Each is a model of its own, so that nothing after it has to know: another pooling, or fewer blocks.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitdemo.core.errors import UsageError
from vitdemo.core.models.adapter import read_mean_too
from vitdemo.core.models.vit import Vit

FINAL, MEAN, BOTH, AUTO = "final", "mean", "both", "auto"


def read_from(vit: Vit, features: str) -> tuple[Vit, dict[str, Any]]:
    """Return the model whose head reads these features, and the arguments with which timm builds it.

    Args:
        features: final, mean, both, or the number of a block, from 1.

    Raises: UsageError where the model has another pooling of its own, or no such block.
    """
    if features == FINAL:
        return vit, {}
    if not readable(vit):
        raise UsageError(f"The head of {vit.name} reads its features in a way of its own: leave --features at final.")
    module = copy.deepcopy(vit.module)
    if features == BOTH:
        read_mean_too(module)
        return replace(vit, module=module), {}
    if features == MEAN:
        module.global_pool = "avg"
        return replace(vit, module=module), {"global_pool": "avg", "fc_norm": False}
    if int(features) > len(module.blocks):
        raise UsageError(f"This model has {len(module.blocks)} blocks, so --features can't be {features}: choose a smaller number.")
    module.blocks = module.blocks[: int(features)]
    return replace(vit, module=module), {"depth": int(features)}


def readable(vit: Vit) -> bool:
    """Whether the head's features can be changed: a plain ViT of timm's that reads CLS after its last norm."""
    module = vit.module
    return type(module) is VisionTransformer and module.global_pool == "token" and not isinstance(module.norm, nn.Identity)


def candidates(vit: Vit) -> list[str]:
    """Return what `auto` compares: final, mean, both, the last block but one, and that after three quarters of the blocks."""
    if not readable(vit):
        return [FINAL]
    layers = len(vit.module.blocks)
    return list(dict.fromkeys([FINAL, MEAN, BOTH, *(str(layer) for layer in (layers - 1, layers * 3 // 4) if 0 < layer < layers)]))


def all_of(vit: Vit, wanted: Sequence[str]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from images (B, 3, height, width) to what all of `wanted` read, one after the other, (B, sum of widths).

    The images pass through the model once. `widths` tells the parts.
    """
    module, prefix = vit.module, vit.adapter.prefix
    earlier = [name for name in wanted if name.isdecimal()]

    def read(images: torch.Tensor) -> torch.Tensor:
        final, layers = vit.adapter.intermediates(images)
        cls, mean = final[:, 0], final[:, prefix:].mean(1)
        found = {FINAL: cls, MEAN: mean, BOTH: torch.cat((cls, mean), 1)}
        found |= {name: module.norm(layers[int(name) - 1][:, :1])[:, 0] for name in earlier}
        return torch.cat([found[name] for name in wanted], 1)

    return read


def widths(vit: Vit, wanted: Sequence[str]) -> list[int]:
    """How many numbers of a photo each of `wanted` reads."""
    return [vit.adapter.width * (2 if name == BOTH else 1) for name in wanted]


def choose(losses: Sequence[torch.Tensor]) -> int:
    """Choose by out-of-fold losses (photos,): the best candidate, if it is better than the first by two standard errors."""
    best = min(range(len(losses)), key=lambda index: float(losses[index].mean()))
    gain = losses[0] - losses[best]
    return best if gain.mean() > 2 * gain.std() / len(gain) ** 0.5 else 0
