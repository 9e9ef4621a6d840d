"""Where the model looks: attention maps of one Trace on the patch grid.

All functions compute on the Trace of one forward pass and never run the model. Layers are counted from 1, heads from 0. No map is
rescaled: the display does that.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch

from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import Heat, Trace
from vitdemo.core.models.adapter import Adapter

Fusion = Literal["mean", "max", "min"]
FUSIONS: dict[Fusion, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": partial(torch.mean, dim=0),
    "max": partial(torch.amax, dim=0),
    "min": partial(torch.amin, dim=0),
}
"""How to fuse heads into one: (heads, …) → (…)."""


def layer_attention(trace: Trace, layer: int, head: int | Fusion = "mean") -> torch.Tensor:
    """The attention of one head of one layer, or of all its heads fused: (tokens, tokens).

    Raises: UserError for a layer or head that the model does not have.
    """
    attention = trace.attention[check_layer(trace, layer) - 1]  # (H, N, N)
    return check_fusion(head)(attention) if isinstance(head, str) else attention[check_head(trace, head)]


def cls_attention(trace: Trace) -> torch.Tensor:
    """CLS attention of every layer and head: (layers, heads, rows, columns). Sums are below 1, because the prefix tokens get a share too.

    Without a CLS token, the attention rows of all tokens are averaged with the weights of the model's pooling.
    """
    if trace.has_cls:
        return trace.to_grid(trace.attention[:, :, 0])
    return trace.to_grid(torch.einsum("q,lhqk->lhk", trace.readout, trace.attention))


def cls_map(trace: Trace, *, layer: int, head: int | Fusion = "mean") -> Heat:
    """CLS attention of one layer: of one head, or the mean, max or min of its heads.

    Raises: UserError for a layer or head that the model does not have.
    """
    heads = cls_attention(trace)[check_layer(trace, layer) - 1]  # (H, rows, columns)
    return check_fusion(head)(heads) if isinstance(head, str) else heads[check_head(trace, head)]


def rollouts(trace: Trace, *, fusion: Fusion = "mean", discard: float = 0.0, start_layer: int = 1) -> torch.Tensor:
    """Attention rollout (Abnar & Zuidema, 2020, arXiv:2005.00928) up to each layer from the start layer on.

    Args:
        fusion: how the heads of a layer are fused into one map.
        discard: share of the weakest patch-to-patch links dropped in each layer, 0 ≤ discard < 1.
        start_layer: the first layer included, 1 … layers.

    Returns: (layers − start_layer + 1, rows, columns) float32, non-negative.
    Raises: UserError for a value out of range.
    """
    if not 0 <= discard < 1:
        raise UserError(f"The share of links to discard must be at least 0 and less than 1; {discard:g} was asked for.")
    fuse, start = check_fusion(fusion), check_layer(trace, start_layer)
    steps = (keep_strongest(fuse(attention), trace.prefix, discard) for attention in trace.attention[start - 1 :])  # (H, N, N) → (N, N)
    return _accumulate(trace, steps)


def rollout(trace: Trace, *, fusion: Fusion = "mean", discard: float = 0.0, start_layer: int = 1, layer: int | None = None) -> Heat:
    """Attention rollout up to one layer, the last by default. Arguments and errors as `rollouts`."""
    last = check_layers(trace, start_layer, layer)
    return rollouts(trace, fusion=fusion, discard=discard, start_layer=start_layer)[last - start_layer]


def keep_strongest(fused: torch.Tensor, prefix: int, discard: float) -> torch.Tensor:
    """Set the weakest share of the patch-to-patch links of (tokens, tokens) to 0; links to and from prefix tokens stay."""
    result = fused.clone()
    links = result[prefix:, prefix:].flatten()  # a copy
    links[links.topk(int(discard * links.numel()), largest=False, sorted=False).indices] = 0
    result[prefix:, prefix:] = links.view(result[prefix:, prefix:].shape)
    return result


def relevances(trace: Trace, gradient: torch.Tensor, *, start_layer: int = 1) -> torch.Tensor:
    """Relevance for one class (Chefer, Gur & Wolf, ICCV 2021, arXiv:2103.15679) up to each layer from the start layer on.

    Args:
        gradient: gradient of the class's logit by the attention, (layers, heads, tokens, tokens), from `gradients.attention_gradient`.

    Returns: (layers − start_layer + 1, rows, columns) float32, non-negative.
    Raises: UserError for a start layer that does not exist.
    """
    start = check_layer(trace, start_layer)
    flow, rows = torch.eye(trace.attention.shape[-1]), []  # (N, N)
    for attention, slope in zip(trace.attention[start - 1 :], gradient[start - 1 :], strict=True):
        flow = flow + (slope * attention).clamp(min=0).mean(0) @ flow
        rows.append(trace.readout @ flow)
    return trace.to_grid(torch.stack(rows))


def relevance(trace: Trace, gradient: torch.Tensor, *, start_layer: int = 1, layer: int | None = None) -> Heat:
    """Relevance up to one layer, the last by default. Arguments and errors as `relevances`."""
    last = check_layers(trace, start_layer, layer)
    return relevances(trace, gradient, start_layer=start_layer)[last - start_layer]


def gradient_rollouts(trace: Trace, gradient: torch.Tensor, *, start_layer: int = 1) -> torch.Tensor:
    """Rollout of attention weighted by its gradient: of each layer it takes the positive part of the mean over heads of A∘∇A.

    Arguments, result and errors as `relevances`.
    """
    start = check_layer(trace, start_layer)
    layers = zip(trace.attention[start - 1 :], gradient[start - 1 :], strict=True)
    return _accumulate(trace, ((attention * slope).mean(0).clamp(min=0) for attention, slope in layers))


def gradient_rollout(trace: Trace, gradient: torch.Tensor, *, start_layer: int = 1, layer: int | None = None) -> Heat:
    """Gradient rollout up to one layer, the last by default. Arguments and errors as `relevances`."""
    last = check_layers(trace, start_layer, layer)
    return gradient_rollouts(trace, gradient, start_layer=start_layer)[last - start_layer]


def looks_at(trace: Trace, layer: int, patch: tuple[int, int], head: int | Fusion = "mean") -> Heat:
    """What the patch at (row, column) looks at: the patch's row of the attention matrix.

    Raises: UserError for a layer, head or patch that does not exist.
    """
    return trace.to_grid(layer_attention(trace, layer, head)[token_of(trace, patch)])


def looked_at_by(trace: Trace, layer: int, patch: tuple[int, int], head: int | Fusion = "mean") -> Heat:
    """Which patches look at the patch at (row, column): the patch's column of the attention matrix.

    Raises: UserError for a layer, head or patch that does not exist.
    """
    return trace.to_grid(layer_attention(trace, layer, head)[:, token_of(trace, patch)])


def check_layer(trace: Trace | Adapter, layer: int) -> int:
    """Return the layer if the trace, or the model, has it. Raises: UserError for a layer that the model does not have."""
    if not 1 <= layer <= trace.layers:
        raise UserError(f"There is no layer {layer}: choose one from 1 to {trace.layers}.")
    return layer


def check_head(trace: Trace | Adapter, head: int) -> int:
    """Return the head if the trace, or the model, has it. Raises: UserError for a head that the model does not have."""
    if not 0 <= head < trace.heads:
        raise UserError(f"There is no head {head}: choose one from 0 to {trace.heads - 1}, or {', '.join(FUSIONS)}.")
    return head


def check_fusion(fusion: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function that fuses heads in this way. Raises: UserError for a fusion that is not in FUSIONS."""
    if fusion not in FUSIONS:
        raise UserError(f"Heads can't be fused by “{fusion}”: choose {', '.join(get_args(Fusion))}.")
    return FUSIONS[fusion]


def check_layers(trace: Trace | Adapter, start_layer: int, layer: int | None) -> int:
    """The last layer of a range of layers; by default the model's last.

    Raises: UserError for a layer that the model does not have, or a last layer before the first.
    """
    start, last = check_layer(trace, start_layer), check_layer(trace, trace.layers if layer is None else layer)
    if last < start:
        raise UserError(f"Layer {last} comes before the start layer {start}: choose an earlier start layer or a later layer.")
    return last


def _accumulate(trace: Trace, steps) -> torch.Tensor:
    """Add the identity to each layer's map, normalise its rows, multiply it onto the product so far; keep each layer's readout."""
    flow = identity = torch.eye(trace.attention.shape[-1])  # (N, N)
    rows = []
    for step in steps:
        step = step + identity
        flow = step / step.sum(-1, keepdim=True) @ flow
        rows.append(trace.readout @ flow)
    return trace.to_grid(torch.stack(rows))  # (layers, rows, columns)


def token_of(trace: Trace, patch: tuple[int, int]) -> int:
    """The index of the token of the patch at (row, column). Raises: UserError for a patch that does not exist."""
    (row, column), (rows, columns) = patch, trace.grid
    if not (0 <= row < rows and 0 <= column < columns):
        raise UserError(
            f"There is no patch in row {row}, column {column}: choose a row from 0 to {rows - 1}, a column from 0 to {columns - 1}."
        )
    return trace.prefix + row * columns + column
