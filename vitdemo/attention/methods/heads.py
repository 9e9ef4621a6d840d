"""What heads, layers and patches are like: numbers that say which of them to look at."""

from dataclasses import dataclass

import torch

from vitdemo.attention.methods.maps import Fusion, check_layer, layer_attention
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat, Trace
from vitdemo.core.models.vit import Vit

FINE = 600  # tokens up to which a page is sent two bytes for each link: twelve layers are 0.9 MB at 197 tokens, and 8.6 MB at 600
OUTLIER = 2.0  # times the median norm; in ViT-Ti/16 the longest ordinary patch is 1.5 of it, the artefacts 25 to 40


@dataclass(frozen=True, eq=False)
class Levels:
    """Attention in few bytes, for a page: `low` + `levels` · `scale` is the attention, to half a scale.

    Attributes:
        levels: (…, keys) uint16, or uint8 where there are more than FINE keys; 0 at each row's smallest, the type's largest at its largest.
        low, scale: (…, 1) float32.
    """

    levels: torch.Tensor
    low: torch.Tensor
    scale: torch.Tensor


def to_levels(rows: torch.Tensor) -> Levels:
    """(…, keys), each row between its own ends: even where all of a row is nearly the same, its differences stay."""
    kind, most = (torch.uint16, 65535) if rows.shape[-1] <= FINE else (torch.uint8, 255)
    low = rows.amin(-1, keepdim=True)
    scale = (rows.amax(-1, keepdim=True) - low) / most
    return Levels(((rows - low) / scale.clamp(min=torch.finfo(scale.dtype).tiny)).round_().clamp_(max=most).to(kind), low, scale)


def head_levels(trace: Trace, head: int | Fusion) -> Levels:
    """One head in every layer, or all heads as one, (layers, tokens, tokens): with it a page answers for any patch by itself."""
    return to_levels(torch.stack([layer_attention(trace, layer, head) for layer in range(1, trace.layers + 1)]))


def entropy(trace: Trace) -> torch.Tensor:
    """(layers, heads): how widely each head looks, in nats: the mean over queries of −Σ a·ln a, 0 for one token, ln(tokens) for all."""
    return torch.stack([torch.special.entr(layer).sum(-1).mean(-1) for layer in trace.attention])


def distance(trace: Trace) -> torch.Tensor:
    """(layers, heads): how far each head looks, in pixels of the model's input (Dosovitskiy et al., 2021, arXiv:2010.11929, figure 7).

    From patches to patches alone, each row renormalised without the prefix tokens; then the mean over patches.
    """
    width, height = trace.patch
    rows, columns = (each.flatten() for each in torch.meshgrid(*map(torch.arange, trace.grid), indexing="ij"))  # (P,)
    between = torch.hypot((rows[:, None] - rows) * float(height), (columns[:, None] - columns) * float(width))  # (P, P)
    far = []
    for layer in trace.attention[:, :, trace.prefix :, trace.prefix :]:  # (H, P, P)
        far.append(((layer * between).sum(-1) / layer.sum(-1)).mean(-1))
    return torch.stack(far)


def logit_lens(trace: Trace, vit: Vit, engine: Engine) -> torch.Tensor:
    """(layers, classes): the logits that the head gives for each layer's tokens (nostalgebraist, 2020). The last row is the model's answer.

    Raises: UserError for a model without classes.
    """
    if not vit.labels:
        raise UserError(f"{vit.name} gives features, not classes, so it decides nothing layer by layer: choose a model with classes.")

    def work() -> torch.Tensor:
        with engine.inference():
            return vit.module.forward_head(vit.module.norm(trace.tokens.to(vit.device))).float().cpu()

    return engine.run(work)


def norms(trace: Trace, layer: int | None = None) -> Heat:
    """The length of each patch's token after a layer, the last by default. Raises: UserError for a layer that the model does not have."""
    return trace.to_grid(trace.tokens[check_layer(trace, trace.layers if layer is None else layer) - 1].norm(dim=-1))


def artefacts(trace: Trace, layer: int | None = None) -> torch.Tensor:
    """(rows, columns) bool: patches whose token is more than OUTLIER times as long as the median patch's.

    Such patches hold what the model computes about the whole photo, not what is seen there (Darcet et al., 2023, arXiv:2309.16588).
    """
    lengths = norms(trace, layer)
    return lengths > OUTLIER * lengths.median()
