"""The ledger of votes: what the classifier read from every head and every MLP, which adds up to the very logit.

The last layer's tokens are the sum of what the embedding and every layer wrote. With the deviation of the norm held as it is, the head
reads each of these parts by itself, so each has a vote for a class (direct logit attribution; arXiv:2310.05916 for heads and places). A
vote says what was read. It does not say what the answer would be without the part: `ablation` measures that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from vitdemo.attention.methods.gradients import check_target
from vitdemo.attention.methods.libra import Libra, keep_attention
from vitdemo.attention.methods.maps import check_layer
from vitdemo.core.inference.attention_calls import AttentionCalls
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat, Trace
from vitdemo.core.models.precision import unrounded
from vitdemo.core.models.vit import Vit


@dataclass(frozen=True, eq=False)
class Ledger:
    """Votes for a class, or for one class rather than another.

    Attributes:
        embedding: of the patches and positions, as they enter the first layer.
        keys: (layers, heads, tokens), of what each head took from each token.
        biases: (layers,), of what is added to every layer's heads, such as the bias of the projection.
        mlps: (layers,), of the rest of what each layer wrote: its MLP.
        constant: of the biases of the final norm, the pooling and the head.
    """

    embedding: float
    keys: torch.Tensor
    biases: torch.Tensor
    mlps: torch.Tensor
    constant: float

    @property
    def heads(self) -> torch.Tensor:
        """(layers, heads): each head's vote."""
        return self.keys.sum(-1)

    @property
    def total(self) -> float:
        """The sum of all votes: the class's logit, or the difference of two logits."""
        return self.embedding + float(self.keys.sum() + self.biases.sum() + self.mlps.sum()) + self.constant

    def top_heads(self, count: int = 3) -> list[tuple[int, int, float]]:
        """The heads with the most votes: (layer from 1, head from 0, vote)."""
        found = self.heads.flatten().topk(min(count, self.heads.numel()))
        places = [divmod(index, self.heads.shape[1]) for index in found.indices.tolist()]
        return [(layer + 1, head, vote) for (layer, head), vote in zip(places, found.values.tolist(), strict=True)]

    def heats(self, trace: Trace, *, start_layer: int = 1) -> torch.Tensor:
        """The patches' votes through all heads, up to each layer from the start layer on, signed.

        Returns: (layers − start_layer + 1, rows, columns).
        Raises: UserError for a start layer that does not exist.
        """
        return trace.to_grid(self.keys.sum(1)[check_layer(trace, start_layer) - 1 :].cumsum(0))

    def patches(self, trace: Trace, *, last: int | None = None) -> Heat:
        """The patches' votes through the heads of the last so many layers, by default of all layers."""
        return self.heats(trace, start_layer=1 if last is None else max(1, trace.layers - last + 1))[-1]


def ledger(vit: Vit, engine: Engine, trace: Trace, target: int, rival: int | None = None) -> Ledger:
    """Count the votes for a class from a trace, without another pass of the model; in fp32 whatever its precision.

    Args:
        target: the class's index in the logits.
        rival: the class whose votes are subtracted: why `target`, not `rival`.

    Raises: UserError for a model without classes, a class it does not have, or heads whose outputs pass a gate.
    """
    check_target(vit, target)
    if rival is not None:
        check_target(vit, rival)

    def work() -> Ledger:
        with torch.inference_mode(False), torch.enable_grad():
            return _count(unrounded(vit), trace, target, rival)

    return engine.run(work)


def as_numbers(votes: Ledger) -> dict[str, torch.Tensor]:
    """The ledger's entries by name, for files: heads (layers, heads), mlps and biases (layers,), embedding, constant, total."""
    single = {name: torch.tensor(getattr(votes, name)) for name in ("embedding", "constant", "total")}
    return {"heads": votes.heads, "mlps": votes.mlps, "biases": votes.biases, **single}


def _count(vit: Vit, trace: Trace, target: int, rival: int | None) -> Ledger:
    last = AttentionCalls(vit, keep_attention, first=vit.adapter.layers)  # attention pooling, if any

    def score(tokens: torch.Tensor) -> torch.Tensor:
        with last:
            logits = vit.module.forward_head(vit.module.norm(tokens))[0]
        return logits[target] if rival is None else logits[target] - logits[rival]

    reading, constant = _read(score, trace.tokens[-1:].to(vit.device))  # (1, N, D)
    rows = reading[0].abs().sum(1).nonzero().flatten().cpu()  # the tokens that count
    reading = reading[:, rows.to(vit.device)]  # (1, n, D)
    written = torch.cat((trace.embedding[None, rows], trace.tokens[:, rows]))  # (L + 1, n, D)
    read = (written * reading.cpu()).sum((1, 2))
    votes, biases = torch.zeros(trace.attention.shape[:3]), torch.zeros(trace.layers)
    for layer, block in enumerate(vit.adapter.blocks):
        attention = trace.attention[layer][:, rows]  # (H, n, N)
        outputs = (attention @ trace.values[layer]).transpose(0, 1).flatten(1)[None].to(vit.device)  # (1, n, H·d)
        slope, added = _read(partial(vit.adapter.heads_output, block), outputs, reading)
        slope = slope[0].cpu().unflatten(1, (trace.heads, -1)).transpose(0, 1)  # (H, n, d)
        votes[layer] = ((attention.transpose(1, 2) @ slope) * trace.values[layer]).sum(-1)
        biases[layer] = added
    return Ledger(float(read[0]), votes, biases, read.diff() - votes.sum((1, 2)) - biases, constant)


def _read(layers: Callable, x: torch.Tensor, weights: torch.Tensor | None = None) -> tuple[torch.Tensor, float]:
    """Take a weighted sum of what layers make of x apart, by Libra's rules: the weight of every number in x, and the share of biases."""
    added: list[tuple[torch.Tensor, torch.Tensor]] = []
    x = x.requires_grad_()
    with Libra(lambda constant, out: added.append((constant, out))):
        result = layers(x)
    slope, *slopes = torch.autograd.grad(result, [x, *(out for _, out in added)], weights)
    return slope, sum(float((constant * slope).sum()) for (constant, _), slope in zip(added, slopes, strict=True))
