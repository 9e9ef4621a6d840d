"""The best way for each job on this machine: precisions, lanes, batch sizes, and other engines, with ViT-B/16's shapes.

A gallery's batches go through the model one after the other with all threads, or as many at a time as there are cores with one thread each.
torch.compile, ONNX Runtime and OpenVINO stand beside torch only here: the app runs torch.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from vitdemo.bench.models import BASE, network_of, vit_of, weights_note
from vitdemo.bench.rounds import in_turns, is_installed, left_out, ratio

BATCHES = (1, 2, 4, 8, 16, 32)
OTHERS_BATCHES = (1, 8)  # of the other engines, which prepare themselves for each batch size
EAGER = "torch fp32"
Way = Callable[[Any], object]


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Print the milliseconds a photo of every way at every batch size, and the fastest; return all seconds.

    Args:
        runs: timed rounds.
        photos: not used: random inputs take the same time.
    """
    import torch

    cores = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        ways, others = _torch_ways(cores), dict(_other_engines(Path(folder)))
        results = {}
        for batch in BATCHES:
            batches = [torch.randn(batch, 3, 224, 224) for _ in range(cores)]
            used = ways | (others if batch in OTHERS_BATCHES else {})
            seconds = in_turns({name: partial(way, batches) for name, way in used.items()}, runs)
            results[str(batch)] = seconds
            _report(batch, cores, seconds)
    return results


def _report(batch: int, cores: int, seconds: dict[str, list[float]]) -> None:
    print(f"{BASE}{weights_note(BASE)}, {cores} batches of {batch}", flush=True)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        speed = ratio(seconds[EAGER], seconds[name])
        print(f"  {name:34}{1000 * median / batch / cores:8.1f} ms a photo, {speed:.2f} × {EAGER} in speed", flush=True)
    print(f"  fastest: {min(medians, key=lambda name: medians[name])}", flush=True)


def _torch_ways(cores: int) -> dict[str, Way]:
    """Eager torch: fp32, bf16 weights and bf16 autocast, each with all threads, then in lanes of one thread."""
    import torch

    from vitdemo.core.inference.precision import slow_on

    networks = {EAGER: (network_of(BASE), False)}
    if sentence := slow_on(torch.device("cpu"), "bf16"):
        print(f"{sentence} So bf16 is left out.", flush=True)
    else:
        networks |= {"torch bf16 weights": (network_of(BASE, "bf16"), False), "torch bf16 autocast": (networks[EAGER][0], True)}
    ways: dict[str, Way] = {}
    for name, (network, autocast) in networks.items():
        one = _pass(network, autocast)
        ways[name] = _after_each_other(one)
        if cores > 1:
            ways[f"{name}, {cores} lanes of 1 thread"] = _in_lanes(one, cores)
    return ways


def _pass(network, autocast: bool = False) -> Way:
    import torch

    dtype = next(network.parameters()).dtype

    def run(images) -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return network(images.to(dtype))

    return run


def _after_each_other(one: Way) -> Way:
    return lambda batches: [one(images) for images in batches]


def _on_numpy(engine: Callable, images) -> object:
    return engine(images.numpy())


def _in_lanes(one: Way, lanes: int) -> Way:
    import torch

    pool = ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(1,))
    return lambda batches: list(pool.map(one, batches))


def _other_engines(folder: Path) -> Iterator[tuple[str, Way]]:
    """Yield torch.compile, ONNX Runtime and OpenVINO, where they are there; print a sentence for each one that is not."""
    import torch

    from vitdemo.core.inference.precision import slow_on
    from vitdemo.export import formats, runtimes
    from vitdemo.export.plan import Plan

    fast_bf16 = not slow_on(torch.device("cpu"), "bf16")
    for precision in ("fp32", "bf16") if fast_bf16 else ("fp32",):
        try:
            compiled = _pass(torch.compile(network_of(BASE, precision), dynamic=False))
            compiled(torch.zeros(1, 3, 224, 224))
            yield f"torch.compile {precision}", _after_each_other(compiled)
        except Exception as error:  # it needs a C++ compiler
            print(f"torch.compile is left out: {left_out(error)}", flush=True)
    try:
        base = formats.write(vit_of(BASE), Plan("onnx"), folder)
        session = runtimes.open_onnx(base)
    except Exception as error:
        print(f"ONNX Runtime and OpenVINO are left out: {left_out(error)}", flush=True)
        return
    yield "ONNX Runtime fp32", _after_each_other(partial(_on_numpy, session))
    if not is_installed("OpenVINO"):
        return
    import openvino

    for precision, hint in (("fp32", "f32"), ("bf16", "bf16")) if fast_bf16 else (("fp32", "f32"),):
        model = openvino.Core().compile_model(base, "CPU", {"INFERENCE_PRECISION_HINT": hint})
        yield f"OpenVINO {precision}", _after_each_other(partial(_on_numpy, model))
