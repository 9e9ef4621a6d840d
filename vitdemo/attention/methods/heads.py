"""Statistics of heads, layers and patches, which help to choose what to look at."""

from dataclasses import dataclass

import torch

from vitdemo.attention.methods.maps import Fusion, check_layer, layer_attention
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat, Trace
from vitdemo.core.models.precision import DTYPES
from vitdemo.core.models.vit import Vit

FINE = 600  # tokens up to which a link takes two bytes: twelve layers are 0.9 MB at 197 tokens, and 8.6 MB at 600


@dataclass(frozen=True, eq=False)
class Levels:
    """Quantised attention for the page, in few bytes: attention = `low` + `levels` · `scale`, with an error of at most `scale` / 2.

    Attributes:
        levels: (…, keys) uint16, or uint8 for more than FINE keys. In each row the smallest value is 0, the largest the type's maximum.
        low, scale: (…, 1) float32.
    """

    levels: torch.Tensor
    low: torch.Tensor
    scale: torch.Tensor


def to_levels(rows: torch.Tensor) -> Levels:
    """Quantise attention rows, (…, keys). Each row has a scale of its own, so that small differences within a row survive."""
    kind, most = (torch.uint16, 65535) if rows.shape[-1] <= FINE else (torch.uint8, 255)
    low = rows.amin(-1, keepdim=True)
    scale = (rows.amax(-1, keepdim=True) - low) / most
    return Levels(((rows - low) / scale.clamp(min=torch.finfo(scale.dtype).tiny)).round_().clamp_(max=most).to(kind), low, scale)


def head_levels(trace: Trace, head: int | Fusion) -> Levels:
    """One head, or all heads fused, in every layer, (layers, tokens, tokens): enough for the page to draw the map of any patch."""
    return to_levels(torch.stack([layer_attention(trace, layer, head) for layer in range(1, trace.layers + 1)]))


def entropy(trace: Trace) -> torch.Tensor:
    """Attention entropy, (layers, heads), in nats: the mean over queries of −Σ a·ln a, from 0 (one token) to ln(tokens) (all equally)."""
    return torch.stack([torch.special.entr(layer).sum(-1).mean(-1) for layer in trace.attention])


def distance(trace: Trace) -> torch.Tensor:
    """Attention distance, (layers, heads), in pixels of the model's input (Dosovitskiy et al., 2021, arXiv:2010.11929, figure 7).

    Only patch-to-patch attention counts: each row is renormalised without the prefix tokens, then averaged over the patches.
    """
    width, height = trace.patch
    rows, columns = (index.flatten() for index in torch.meshgrid(*map(torch.arange, trace.grid), indexing="ij"))  # (P,)
    between = torch.hypot((rows[:, None] - rows) * float(height), (columns[:, None] - columns) * float(width))  # (P, P)
    distances = []
    for layer in trace.attention[:, :, trace.prefix :, trace.prefix :]:  # (H, P, P)
        distances.append(((layer * between).sum(-1) / layer.sum(-1)).mean(-1))
    return torch.stack(distances)


def logit_lens(trace: Trace, vit: Vit, engine: Engine) -> torch.Tensor:
    """Logit lens (nostalgebraist, 2020), (layers, classes): the classifier head applied to each layer's tokens. The last row is the answer.

    Raises: UserError for a model without classes.
    """
    if not vit.labels:
        raise UserError(f"{vit.name} gives features, not classes, so it decides nothing layer by layer: choose a model with classes.")

    def work() -> torch.Tensor:
        with torch.inference_mode():
            return vit.module.forward_head(vit.module.norm(trace.tokens.to(vit.device, DTYPES[vit.precision]))).float().cpu()

    return engine.run(work)


@dataclass(frozen=True)
class LensRow:
    """What the classifier would answer after one layer.

    Attributes:
        layer: from 1.
        classes: (index in the logits, probability) of the leading classes, the most probable first.
    """

    layer: int
    classes: tuple[tuple[int, float], ...]


def lens_table(trace: Trace, vit: Vit, engine: Engine, *, top: int = 5) -> tuple[LensRow, ...]:
    """The leading classes after each layer, by the logit lens of the tokens that the head reads. The last row is the answer.

    Raises: UserError for a model without classes.
    """
    probabilities = logit_lens(trace, vit, engine).softmax(-1)
    values, indices = probabilities.topk(min(top, probabilities.shape[-1]))
    rows = zip(indices.tolist(), values.tolist(), strict=True)
    return tuple(LensRow(layer, tuple(zip(*row, strict=True))) for layer, row in enumerate(rows, 1))


def norms(trace: Trace, layer: int | None = None) -> Heat:
    """The norm of each patch token after a layer, by default the last. Raises: UserError for a layer that the model does not have."""
    return trace.to_grid(trace.tokens[check_layer(trace, trace.layers if layer is None else layer) - 1].norm(dim=-1))
