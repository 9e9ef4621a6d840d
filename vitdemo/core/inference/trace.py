"""Traces: logits, the attention of every layer and head, and every layer's tokens of a photo, from one forward pass.

The model runs unchanged, fused attention included, so its logits equal the plain model's bit for bit. Hooks read the queries and keys, and
softmax(q·kᵀ/√d) of them is the attention that the fused kernel uses without storing it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import Attention, AttentionPoolLatent

from vitdemo.core.errors import UserError
from vitdemo.core.inference.module_hooks import Hook, hooked
from vitdemo.core.inference.unfused import AttentionLayer, attention_layers, maps_of, unfused
from vitdemo.core.models.vit import Vit

Heat = torch.Tensor
"""(rows, columns) float32 on the patch grid."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What one forward pass computed for one photo. All tensors are float32 on the CPU.

    Attributes:
        logits: (classes,); the features of a feature backbone.
        attention: (layers, heads, tokens, tokens). A row is a query: what that token attends to, with a sum of 1.
        tokens: (layers, tokens, width), each block's output.
        readout: (tokens,), the share of each of the last layer's tokens in the head's input, with a sum of 1. CLS has all of it where the
            model classifies by CLS (a distillation token that also classifies is ignored); otherwise these are the pooling's weights.
        has_cls: whether token 0 is a CLS token.
        prefix: number of tokens before the patches: CLS, distillation, registers.
        grid: (rows, columns) of patches.
        patch: width and height of a patch, in pixels of the model's input.
    """

    logits: torch.Tensor
    attention: torch.Tensor
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
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.logits, self.attention, self.tokens, self.readout))

    def to_grid(self, values: torch.Tensor) -> torch.Tensor:
        """Arrange values by token on the patch grid, without the prefix tokens: (…, tokens) → (…, rows, columns)."""
        return values[..., self.prefix :].unflatten(-1, self.grid)


def trace(vit: Vit, tensor: torch.Tensor) -> Trace:
    """Trace one model input, (3, height, width). Call it only on the engine's thread, as `run_trace` does.

    Raises: UserError for an architecture whose attention can't be read.
    """
    return trace_batch(vit, tensor[None])[0]


def trace_batch(vit: Vit, batch: torch.Tensor) -> list[Trace]:
    """Trace model inputs, (images, 3, height, width), in one pass. The traces share no memory.

    Raises: as `trace`.
    """
    module = vit.module
    layers = attention_layers(module, vit.name)
    height, width = batch.shape[-2:]
    recorders = [_Recorder(vit, layers, (height, width)) for _ in batch]
    with torch.inference_mode(), hooked(_hooks(module, layers, recorders)):
        logits = module(batch.to(vit.device))  # (B, classes)
    if type(layers[0]) is not Attention:  # other layers shape their queries differently, or have no q_norm
        with torch.inference_mode(), torch.autocast(vit.device.type, enabled=False):
            _, maps = maps_of(unfused(module), batch.to(vit.device), vit.name)
        for number, layer in enumerate(maps):
            for recorder, attention in zip(recorders, layer, strict=True):
                recorder.attention[number] = attention
    return [recorder.finish(row) for recorder, row in zip(recorders, logits, strict=True)]


def bytes_needed(vit: Vit, size: tuple[int, int]) -> int:
    """Return the bytes of memory that the trace of an input of this (height, width) will take.

    Raises: as `trace`.
    """
    heads = attention_layers(vit.module, vit.name)[0].num_heads
    rows, columns = vit.module.patch_embed.dynamic_feat_size(size)
    tokens = rows * columns + vit.module.num_prefix_tokens
    return 4 * len(vit.module.blocks) * tokens * (heads * tokens + vit.module.embed_dim)


def check_room(vit: Vit, size: tuple[int, int], megabytes: int) -> None:
    """Check that the trace of an input of this (height, width) fits. Raises: UserError where it takes more than `megabytes`; as `trace`."""
    if (needed := bytes_needed(vit, size) / 1e6) > megabytes:
        raise UserError(
            f"The attention of {vit.name} at {size[1]}×{size[0]} pixels takes {needed:,.0f} MB, and the limit is {megabytes:,}: "
            f"choose a smaller image size or model, or start with --trace-cache-mb {int(needed) + 1}."
        )


class _Recorder:
    """Collects what the hooks record for one photo of a batch."""

    def __init__(self, vit: Vit, layers: list[AttentionLayer], size: tuple[int, int]):
        module = vit.module
        self.vit, self.prefix, self.grid = vit, module.num_prefix_tokens, tuple(module.patch_embed.dynamic_feat_size(size))
        tokens = self.grid[0] * self.grid[1] + self.prefix
        where: dict[str, Any] = {"device": vit.device, "dtype": torch.float32}
        with torch.inference_mode(False):  # plain tensors, so that autograd may use them later
            self.attention = torch.empty(len(layers), layers[0].num_heads, tokens, tokens, **where)
            self.tokens = torch.empty(len(layers), tokens, module.embed_dim, **where)
            self.readout = _fixed_readout(module, tokens).to(vit.device)

    def finish(self, logits: torch.Tensor) -> Trace:
        """Return the trace, given the photo's logits (classes,)."""
        with torch.inference_mode(False):
            plain = torch.empty(logits.shape).copy_(logits)
        return Trace(
            logits=plain,
            attention=self.attention.cpu(),
            tokens=self.tokens.cpu(),
            readout=self.readout.cpu(),
            has_cls=self.vit.module.cls_token is not None,
            prefix=self.prefix,
            grid=self.grid,
            patch=self.vit.patch,
        )


def _hooks(module, layers: list[AttentionLayer], recorders: list[_Recorder]) -> list[tuple[torch.nn.Module, Hook]]:
    hooks, scratch = [], torch.empty_like(recorders[0].attention[0])  # one buffer for all layers, which stays in the processor's cache
    for number, (block, layer) in enumerate(zip(module.blocks, layers, strict=True)):
        hooks.append((block, _keep_tokens(number, recorders)))
        if type(layer) is Attention:
            hooks += _keep_attention(layer, [recorder.attention[number] for recorder in recorders], scratch)
    if module.attn_pool is not None:
        tokens = recorders[0].tokens.shape[1]
        pooled = tokens if module.pool_include_prefix else tokens - module.num_prefix_tokens
        heads = [
            torch.empty(module.attn_pool.num_heads, module.attn_pool.latent_len, pooled, device=recorder.readout.device)
            for recorder in recorders
        ]
        hooks += _keep_attention(module.attn_pool, heads, torch.empty_like(heads[0]))
        hooks.append((module.attn_pool, lambda _: _keep_readout(heads, recorders)))
    return hooks


def _keep_tokens(number: int, recorders: list[_Recorder]) -> Hook:
    def keep(output: torch.Tensor) -> None:  # (B, N, width)
        for recorder, tokens in zip(recorders, output, strict=True):
            recorder.tokens[number] = tokens

    return keep


def _keep_attention(
    layer: AttentionLayer | AttentionPoolLatent, maps: list[torch.Tensor], scratch: torch.Tensor
) -> list[tuple[torch.nn.Module, Hook]]:
    """Return hooks on a layer's queries, then its keys, that fill one (heads, queries, keys) map for each photo."""
    queries: list[torch.Tensor] = []

    def keep_queries(output: torch.Tensor) -> None:  # (B, heads, N, head_dim)
        queries.append(output)

    def keep_maps(output: torch.Tensor) -> None:
        with torch.autocast(output.device.type, enabled=False):
            for query, key, attention in zip(queries.pop(), output, maps, strict=True):
                torch.matmul(query.float() * layer.scale, key.float().transpose(-2, -1), out=scratch)
                torch.softmax(scratch, -1, out=attention)

    return [(layer.q_norm, keep_queries), (layer.k_norm, keep_maps)]


def _keep_readout(heads: list[torch.Tensor], recorders: list[_Recorder]) -> None:
    for attention, recorder in zip(heads, recorders, strict=True):
        recorder.readout[-attention.shape[-1] :] = attention.mean((0, 1))  # (heads, latents, pooled) → (pooled,)


def _fixed_readout(module, tokens: int) -> torch.Tensor:
    """Return the readout, (tokens,): CLS alone where the model classifies by CLS, else the average; zeros where a hook fills them in."""
    readout = torch.zeros(tokens)
    if module.attn_pool is None and module.global_pool in ("token", "") and module.cls_token is not None:
        readout[0] = 1
    elif module.attn_pool is None:
        first = 0 if module.pool_include_prefix else module.num_prefix_tokens
        readout[first:] = 1 / (tokens - first)
    return readout
