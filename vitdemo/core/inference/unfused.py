"""A twin of a model, around the same weights, that computes its attention step by step, so that it can be read and differentiated."""

import copy
from itertools import chain

import torch
from timm.layers import Attention
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer

from vitdemo.core.errors import UserError
from vitdemo.core.inference.module_hooks import hooked


def unfused(module: VisionTransformer) -> VisionTransformer:
    """A copy of the modules around the same weights, with timm's fused attention switched off. Logits differ by up to 2e-6."""
    with hooked(()):  # nobody's hooks are copied
        twin = copy.deepcopy(module, {id(each): each for each in chain(module.parameters(), module.buffers())})
    for each in twin.modules():
        if hasattr(each, "fused_attn"):
            each.fused_attn = False
    return twin


def attention_layers(module: VisionTransformer, name: str) -> list[torch.nn.Module]:
    """The module that computes each block's attention; its `attn_drop` is shown the map, (images, heads, tokens, tokens), when unfused.

    Args:
        name: what to call the model.

    Raises: UserError for an architecture whose attention is not one map per layer and head.
    """
    layers = [block if type(block) is ParallelScalingBlock else getattr(block, "attn", None) for block in module.blocks]
    if not all(type(each) in (Attention, ParallelScalingBlock) for each in layers):
        raise UserError(f"The attention of {name} is not one map per layer and head, so it can't be shown: choose another model.")
    return layers


def maps_of(twin: VisionTransformer, batch: torch.Tensor, name: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """One pass of an unfused twin: its logits (images, classes), and each layer's map (images, heads, tokens, tokens), part of the graph.

    Raises: UserError as `attention_layers`.
    """
    maps: list[torch.Tensor] = []
    with hooked([(layer.attn_drop, maps.append) for layer in attention_layers(twin, name)]):
        return twin(batch), maps
