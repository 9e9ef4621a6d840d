"""Photos as vectors: the output of every layer of a Vision Transformer, from one forward pass.

Layer L is block L's output before the final norm, as in timm's `get_intermediate_layers(x, n=[L - 1])`. `final` is the output after the
last norm, as in timm's `forward_features(x)`. A layer's tokens are pooled into two vectors: `cls`, the CLS token, and `mean`, the mean of
patches.
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
    """All layers of a model: 1 … the number of blocks, then `final`."""
    return (*range(1, vit.adapter.layers + 1), FINAL)


def pools_of(vit: Vit) -> tuple[str, ...]:
    """The poolings that a model has: `cls` and `mean`, or only `mean` without a CLS token."""
    return POOLS if vit.adapter.has_cls else POOLS[1:]


def check_layer(vit: Vit, layer: Layer | str) -> Layer:
    """Parse a layer: a number, its digits, or `final`. Raises: UserError for a layer that the model does not have."""
    if layer == FINAL:
        return FINAL
    last = vit.adapter.layers
    try:
        number = int(layer)
    except (TypeError, ValueError):
        number = 0
    if not 1 <= number <= last:
        raise UserError(f"{vit.name} has the layers 1 to {last} and “{FINAL}”; “{layer}” is none of them.")
    return number


def check_pool(vit: Vit, pool: str) -> str:
    """Return the pooling if it exists. Raises: UserError for an unknown pooling, or one that the model does not have."""
    if pool not in POOLS:
        raise UserError(f"Vectors are pooled by {' or '.join(POOLS)}; “{pool}” is neither.")
    if pool not in pools_of(vit):
        raise UserError(f"{vit.name} has no CLS token: choose the pooling “mean”.")
    return pool


def all_layers(vit: Vit) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """A network for `Engine.forward`: (images, 3, height, width) → logits (images, classes) and vectors (images, layers + 1, pools, width).

    The network is the model's plain forward pass; of the tokens it keeps only the pooled vectors. The logits of a photo that the model
    refuses are NaN.
    """
    adapter, detector = vit.adapter, vit.ood

    def network(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        final, layers = adapter.intermediates(images)
        outputs = [*layers, final]  # (B, N, width) each
        pooled = [torch.stack([tokens[:, adapter.prefix :].mean(1, dtype=torch.float32) for tokens in outputs], 1)]
        if adapter.has_cls:
            pooled.insert(0, torch.stack([tokens[:, 0] for tokens in outputs], 1).float())
        logits = vit.module.forward_head(final)
        if detector and detector.refuses:
            distances = detector.distance(vit.module.forward_head(final, pre_logits=True).float().cpu())
            logits = logits.masked_fill((distances > detector.limit)[:, None].to(logits.device), torch.nan)
        return logits, torch.stack(pooled, 2)  # (B, layers + 1, pools, width)

    return network


def patch_tokens(vit: Vit, engine: Engine, batch: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Every patch's token after one layer; later blocks are not run.

    Args:
        batch: (images, 3, height, width) model inputs.
        layer: 1 … the number of blocks, or `final`.

    Returns: (images, rows, columns, width) float32 on the CPU.
    Raises: UserError for a layer that the model does not have, or if there is too little memory.
    """
    network = patches_after(vit, layer)
    return engine.run(lambda: engine.forward(network, batch))[0][0]


def patches_after(vit: Vit, layer: Layer) -> Callable[[torch.Tensor], tuple[torch.Tensor]]:
    """A network for `Engine.forward`: (images, 3, height, width) → (images, rows, columns, width). Raises: as `check_layer`."""
    adapter, layer = vit.adapter, check_layer(vit, layer)

    def network(images: torch.Tensor) -> tuple[torch.Tensor]:
        if isinstance(layer, str):  # FINAL
            tokens = vit.module.forward_features(images)  # (B, N, width)
        else:
            _, (tokens,) = adapter.intermediates(images, [layer - 1])
        return (tokens[:, adapter.prefix :].unflatten(1, adapter.grid((images.shape[-2], images.shape[-1]))),)

    return network
