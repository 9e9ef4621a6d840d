"""Photos as vectors: what a Vision Transformer makes of a photo after each of its layers, from one pass.

Layer L is block L's output, before the final norm, as timm's `get_intermediate_layers(x, n=[L - 1])` gives it; `final` is what comes after
the last norm, timm's `forward_features(x)`. Two vectors stand for a layer's tokens: `cls`, the CLS token, and `mean`, the average patch.
"""

from collections.abc import Callable

import torch

from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.vit import Vit

Layer = int | str
FINAL = "final"
POOLS = ("cls", "mean")


def layers_of(vit: Vit) -> tuple[Layer, ...]:
    """1 … the number of blocks, then `final`."""
    return (*range(1, len(vit.module.blocks) + 1), FINAL)


def pools_of(vit: Vit) -> tuple[str, ...]:
    """Which vectors this model's tokens give: a model without a CLS token has the average patch alone."""
    return POOLS if vit.module.cls_token is not None else POOLS[1:]


def check_layer(vit: Vit, layer: Layer | str) -> Layer:
    """The layer that a number, its digits or `final` names. Raises: UserError for a layer that the model does not have."""
    if layer == FINAL:
        return FINAL
    last = len(vit.module.blocks)
    try:
        number = int(layer)
    except (TypeError, ValueError):
        number = 0
    if not 1 <= number <= last:
        raise UserError(f"{vit.name} has the layers 1 to {last} and “{FINAL}”; “{layer}” is none of them.")
    return number


def check_pool(vit: Vit, pool: str) -> str:
    """Raises: UserError for a pooling that is none, or that the model does not have."""
    if pool not in POOLS:
        raise UserError(f"Vectors are pooled by {' or '.join(POOLS)}; “{pool}” is neither.")
    if pool not in pools_of(vit):
        raise UserError(f"{vit.name} has no CLS token: choose the pooling “mean”.")
    return pool


def all_layers(vit: Vit) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """A network for `Engine.forward`: (images, 3, height, width) → logits (images, classes) and vectors (images, layers + 1, pools, width).

    It is the model's plain forward pass; only the vectors are kept of its tokens.
    """
    module, prefix = vit.module, vit.module.num_prefix_tokens

    def network(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = module.forward_intermediates(images, return_prefix_tokens=True, output_fmt="NLC", output_dict=True)
        tokens = found["image_features"]  # (B, N, width)
        patches = [*found["image_intermediates"], tokens[:, prefix:]]
        pooled = [torch.stack([each.mean(1, dtype=torch.float32) for each in patches], 1)]  # (B, layers + 1, width)
        if module.cls_token is not None:
            first = [*(each[:, 0] for each in found["image_intermediates_prefix"]), tokens[:, 0]]
            pooled.insert(0, torch.stack(first, 1).float())
        return module.forward_head(tokens), torch.stack(pooled, 2)

    return network


def patch_tokens(vit: Vit, engine: Engine, batch: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Every patch's token after one layer; blocks behind it are not run.

    Args:
        batch: (images, 3, height, width) model inputs.
        layer: 1 … the number of blocks, or `final`.

    Returns: (images, rows, columns, width) float32 on the CPU.
    Raises: UserError for a layer that the model does not have, or too little memory.
    """
    network = patches_after(vit, layer)
    return engine.run(lambda: engine.forward(network, batch))[0][0]


def patches_after(vit: Vit, layer: Layer) -> Callable[[torch.Tensor], tuple[torch.Tensor]]:
    """A network for `Engine.forward`: (images, 3, height, width) → (images, rows, columns, width). Raises: as `check_layer`."""
    module, layer = vit.module, check_layer(vit, layer)

    def network(images: torch.Tensor) -> tuple[torch.Tensor]:
        if layer == FINAL:
            tokens = module.forward_features(images)[:, module.num_prefix_tokens :]  # (B, N, width)
        else:
            (tokens,) = module.forward_intermediates(images, [layer - 1], output_fmt="NLC", stop_early=True, intermediates_only=True)
        return (tokens.unflatten(1, module.patch_embed.dynamic_feat_size(tuple(images.shape[-2:]))),)

    return network
