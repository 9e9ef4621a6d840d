"""What `auto` stands for in training: mixed precision where the device gains by it. On a CPU a measurement tells."""

import copy
import time
import weakref
from statistics import median

import torch
import torch.distributed as group

from vitdemo.core.inference.precision import has_fast_bf16
from vitdemo.core.models.vit import Vit

MIN_SPEEDUP = 1.1  # of a forward and a backward pass; below it, fp32
PHOTOS, ROUNDS = 2, 3
_speedups: "weakref.WeakKeyDictionary[Vit, float]" = weakref.WeakKeyDictionary()


def training_precision(vit: Vit, asked: str) -> str:
    """Resolve `auto`: bf16 autocast where the device has it and is faster with it, fp16 on a GPU without; else fp32.

    On a CPU with bf16, forward and backward passes of the model are timed in both, once; processes that train together follow rank 0.
    """
    if asked != "auto":
        return asked
    fast = has_fast_bf16(vit.device)
    if vit.device.type == "cuda":
        return "bf16" if fast else "fp16"
    if fast is False or vit.device.type != "cpu":
        return "fp32"
    if vit not in _speedups:
        _speedups[vit] = _rank_0s(autocast_speedup(vit))
    return "bf16" if _speedups[vit] >= MIN_SPEEDUP else "fp32"


def autocast_speedup(vit: Vit) -> float:
    """How many times as fast a forward and a backward pass are in bf16 as in fp32: the median of a few rounds.

    The head takes no part: it may not be there yet.
    """
    module = copy.deepcopy(vit.module).requires_grad_(True)
    images = torch.zeros(PHOTOS, 3, *vit.preprocessing.size)

    def seconds(lower: bool) -> float:
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            outputs = module.forward_features(images)
        outputs.float().sum().backward()
        return time.perf_counter() - begin

    rounds = [seconds(False) / seconds(True) for _ in range(ROUNDS + 1)]
    return median(rounds[1:])  # what a first pass sets up doesn't count


def _rank_0s(speedup: float) -> float:
    if not group.is_initialized():
        return speedup
    told = [speedup]
    group.broadcast_object_list(told, 0)
    return told[0]
