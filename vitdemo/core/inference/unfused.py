"""Unfused copies of a model: they share the weights and compute attention step by step, so that it can be read and differentiated."""

import copy
from itertools import chain
from typing import cast

import torch
from timm.layers import Attention
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer

from vitdemo.core.errors import UserError
from vitdemo.core.inference.module_hooks import hooked

AttentionLayer = Attention | ParallelScalingBlock


def copy_modules(module: VisionTransformer) -> VisionTransformer:
    """Copy the modules, and share the weights."""
    with hooked(()):  # waits until other threads have removed their hooks, so that none are copied
        return copy.deepcopy(module, {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())})


def unfused(module: VisionTransformer) -> VisionTransformer:
    """Copy the modules, share the weights, and switch off timm's fused attention. Logits differ by up to 2e-6."""
    copied = copy_modules(module)
    for submodule in copied.modules():
        if hasattr(submodule, "fused_attn"):
            submodule.fused_attn = False  # type: ignore[assignment]  # torch knows only tensors and modules as attributes
    return copied


def attention_layers(module: VisionTransformer, name: str) -> list[AttentionLayer]:
    """Return the attention module of each block. In an unfused model its `attn_drop` outputs the map, (images, heads, tokens, tokens).

    Args:
        name: the model's name, for the error message.

    Raises: UserError for an architecture whose attention is not one map per layer and head.
    """
    layers = [block if type(block) is ParallelScalingBlock else getattr(block, "attn", None) for block in module.blocks]
    if not all(type(layer) in (Attention, ParallelScalingBlock) for layer in layers):
        raise UserError(f"The attention of {name} is not one map per layer and head, so it can't be shown: choose another model.")
    return cast(list[AttentionLayer], layers)


def maps_of(twin: VisionTransformer, batch: torch.Tensor, name: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Run an unfused model. Returns its logits (images, classes), and each layer's map (images, heads, tokens, tokens), part of the graph.

    Args:
        twin: what `unfused` returned.
        name: the model's name, for the error message.

    Raises: UserError as `attention_layers`.
    """
    maps: list[torch.Tensor] = []
    with hooked([(layer.attn_drop, maps.append) for layer in attention_layers(twin, name)]):
        return twin(batch), maps
