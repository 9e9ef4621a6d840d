"""FullGrad+ with Libra's gradient: what every layer's tokens and every bias add to one class's logit, patch by patch."""

from dataclasses import dataclass

import torch

from vitdemo.attention.methods.gradients import check_target
from vitdemo.attention.methods.libra import Libra, keep_attention
from vitdemo.attention.methods.maps import check_layer
from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCalls
from vitdemo.core.inference.block_inputs import block_inputs
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Trace
from vitdemo.core.models.precision import unrounded
from vitdemo.core.models.vit import Vit

TOLERANCE = 1e-3  # of the size of what is added up; rounding stays below 1e-5


@dataclass(frozen=True, eq=False)
class FullGrad:
    """A class's logit, taken apart at every layer.

    Attributes:
        tokens: (layers, tokens), the sum over channels of x·∂logit/∂x for the tokens x that enter each layer.
        biases: (layers, tokens), the same of the biases that each layer adds to each token; the last row has those of the final norm and
            the pooling as well.
        constant: what is added after the tokens have been pooled, such as the head's bias.
        logit: the class's logit, from the same pass.
    """

    tokens: torch.Tensor
    biases: torch.Tensor
    constant: float
    logit: float

    @property
    def sums(self) -> torch.Tensor:
        """(layers,): what enters each layer, and everything that is added from there on. Each is the logit, up to rounding."""
        return self.tokens.sum(1) + self.biases.sum(1).flip(0).cumsum(0).flip(0) + self.constant

    def heats(self, trace: Trace, *, start_layer: int = 1) -> torch.Tensor:
        """FullGrad+ (arXiv:2411.16760) up to each layer from the start layer on: the sum of the layers' shares, signed.

        Returns: (layers − start_layer + 1, rows, columns).
        Raises: UserError for a start layer that does not exist.
        """
        return trace.to_grid((self.tokens + self.biases)[check_layer(trace, start_layer) - 1 :].cumsum(0))


def fullgrad(vit: Vit, engine: Engine, tensor: torch.Tensor, target: int) -> FullGrad:
    """Take a class's logit apart: one forward and one backward pass, in fp32 whatever the model's precision.

    Args:
        tensor: one model input, (3, height, width).
        target: the class's index in the logits.

    Raises: UserError for a model without classes, a class it does not have, or a layer whose shares don't add up to the logit.
    """
    check_target(vit, target)
    tokens, biases = torch.zeros(2, vit.adapter.layers, vit.adapter.tokens((tensor.shape[1], tensor.shape[2])))
    constants = [0.0]
    layer = 0

    def enter(number: int, x: torch.Tensor) -> torch.Tensor | None:
        nonlocal layer
        layer, leaf = number, x.detach().requires_grad_() if number == 0 else None
        _when_known(x if leaf is None else leaf, x.detach(), tokens[number], constants)
        return leaf

    def added(constant: torch.Tensor, out: torch.Tensor) -> None:
        _when_known(out, constant, biases[layer], constants)

    def work() -> float:
        exact = unrounded(vit)
        with torch.enable_grad():
            with Libra(added), AttentionCalls(exact, keep_attention), block_inputs(exact, enter):
                logit = exact.module(tensor[None].to(vit.device))[0, target]
            logit.backward()
            return float(logit.detach())

    logit = engine.run(work)
    found = FullGrad(tokens, biases, sum(constants), logit)
    worst, size = float((found.sums - logit).abs().max()), float((tokens.abs().sum(1) + biases.abs().sum()).max())
    if worst > TOLERANCE * max(size, 1.0):
        raise UserError(
            f"{vit.name} has a layer for which Libra has no rule, so its shares miss the logit by {worst:.2g}: choose the method votes."
        )
    return found


def _when_known(out: torch.Tensor, factor: torch.Tensor, shares: torch.Tensor, constants: list[float]) -> None:
    """Once the gradient of `out` is known, add factor·gradient to the tokens' shares, or to the constants where `out` has no tokens."""

    def add(slope: torch.Tensor) -> None:
        product = (factor * slope).detach()
        if product.ndim == 3 and product.shape[1] > 1:
            shares[-product.shape[1] :] += product[0].sum(-1).cpu()  # a pooling may have left out the prefix tokens
        else:
            constants.append(float(product.sum()))

    out.register_hook(add)
