"""Artefacts: patches that the model uses as a store for the whole photo (Darcet et al., 2023, arXiv:2309.16588).

Their tokens are many times as long as the others, and they draw much attention, whatever they show. In ViT-Ti/16 they are the four corners
of nearly every photo. Maps of attention are easier to read without them; numbers keep them and say where they are.
"""

from dataclasses import dataclass

import torch

from vitdemo.attention.methods.maps import Fusion, check_layer, cls_attention, layer_attention, token_of
from vitdemo.core.figures import percent
from vitdemo.core.inference.trace import Heat, Trace

OUTLIER = 2.0  # times the median length; in ViT-Ti/16 the longest ordinary patch has 1.6 times the median, artefacts 25 to 45


@dataclass(frozen=True, eq=False)
class Artefacts:
    """Where a photo's artefacts are.

    Attributes:
        layer: the layer after which they stand out most.
        mask: (rows, columns) bool.
    """

    layer: int
    mask: torch.Tensor

    @property
    def places(self) -> list[tuple[int, int]]:
        """(row, column) of each, in reading order."""
        return [(row, column) for row, column in self.mask.nonzero().tolist()]

    @property
    def at_corners(self) -> bool:
        """Whether all of them lie in corners of the grid."""
        rows, columns = self.mask.shape
        return all(row in (0, rows - 1) and column in (0, columns - 1) for row, column in self.places)


def find_artefacts(trace: Trace) -> Artefacts:
    """Find the patches that are more than OUTLIER times as long as the median patch.

    Models write artefacts at different depths, and some take them back before the last layer, so the layer is the one after which the
    longest patch is the longest beside the median.
    """
    lengths = trace.to_grid(trace.tokens.norm(dim=-1)).flatten(1)  # (L, P)
    ratios = lengths / lengths.median(1, keepdim=True).values.clamp(min=torch.finfo(lengths.dtype).tiny)
    layer = int(ratios.amax(1).argmax())
    return Artefacts(layer + 1, (ratios[layer] > OUTLIER).unflatten(0, trace.grid))


def cls_shares(trace: Trace, artefacts: Artefacts) -> torch.Tensor:
    """(layers,): the share of CLS's attention, as `maps.cls_attention` has it, that goes to artefacts; the mean of the heads, 0 … 1."""
    return (cls_attention(trace).mean(1) * artefacts.mask).sum((1, 2))


def patch_share(trace: Trace, artefacts: Artefacts, layer: int, patch: tuple[int, int], head: int | Fusion = "mean") -> float:
    """The share of a patch's attention in one layer that goes to artefacts, 0 … 1.

    Raises: UserError for a layer, head or patch that does not exist.
    """
    row = layer_attention(trace, check_layer(trace, layer), head)[token_of(trace, patch)]
    return float((trace.to_grid(row) * artefacts.mask).sum() / row.sum())


def without_artefacts(heat: Heat, artefacts: Artefacts) -> Heat:
    """The map, (…, rows, columns), with the mean of the nearest ordinary patches in place of each artefact."""
    ordinary = ~artefacts.mask
    if bool(ordinary.all()) or not bool(ordinary.any()):
        return heat
    result, rows, columns = heat.clone(), *(index.float() for index in ordinary.nonzero(as_tuple=True))
    for row, column in artefacts.places:
        distance = (rows - row) ** 2 + (columns - column) ** 2
        nearest = distance == distance.min()
        result[..., row, column] = heat[..., rows[nearest].long(), columns[nearest].long()].mean(-1)
    return result


def artefact_note(artefacts: Artefacts, share: float, whose: str) -> str:
    """A sentence for people; empty where there are none.

    Args:
        share: of whose attention goes to them, 0 … 1.
        whose: such as “CLS's” or “this patch's”.
    """
    if not (count := len(artefacts.places)):
        return ""
    kind = "corner patch" if artefacts.at_corners else "patch"
    words = f"1 {kind} holds" if count == 1 else f"{count} {kind}es hold"
    return f"{words} {percent(share, 0)} of {whose} attention: a known artefact."
