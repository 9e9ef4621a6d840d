"""A full trace of ViT-B/16 against timm's plain forward, and against the code a user would write without this project, in turn in one run.

That code: a model built with fused attention off, timm's AttentionExtract for the maps, and a second pass, `forward_intermediates`, for the
tokens. Then what a class's maps cost on one photo: relevance by Libra's gradient beside the plain one, each with its own pass, and the
ledger of votes after the trace. The peak memory of each side is measured in a process that does nothing else. Weights are random, which
doesn't change the timing.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vitdemo.bench.rounds import in_turns, ratio

if TYPE_CHECKING:
    from vitdemo.attention.methods.libra import Gradient

SIDES = ("plain", "trace", "unfused")
WORDS = {"plain": "timm's forward", "trace": "full trace", "unfused": "unfused model, AttentionExtract, forward_intermediates"}
BATCHES = (1, 8)
CLASS_SIDES = {"plain": "relevance, plain gradient", "libra": "relevance, Libra", "votes": "ledger of votes after the trace"}


def run(*, runs: int = 5, photos: Path | None = None, precisions: Sequence[str] = ("fp32",)) -> dict:
    """Time all sides `runs` times after one warm-up; print medians, the rounds' median ratios and peak memory, and return all figures.

    Args:
        runs: timed rounds.
        photos: not used: random inputs take the same time.
        precisions: of this app; others than fp32 are measured against timm's forward and the trace in fp32.
    """
    results: dict[str, dict] = {}
    for batch in BATCHES:
        passes = {side: _side(side, batch) for side in SIDES}
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for number in range(runs + 1):
            for side in SIDES[number % 3 :] + SIDES[: number % 3]:  # rotated, so that no side always comes first
                begin = time.perf_counter()
                passes[side]()
                if number:
                    seconds[side].append(time.perf_counter() - begin)
        del passes
        results[str(batch)] = _report(batch, seconds, {side: _peak_in_a_child(side, batch) for side in SIDES})
    results["of a class"] = _of_a_class(runs)
    for precision in precisions:
        if precision != "fp32":
            results[precision] = {str(batch): _in_precision(precision, batch, runs) for batch in BATCHES}
    return results


def _in_precision(precision: str, batch: int, runs: int) -> dict:
    """Time timm's forward and the trace, each in fp32 and in a lower precision; print the median ratios, and return all figures."""
    from vitdemo.bench.models import BASE, network_of, vit_of

    images = _images(batch)
    exact, lower = vit_of(BASE), vit_of(BASE, precision)
    plain = {"timm's forward, fp32": network_of(BASE), f"timm's forward, {precision} weights": network_of(BASE, precision)}
    sides: dict[str, Callable[[], object]] = {name: partial(_forward, network, images) for name, network in plain.items()}
    sides |= {"trace, fp32": partial(_trace, exact, images), f"trace, {precision}": partial(_trace, lower, images)}
    seconds = in_turns(sides, runs)
    print(f"batch {batch}, {precision}")
    for name, times in seconds.items():
        speed = ratio(seconds["timm's forward, fp32"], times)
        print(f"  {name}: median {statistics.median(times):.3f} s, {speed:.2f} × timm's forward in fp32 in speed", flush=True)
    return {
        "seconds": seconds,
        "speedup": ratio(seconds["trace, fp32"], seconds[f"trace, {precision}"]),
        "over_plain": ratio(seconds[f"trace, {precision}"], seconds[f"timm's forward, {precision} weights"]),
    }


def _images(batch: int):
    import torch

    return torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def _forward(network, images) -> object:
    import torch

    with torch.inference_mode():
        return network(images.to(next(network.parameters()).dtype))


def _trace(vit, images) -> object:
    from vitdemo.core.inference.trace import trace_batch

    return trace_batch(vit, images)


def _of_a_class(runs: int) -> dict:
    """Time the maps of one class in turn, after two rounds of warm-up; print the medians, and return all figures."""
    passes = _class_sides()
    seconds: dict[str, list[float]] = {side: [] for side in CLASS_SIDES}
    for number in range(runs + 2):
        for side in (*CLASS_SIDES,) if number % 2 else (*CLASS_SIDES,)[::-1]:
            begin = time.perf_counter()
            passes[side]()
            if number > 1:
                seconds[side].append(time.perf_counter() - begin)
    for side, words in CLASS_SIDES.items():
        print(f"{words}: median {1000 * statistics.median(seconds[side]):.1f} ms, from {1000 * min(seconds[side]):.1f}")
    ratio = statistics.median(libra / plain for libra, plain in zip(seconds["libra"], seconds["plain"], strict=True))
    print(f"  Libra takes {ratio:.2f} times the plain gradient's time")
    return {"seconds": seconds, "libra_over_plain": ratio, "votes_ms": 1000 * statistics.median(seconds["votes"])}


def _class_sides() -> dict[str, Callable[[], object]]:
    """A function for each of CLASS_SIDES, on one random input of ViT-B/16."""
    import torch

    from vitdemo.attention.methods.gradients import attention_gradient
    from vitdemo.attention.methods.maps import relevances
    from vitdemo.attention.methods.votes import ledger
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.inference.trace_cache import run_trace

    vit, engine = _vit(), Engine(torch.device("cpu"))
    image = torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(0))
    trace = run_trace(vit, engine, image)

    def relevance(gradient: "Gradient") -> object:
        return relevances(trace, attention_gradient(vit, engine, image, 0, gradient))

    return {"plain": partial(relevance, "plain"), "libra": partial(relevance, "libra"), "votes": partial(ledger, vit, engine, trace, 0)}


def _vit(*, unfused: bool = False, dynamic: bool = True):
    """ViT-B/16 with random weights."""
    import timm
    import torch
    from timm.layers import set_fused_attn
    from timm.models.vision_transformer import VisionTransformer

    from vitdemo.core.config import DEFAULT_MODEL
    from vitdemo.core.models.labels import Label
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.preprocessing import Preprocessing

    set_fused_attn(not unfused)
    try:
        network = timm.create_model(DEFAULT_MODEL, pretrained=False, dynamic_img_size=dynamic)
    finally:
        set_fused_attn(True)
    module = cast(VisionTransformer, network.eval().requires_grad_(False))
    labels = tuple(Label(index, f"class {index}") for index in range(module.num_classes))
    return Vit(DEFAULT_MODEL, module, labels, Preprocessing.of(module), "random", torch.device("cpu"), 0)


def _report(batch: int, seconds: dict[str, list[float]], peaks: dict[str, int | None]) -> dict:
    def ratio(one: str, other: str) -> float:  # median over rounds: a slow phase of the machine affects all sides of a round
        return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))

    print(f"batch {batch}")
    for side in SIDES:
        memory = f", peak {peak / 1e6:.0f} MB" if (peak := peaks[side]) else ""
        spread = f"from {min(seconds[side]):.3f} to {max(seconds[side]):.3f}, {len(seconds[side])} runs"
        median = statistics.median(seconds[side])
        print(f"  {WORDS[side]}: median {median:.3f} s ({spread}), {ratio(side, 'plain'):.2f} times the plain{memory}")
    ratios = {"over_plain": ratio("trace", "plain"), "speedup": ratio("unfused", "trace")}
    print(f"  the trace is {ratios['speedup']:.2f} times as fast as the unfused way")
    return {"seconds": seconds, "peak_bytes": peaks, **ratios}


def _side(side: str, batch: int) -> Callable[[], object]:
    """Return a function that runs one side on a batch of random numbers."""
    import torch
    from timm.utils import AttentionExtract

    from vitdemo.core.inference.trace import trace_batch

    images = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    vit = _vit(unfused=side == "unfused", dynamic=side == "trace")
    module = vit.module
    extract = AttentionExtract(module) if side == "unfused" else None  # by its default method, the faster of its two

    def once() -> object:
        with torch.inference_mode():
            if side == "plain":
                return module(images)
            if side == "trace":
                return trace_batch(vit, images)
            assert extract is not None  # the third side
            return extract(images), module.forward_intermediates(images)

    return once


def _peak_in_a_child(side: str, batch: int) -> int | None:
    """Return the peak memory in bytes of a new process that runs one side once; None where the system does not report it."""
    if not sys.platform.startswith("linux"):
        return None
    done = subprocess.run([sys.executable, "-m", __name__, side, str(batch)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _peak() -> int:
    """Return the peak memory of this process in bytes; unlike getrusage's figure, it excludes the parent's memory."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, "the system reports no VmHWM"
    return 1024 * int(found[1])


if __name__ == "__main__":
    outcome = _side(sys.argv[1], int(sys.argv[2]))()  # kept in memory, as a user would keep it
    print(_peak())
