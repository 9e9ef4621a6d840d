"""Traces: logits, the attention of every layer and head, and every layer's tokens of a photo, from one forward pass.

The model runs unchanged, fused attention included, so its logits equal the plain model's bit for bit. Each call of the attention kernel is
seen with its queries, keys and mask, and softmax(q·kᵀ/√d + mask) of them is the attention that the kernel uses without storing it.
"""

from dataclasses import dataclass

import torch

from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCall, AttentionCalls
from vitdemo.core.inference.block_inputs import block_inputs
from vitdemo.core.models.predictions import not_finite
from vitdemo.core.models.vit import Vit

Heat = torch.Tensor
"""(rows, columns) float32 on the patch grid."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What one forward pass computed for one photo. All tensors are float32 on the CPU.

    Attributes:
        logits: (classes,); the features of a feature backbone.
        features: (width,), the head's input.
        attention: (layers, heads, tokens, tokens). A row is a query: what that token attends to, with a sum of 1.
        values: (layers, heads, tokens, head_dim), what attention takes from each token.
        embedding: (tokens, width), the first block's input.
        tokens: (layers, tokens, width), each block's output.
        readout: (tokens,), the share of each of the last layer's tokens in the head's input, with a sum of 1. CLS has all of it where the
            model classifies by CLS (a distillation token that also classifies is ignored); otherwise these are the pooling's weights.
        has_cls: whether token 0 is a CLS token.
        prefix: number of tokens before the patches: CLS, distillation, registers.
        grid: (rows, columns) of patches.
        patch: width and height of a patch, in pixels of the model's input.
    """

    logits: torch.Tensor
    features: torch.Tensor
    attention: torch.Tensor
    values: torch.Tensor
    embedding: torch.Tensor
    tokens: torch.Tensor
    readout: torch.Tensor
    has_cls: bool
    prefix: int
    grid: tuple[int, int]
    patch: tuple[int, int]

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.attention.shape[0]

    @property
    def heads(self) -> int:
        """Number of heads per layer."""
        return self.attention.shape[1]

    @property
    def bytes(self) -> int:
        """Memory that the tensors take."""
        tensors = (self.logits, self.features, self.attention, self.values, self.embedding, self.tokens, self.readout)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def to_grid(self, values: torch.Tensor) -> torch.Tensor:
        """Arrange values by token on the patch grid, without the prefix tokens: (…, tokens) → (…, rows, columns)."""
        return values[..., self.prefix :].unflatten(-1, self.grid)


def trace(vit: Vit, tensor: torch.Tensor) -> Trace:
    """Trace one model input, (3, height, width). Call it only on the engine's thread, as `run_trace` does.

    Raises: UserError for an architecture whose attention can't be read, and for logits that are NaN or infinite.
    """
    return trace_batch(vit, tensor[None])[0]


def trace_batch(vit: Vit, batch: torch.Tensor) -> list[Trace]:
    """Trace model inputs, (images, 3, height, width), in one pass. The traces share no memory.

    Raises: as `trace`.
    """
    adapter, size = vit.adapter, (batch.shape[-2], batch.shape[-1])
    tokens = adapter.tokens(size)
    with torch.inference_mode(False):  # plain tensors, so that autograd may use them later
        attention = [torch.empty(adapter.layers, adapter.heads, tokens, tokens, device=vit.device) for _ in batch]
        readout = [adapter.readout(tokens).to(vit.device) for _ in batch]
    scratch = torch.empty_like(attention[0][:1])  # one buffer for all layers, which stays in the processor's cache
    values: list[torch.Tensor] = []
    embedding: list[torch.Tensor] = []

    def enter(number: int, tokens: torch.Tensor) -> None:
        if number == 0:
            embedding.append(tokens)

    def keep(call: AttentionCall) -> torch.Tensor:
        if call.number < adapter.layers:
            values.append(call.value)
        for photo in range(len(batch)):
            if call.number < adapter.layers:
                call.of(photo).map(scores=scratch, out=attention[photo][call.number][None])
            else:  # pooling: (1, heads, latents, pooled)
                readout[photo][-call.key.shape[-2] :] = call.of(photo).map().mean((0, 1, 2))
        return call.run(call.value)

    with torch.inference_mode(), AttentionCalls(vit, keep), block_inputs(vit, enter):
        final, layers = adapter.intermediates(batch.to(vit.device))
        logits = vit.module.forward_head(final)  # (B, classes)
        if not logits.isfinite().all():
            raise UserError(not_finite())
    with torch.inference_mode():  # apart from the calls that are kept: a pooling runs again
        features = vit.module.forward_head(final, pre_logits=True)  # (B, width)
    with torch.inference_mode(False):
        return [
            Trace(
                logits=logits[photo].float().cpu().clone(),
                features=features[photo].float().cpu().clone(),
                attention=attention[photo].cpu(),
                values=torch.stack([value[photo] for value in values]).float().cpu(),
                embedding=embedding[0][photo].float().cpu().clone(),
                tokens=torch.stack([outputs[photo] for outputs in layers]).float().cpu(),
                readout=readout[photo].cpu(),
                has_cls=adapter.has_cls,
                prefix=adapter.prefix,
                grid=adapter.grid(size),
                patch=adapter.patch,
            )
            for photo in range(len(batch))
        ]


def bytes_needed(vit: Vit, size: tuple[int, int]) -> int:
    """Return the bytes of memory that the trace of an input of this (height, width) will take.

    Raises: as `trace`.
    """
    adapter, tokens = vit.adapter, vit.adapter.tokens(size)
    return 4 * tokens * (adapter.layers * (adapter.heads * (tokens + adapter.head_dim) + adapter.width) + adapter.width)


def check_room(vit: Vit, size: tuple[int, int], megabytes: int) -> None:
    """Check that the trace of an input of this (height, width) fits. Raises: UserError where it takes more than `megabytes`; as `trace`."""
    if (needed := bytes_needed(vit, size) / 1e6) > megabytes:
        raise UserError(
            f"The attention of {vit.name} at {size[1]}×{size[0]} pixels takes {needed:,.0f} MB, and the limit is {megabytes:,}: "
            f"choose a smaller image size or model, or start with --trace-cache-mb {int(needed) + 1}."
        )
