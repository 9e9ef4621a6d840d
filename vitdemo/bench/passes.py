"""One pass of the model by precision: this app's engine beside timm's own model, and the share of the machine's matrix product."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial

from vitdemo.bench.models import gigaflops, network_of, vit_of, weights_note
from vitdemo.bench.rounds import in_turns, ratio

BATCHES = (1, 8)
SIDE = 2048  # of the square matrices


def compare_passes(model: str, precisions: Sequence[str], runs: int) -> dict:
    """Print a table of passes at batch 1 and 8, and return all seconds and ratios.

    Args:
        precisions: of this app's model; timm's own model runs with weights of the same precisions beside it, and in fp32 always.
    """
    import torch

    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.inference.precision import slow_on

    ours = {precision: vit_of(model, precision) for precision in precisions}
    theirs = {precision: network_of(model, precision) for precision in dict.fromkeys(("fp32", *precisions))}
    engine, work = Engine(torch.device("cpu")), gigaflops(vit_of(model))
    for sentence in dict.fromkeys(filter(None, (slow_on(engine.device, precision) for precision in precisions))):
        print(f"{sentence} So no product is measured beside it.")
    results = {}
    for batch in BATCHES:
        images = torch.randn(batch, 3, *next(iter(ours.values())).preprocessing.size, generator=torch.Generator().manual_seed(0))
        sides: dict[str, Callable[[], object]] = {f"timm's {name} weights": _plain(network, images) for name, network in theirs.items()}
        sides |= {f"ours, {name}": partial(engine.logits, vit, images) for name, vit in ours.items()}
        sides |= {f"product, {name}": product(name, SIDE) for name in precisions if not slow_on(engine.device, name)}
        seconds = in_turns(sides, runs)
        results[str(batch)] = {"seconds": seconds, **_report(model, batch, seconds, precisions, work * batch)}
    return results


def product(precision: str, side: int, device: str = "cpu") -> Callable[[], object]:
    """Return a function that multiplies two square matrices of this side in a precision."""
    import torch

    from vitdemo.core.models.precision import DTYPES

    left, right = torch.randn(2, side, side, generator=torch.Generator().manual_seed(0)).to(device, DTYPES[precision])
    return lambda: left @ right


def product_gigaflops(side: int) -> float:
    """Billions of floating-point operations of one such product."""
    return 2 * side**3 / 1e9


def _plain(network, images) -> Callable[[], object]:
    import torch

    def run() -> object:
        with torch.inference_mode():
            return network(images.to(next(network.parameters()).dtype))

    return run


def _report(model: str, batch: int, seconds: dict[str, list[float]], precisions: Sequence[str], work: float) -> dict:
    print(f"one pass of {model}{weights_note(model)}, batch {batch}", flush=True)
    eager, found = seconds["timm's fp32 weights"], {}
    for name, times in seconds.items():
        if not name.startswith("product"):
            spread = f"{1000 * min(times) / batch:.1f} to {1000 * max(times) / batch:.1f}"
            speed = ratio(eager, times)
            print(f"  {name:22}{1000 * statistics.median(times) / batch:8.1f} ms a photo ({spread}), {speed:.2f} × timm's fp32 in speed")
    for name in precisions:
        own = seconds[f"ours, {name}"]
        found[name] = {"speedup": ratio(eager, own), "over_timm": ratio(own, seconds[f"timm's {name} weights"])}
        line = f"  {name}: {found[name]['over_timm']:.2f} × the time of timm's weights in {name}"
        if products := seconds.get(f"product, {name}"):
            rate = product_gigaflops(SIDE) / statistics.median(products)
            found[name] |= {"share": ratio(products, own) * work / product_gigaflops(SIDE), "product_gigaflops": rate}
            line += f", {found[name]['share']:.0%} of this machine's {SIDE}³ product ({rate:.0f} GF/s)"
        print(line, flush=True)
    return found
