"""What a GPU gives, in a few minutes with ViT-B/16's shapes: bulk embedding, the share of its matrix product, a trace, a training step.

Weights and inputs are random, which doesn't change the timing; inputs are on the GPU already.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vitdemo.bench.models import BASE, gigaflops, network_of, vit_of, weights_note
from vitdemo.bench.passes import product, product_gigaflops
from vitdemo.bench.rounds import in_turns, left_out, ratio

BATCH, STEP_BATCH = 256, 64
SIDE = 8192  # of the square matrices: a GPU multiplies smaller ones in less time than it takes to start the product
NO_GPU = "There is no CUDA GPU that torch sees on this machine, so nothing was measured: run this bench where there is one."


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Print the GPU's figures, and return them; a sentence and nothing where there is no GPU.

    Args:
        runs: timed rounds.
        photos: not used: random inputs take the same time.
    """
    import torch

    if not torch.cuda.is_available():
        print(NO_GPU)
        return {}
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {BASE}{weights_note(BASE)}", flush=True)
    return measure("cuda", runs, BATCH, STEP_BATCH)


def measure(device: str, runs: int, batch: int, step_batch: int) -> dict:
    """Print and return all figures of a device.

    Args:
        batch: photos of a pass of bulk embedding.
        step_batch: photos of a training step.
    """
    begin = time.monotonic()
    results = {
        "embed": _embed(device, runs, batch),
        "trace": _trace(device, runs),
        "step": {precision: _step(device, precision, runs, step_batch) for precision in ("fp32", "tf32", "bf16")},
    }
    print(f"{time.monotonic() - begin:.0f} s in all")
    return results


def _embed(device: str, runs: int, batch: int) -> dict:
    """The vectors of all layers of a batch, in fp32, TF32, bf16 and compiled bf16, and the share of the bf16 product."""
    import torch

    from vitdemo.embeddings.vectors.extract import all_layers

    exact, lower = vit_of(BASE, "fp32", device), vit_of(BASE, "bf16", device)
    images = torch.randn(batch, 3, *exact.preprocessing.size, device=device)
    networks = {"fp32": all_layers(exact), "tf32": all_layers(exact), "bf16": all_layers(lower)}
    sides = {name: _synchronous(network, images, device, tf32=name == "tf32") for name, network in networks.items()}
    try:
        compiled = _synchronous(torch.compile(networks["bf16"], dynamic=False), images, device)
        compiled()
        sides["bf16, compiled"] = compiled
    except Exception as error:  # it needs a C++ compiler, or Triton
        print(f"torch.compile is left out: {left_out(error)}", flush=True)
    multiply = product("bf16", SIDE, device)
    sides["product"] = _synchronous(lambda _: multiply(), images, device)
    seconds = in_turns(sides, runs)
    rate = product_gigaflops(SIDE) / statistics.median(seconds["product"])
    share = ratio(seconds["product"], seconds["bf16"]) * gigaflops(exact) * batch / product_gigaflops(SIDE)
    for name, times in seconds.items():
        if name != "product":
            print(
                f"  embed {name:16}{batch / statistics.median(times):10.1f} photos/s, {ratio(seconds['fp32'], times):.2f} × fp32",
                flush=True,
            )
    print(f"  bf16 reaches {share:.0%} of the {SIDE}³ bf16 product measured beside it ({rate / 1000:.1f} TF/s)", flush=True)
    return {"seconds": seconds, "photos": batch, "share": share, "product_gigaflops": rate}


def _trace(device: str, runs: int) -> dict:
    """One photo's trace beside the plain pass, by precision."""
    import torch

    from vitdemo.core.inference.trace import trace_batch

    sides: dict[str, Callable[[], object]] = {}
    for precision in ("fp32", "bf16"):
        vit = vit_of(BASE, precision, device)
        image = torch.randn(1, 3, *vit.preprocessing.size, device=device)
        sides[f"pass {precision}"] = _synchronous(vit.module, image, device)
        sides[f"trace {precision}"] = _synchronous(lambda image, vit=vit: trace_batch(vit, image), image, device)
    seconds = in_turns(sides, runs)
    for name, times in seconds.items():
        over = ratio(times, seconds[f"pass {name.split()[1]}"])
        print(f"  {name:22}{1000 * statistics.median(times):8.2f} ms for a photo, {over:.2f} × the pass", flush=True)
    return seconds


def _step(device: str, precision: str, runs: int, batch: int) -> dict:
    """A training step of the whole model: its seconds and the memory it takes at most, in megabytes; None where it isn't reported."""
    import torch

    from vitdemo.core.training.trainer import Trainer, TrainerConfig

    network = network_of(BASE).to(device)
    size = network.pretrained_cfg["input_size"]
    config = TrainerConfig(steps=10_000, lr=1e-5, precision="bf16" if precision == "bf16" else "fp32")
    trainer = Trainer(network, config, torch.nn.CrossEntropyLoss())
    images, targets = torch.randn(batch, *size, device=device), torch.arange(batch, device=device) % network.num_classes
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def step() -> None:
        with _tf32(precision == "tf32"):
            trainer.take(images, targets)
            _wait(device)

    seconds = in_turns({precision: step}, runs)[precision]
    peak = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else None
    memory = "" if peak is None else f", {peak:.0f} MB at most"
    print(f"  step {precision:17}{1000 * statistics.median(seconds):8.1f} ms for {batch} photos{memory}", flush=True)
    return {"seconds": seconds, "photos": batch, "peak_mb": peak}


def _synchronous(network: Callable, images, device: str, tf32: bool = False) -> Callable[[], object]:
    """A pass that ends when the device has ended it."""
    import torch

    def run() -> object:
        with torch.inference_mode(), _tf32(tf32):
            outputs = network(images)
            _wait(device)
            return outputs

    return run


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def _tf32(on: bool) -> Iterator[None]:
    """Let matrix products of fp32 numbers use TF32, or not, inside this context."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if on else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
