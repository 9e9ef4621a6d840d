"""Where the model looks: maps of one Trace on the patch grid, and what its heads and layers do.

Everything here is arithmetic on numbers that one forward pass left behind; nothing runs the model. Layers are counted from 1, heads from 0.
No map is rescaled: the display does that.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch

from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import Heat, Trace

Fusion = Literal["mean", "max", "min"]
FUSIONS: dict[Fusion, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": partial(torch.mean, dim=0),
    "max": partial(torch.amax, dim=0),
    "min": partial(torch.amin, dim=0),
}
"""How heads become one: (heads, …) → (…)."""


def layer_attention(trace: Trace, layer: int, head: int | Fusion = "mean") -> torch.Tensor:
    """(tokens, tokens): one head of one layer, or all its heads as one.

    Raises: UserError for a layer or head that the model does not have.
    """
    attention = trace.attention[check_layer(trace, layer) - 1]  # (H, N, N)
    return check_fusion(head)(attention) if isinstance(head, str) else attention[check_head(trace, head)]


def cls_attention(trace: Trace) -> torch.Tensor:
    """(layers, heads, rows, columns): what CLS looks at, in every layer and head. Sums stay below 1 by what goes to the prefix tokens.

    In a model without CLS the average of the patches asks instead, weighted as its pooling reads them.
    """
    if trace.has_cls:
        return trace.to_grid(trace.attention[:, :, 0])
    return trace.to_grid(torch.einsum("q,lhqk->lhk", trace.readout, trace.attention))


def cls_map(trace: Trace, *, layer: int, head: int | Fusion = "mean") -> Heat:
    """What CLS looks at in one layer: by one head, or by the mean, max or min of its heads.

    Raises: UserError for a layer or head that the model does not have.
    """
    heads = cls_attention(trace)[check_layer(trace, layer) - 1]  # (H, rows, columns)
    return check_fusion(head)(heads) if isinstance(head, str) else heads[check_head(trace, head)]


def rollouts(trace: Trace, *, fusion: Fusion = "mean", discard: float = 0.0, start_layer: int = 1) -> torch.Tensor:
    """Attention rollout (Abnar & Zuidema, 2020, arXiv:2005.00928) up to each layer from the start layer on.

    Args:
        fusion: how heads become one map per layer.
        discard: share of the weakest patch-to-patch links dropped in each layer, 0 ≤ discard < 1.
        start_layer: first layer that takes part, 1 … layers.

    Returns: (layers − start_layer + 1, rows, columns) float32, non-negative.
    Raises: UserError for a value out of range.
    """
    if not 0 <= discard < 1:
        raise UserError(f"The share of links to discard must be at least 0 and less than 1; {discard:g} was asked for.")
    fuse, start = check_fusion(fusion), check_layer(trace, start_layer)
    steps = (keep_strongest(fuse(attention), trace.prefix, discard) for attention in trace.attention[start - 1 :])  # (H, N, N) → (N, N)
    return _multiply_up(trace, steps)


def rollout(trace: Trace, *, fusion: Fusion = "mean", discard: float = 0.0, start_layer: int = 1, layer: int | None = None) -> Heat:
    """Attention rollout up to one layer, the last by default. Arguments and errors as `rollouts`."""
    last = check_layers(trace, start_layer, layer)
    return rollouts(trace, fusion=fusion, discard=discard, start_layer=start_layer)[last - start_layer]


def keep_strongest(fused: torch.Tensor, prefix: int, discard: float) -> torch.Tensor:
    """(tokens, tokens) without the weakest share of its patch-to-patch links; what goes to or comes from a prefix token stays."""
    kept = fused.clone()
    links = kept[prefix:, prefix:].flatten()  # a copy
    links[links.topk(int(discard * links.numel()), largest=False, sorted=False).indices] = 0
    kept[prefix:, prefix:] = links.view(kept[prefix:, prefix:].shape)
    return kept


def relevances(trace: Trace, gradient: torch.Tensor, *, start_layer: int = 1) -> torch.Tensor:
    """Relevance for one class (Chefer, Gur & Wolf, ICCV 2021, arXiv:2103.15679) up to each layer from the start layer on.

    Args:
        gradient: of the class's logit by the attention, (layers, heads, tokens, tokens); `gradients.attention_gradient` gives it.

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
    """Rollout of attention weighted by its gradient: what is positive of the mean over heads of A∘∇A.

    Arguments, result and errors as `relevances`.
    """
    start = check_layer(trace, start_layer)
    layers = zip(trace.attention[start - 1 :], gradient[start - 1 :], strict=True)
    return _multiply_up(trace, ((attention * slope).mean(0).clamp(min=0) for attention, slope in layers))


def gradient_rollout(trace: Trace, gradient: torch.Tensor, *, start_layer: int = 1, layer: int | None = None) -> Heat:
    """Gradient rollout up to one layer, the last by default. Arguments and errors as `relevances`."""
    last = check_layers(trace, start_layer, layer)
    return gradient_rollouts(trace, gradient, start_layer=start_layer)[last - start_layer]


def looks_at(trace: Trace, layer: int, patch: tuple[int, int], head: int | Fusion = "mean") -> Heat:
    """What the patch at (row, column) looks at: its row of the attention. Raises: UserError for what does not exist."""
    return trace.to_grid(layer_attention(trace, layer, head)[_token(trace, patch)])


def looked_at_by(trace: Trace, layer: int, patch: tuple[int, int], head: int | Fusion = "mean") -> Heat:
    """Who looks at the patch at (row, column): its column of the attention. Raises: UserError for what does not exist."""
    return trace.to_grid(layer_attention(trace, layer, head)[:, _token(trace, patch)])


def check_layer(trace: Trace, layer: int) -> int:
    """Raises: UserError for a layer that the model does not have."""
    if not 1 <= layer <= trace.layers:
        raise UserError(f"There is no layer {layer}: choose one from 1 to {trace.layers}.")
    return layer


def check_head(trace: Trace, head: int) -> int:
    """Raises: UserError for a head that the model does not have."""
    if not 0 <= head < trace.heads:
        raise UserError(f"There is no head {head}: choose one from 0 to {trace.heads - 1}, or {', '.join(FUSIONS)}.")
    return head


def check_fusion(fusion: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Raises: UserError for a way of fusing heads that is none of ours."""
    if fusion not in FUSIONS:
        raise UserError(f"Heads can't be fused by “{fusion}”: choose {', '.join(get_args(Fusion))}.")
    return FUSIONS[fusion]


def check_layers(trace: Trace, start_layer: int, layer: int | None) -> int:
    """The last of the layers from one to another. Raises: UserError for layers that the model does not have, or none between the two."""
    start, last = check_layer(trace, start_layer), check_layer(trace, trace.layers if layer is None else layer)
    if last < start:
        raise UserError(f"Layer {last} comes before the start layer {start}: choose an earlier start layer or a later layer.")
    return last


def _multiply_up(trace: Trace, steps) -> torch.Tensor:
    """Each step joined with the identity, its rows normalised, multiplied from the first layer up; the answer's row after each."""
    flow = identity = torch.eye(trace.attention.shape[-1])  # (N, N)
    rows = []
    for step in steps:
        step = step + identity
        flow = step / step.sum(-1, keepdim=True) @ flow
        rows.append(trace.readout @ flow)
    return trace.to_grid(torch.stack(rows))  # (layers, rows, columns)


def _token(trace: Trace, patch: tuple[int, int]) -> int:
    (row, column), (rows, columns) = patch, trace.grid
    if not (0 <= row < rows and 0 <= column < columns):
        raise UserError(
            f"There is no patch in row {row}, column {column}: choose a row from 0 to {rows - 1}, a column from 0 to {columns - 1}."
        )
    return trace.prefix + row * columns + column
