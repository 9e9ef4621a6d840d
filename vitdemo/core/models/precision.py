"""Precisions: a loaded model's weights and activations are fp32, bf16 or fp16.

As in mixed precision everywhere, some things stay in fp32 in a lower precision: the head, and so the logits; rotary positions; the sums in
norms and softmax, which torch's kernels take in fp32 whatever they are given; and on a CPU the weights of layer norms, which cost nothing
there. Other devices' kernels want a norm's weights in the type of its input.
"""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vitdemo.core.models.adapter import Adapter
from vitdemo.core.models.vit import Vit

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ROTARY = "timm.layers.pos_embed_sincos"
HEADS = ("head", "head_dist")


def set_precision(module: Any, precision: str, device: torch.device) -> Any:
    """Cast a model's weights, one after the other, and move it to the device. Whatever its precision, it takes inputs in fp32.

    In a precision below fp32 no weight is left where it was, such as in a file that is mapped to memory.

    Returns: the module itself.
    """
    if precision == "fp32":
        return module.float().to(device)
    heads = [head for name in HEADS if (head := getattr(module, name, None)) is not None]
    exact = {part for part in module.modules() if type(part).__module__ == ROTARY or _stays(part, device)}
    exact |= {part for head in heads for part in head.modules()}
    for part in module.modules():
        _cast_own(part, torch.float32 if part in exact else DTYPES[precision])
    for part in (Adapter(module).embed, *heads):
        if not part._forward_pre_hooks:
            part.register_forward_pre_hook(_to_own_type)
    return module.to(device)


def unrounded(vit: Vit) -> Vit:
    """The model with the same weights, computed in fp32: a copy, or the model itself where it is in fp32 already."""
    if vit.precision == "fp32":
        return vit
    return replace(vit, module=copy.deepcopy(vit.module).float(), precision="fp32")


def bytes_each(precision: str) -> int:
    """Bytes that a weight takes."""
    return DTYPES[precision].itemsize


def _stays(part: nn.Module, device: torch.device) -> bool:
    return device.type == "cpu" and isinstance(part, nn.LayerNorm | _BatchNorm)


def _cast_own(part: nn.Module, dtype: torch.dtype) -> None:
    for name, weight in part._parameters.items():
        if weight is not None:
            part._parameters[name] = nn.Parameter(weight.to(dtype, copy=True), weight.requires_grad)
    for name, buffer in part._buffers.items():
        if buffer is not None and buffer.is_floating_point():
            part._buffers[name] = buffer.to(dtype, copy=True)


def _to_own_type(part: nn.Module, arguments: tuple) -> tuple:
    dtype = next((weight.dtype for weight in part.parameters()), torch.float32)  # a head without weights gives features
    return tuple(x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in arguments)
