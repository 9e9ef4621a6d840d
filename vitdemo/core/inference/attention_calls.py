"""The one seam at which attention is read, differentiated and switched off: each block's call of `scaled_dot_product_attention`.

A torch function mode sees the calls of its own thread with their final queries, keys and mask, whatever class made them: after norms and
rotary positions, and with the relative position bias as the mask. Nothing is attached to the model, so threads may share it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from vitdemo.core.errors import UserError
from vitdemo.core.models.vit import Vit


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One call of the kernel.

    Attributes:
        number: the block's number, from 0; the number of blocks for attention pooling, whose queries are not the tokens.
        query, key, value: (images, heads, tokens, head_dim).
        mask: (1, heads, queries, keys), the position bias that is added to the scores; or None.
        options: the call's other arguments.
    """

    number: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    options: dict[str, Any]

    def run(self, value: torch.Tensor) -> torch.Tensor:
        """What the kernel answers, with these values in place of the call's own."""
        return scaled_dot_product_attention(self.query, self.key, value, self.mask, **self.options)

    def map(self, *, scores=None, out=None) -> torch.Tensor:
        """softmax(q·kᵀ·scale + mask) in fp32, step by step as in timm's unfused layers: (images, heads, queries, keys), part of the graph.

        Args:
            scores, out: buffers for the scores and for the result, outside of a graph.
        """
        scale = self.options.get("scale") or self.query.shape[-1] ** -0.5
        scores = torch.matmul(self.query.float() * scale, self.key.float().transpose(-2, -1), out=scores)
        return torch.softmax(scores if self.mask is None else scores + self.mask, -1, out=out)

    def detached(self) -> "AttentionCall":
        """The same call, through whose queries and keys no gradient flows."""
        return replace(self, query=self.query.detach(), key=self.key.detach())

    def of(self, photo: int) -> "AttentionCall":
        """The part of the call for one photo of the batch: a batch of one."""
        query, key, value = (part[photo : photo + 1] for part in (self.query, self.key, self.value))
        return replace(self, query=query, key=key, value=value)


class AttentionCalls(TorchFunctionMode):
    """While the context is open, `answer` gives the result of each attention call of this thread.

    Args:
        first: the number of the first call; the number of blocks where only the pooling is run.

    Raises: UserError, at the call, for a model that makes more than one call per block.
    """

    def __init__(self, vit: Vit, answer: Callable[[AttentionCall], torch.Tensor], *, first: int = 0):
        super().__init__()
        self.vit, self.answer, self.number = vit, answer, first - 1

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        self.number += 1
        if self.number >= self.vit.adapter.layers + (self.vit.adapter.pool is not None):
            raise UserError(
                f"The attention of {self.vit.name} is not one map per layer and head, so it can't be shown: choose another model."
            )
        return self._answer(*args, **(kwargs or {}))

    def _answer(self, query, key, value, attn_mask=None, **options):
        return self.answer(AttentionCall(self.number, query, key, value, attn_mask, options))


def step_by_step(maps: list[torch.Tensor], *, constant: bool = False) -> Callable[[AttentionCall], torch.Tensor]:
    """An answer that computes attention without the kernel, and appends each call's map (`AttentionCall.map`), part of the graph.

    Args:
        constant: whether the gradient ends at the maps, and does not flow on into queries and keys.
    """

    def answer(call: AttentionCall) -> torch.Tensor:
        maps.append(call.detached().map().requires_grad_() if constant else call.map())
        return maps[-1].to(call.value.dtype) @ call.value

    return answer
