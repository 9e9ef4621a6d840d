"""Exported models of ViT-B/16's shape against torch, in turn in one run; and how much each int8 recipe changes real answers.

The weights of ViT-B/16 are random here, which doesn't change the timing. How much a recipe changes answers is measured on the real ViT-Tiny
and the shared ImageNet photos, where they are available: only recipes that agree there (95 % of top-1 classes, 1.5 points of accuracy)
are candidates for the fastest recipe.
"""

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
BATCHES = (1, 8)


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Time all sides `runs` times after one warm-up, print the medians, and return all figures.

    Args:
        runs: timed rounds.
        photos: photos for the accuracy of the recipes, in folders named by synset; the shared ImageNet photos by default.
    """
    from vitdemo.export import quantize

    recipes = quantize.recipes(vnni=quantize.has_vnni(), calibrated=False)
    agreements = dict(_agreements(recipes, photos))
    with tempfile.TemporaryDirectory() as folder:
        sides = dict(_sides(recipes, Path(folder)))
        seconds = {batch: _time(sides, batch, runs) for batch in BATCHES}
    return {"agreements": agreements, "seconds": {str(batch): times for batch, times in seconds.items()}} | _report(seconds, agreements)


def _agreements(recipes, photos: Path | None) -> Iterator[tuple[str, dict]]:
    """Yield each recipe's agreement with the real ViT-Tiny; nothing where ViT-Tiny's weights or the photos are missing."""
    import torch

    from vitdemo.core.config import SHARED, Settings
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.models import loader
    from vitdemo.core.photos.search import find_items
    from vitdemo.export import formats, parity, quantize, runtimes
    from vitdemo.export.plan import Plan

    checkpoint, photos = SHARED / "weights" / f"{TINY}.safetensors", photos or SHARED / "data" / "imagenet_val"
    if not checkpoint.is_file() or not photos.is_dir():
        print("real weights or photos are not there (VITDEMO_SHARED), so nothing is said about the recipes' answers")
        return
    settings = Settings(model=TINY, checkpoint=checkpoint)
    vit = loader.load(TINY, settings, torch.device("cpu"), lambda _: None)
    *_, sample = parity.read_sample(find_items([photos]), str(photos), vit, Engine(vit.device), settings)
    assert isinstance(sample, parity.ParitySample)  # it comes last, as the agreement does
    with tempfile.TemporaryDirectory() as folder:
        base = formats.write(vit, Plan("onnx"), Path(folder))
        print(f"real ViT-Tiny on {len(sample.crops)} photos, fp32 {base.stat().st_size / 1e6:.1f} MB", flush=True)
        for recipe in recipes:
            path = Path(folder) / "q.onnx"
            quantize.quantize(base, path, recipe)
            *_, result = parity.compare(sample, runtimes.open_onnx(path), "logits", baked=False, labelled=True)
            assert isinstance(result, parity.Agreement)
            accuracy = "" if result.accuracy is None else f", top-1 {result.accuracy:.3f} instead of {result.accuracy_before:.3f}"
            print(f"  {recipe.name:36} agrees on {result.agreement:.3f}{accuracy}, {path.stat().st_size / 1e6:.1f} MB", flush=True)
            yield recipe.name, {"agreement": result.agreement, "accuracy": result.accuracy, "agrees": result.agrees}


def _sides(recipes, folder: Path) -> Iterator[tuple[str, Callable]]:
    """Yield every side's name, and the function that runs it on a batch."""
    import timm
    import torch
    from timm.models.vision_transformer import VisionTransformer

    from vitdemo.core.config import DEFAULT_MODEL
    from vitdemo.core.models.labels import labels_of
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.preprocessing import Preprocessing
    from vitdemo.export import formats, quantize, runtimes
    from vitdemo.export.plan import Plan

    torch.manual_seed(0)
    module = cast(VisionTransformer, timm.create_model(DEFAULT_MODEL, pretrained=False).eval().requires_grad_(False))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    vit = Vit(DEFAULT_MODEL, module, labels_of(1000, {}), Preprocessing.of(module), "random", torch.device("cpu"), parameters)
    yield "torch eager", _torch(module)
    compiled = torch.compile(module, dynamic=False)
    try:
        for batch in BATCHES:
            _torch(compiled)(_numbers(batch))
        yield "torch.compile", _torch(compiled)
    except Exception as error:  # torch.compile needs a C++ compiler
        print(f"torch.compile is left out: {str(error).strip().splitlines()[0][:120]}")
    base = formats.write(vit, Plan("onnx"), folder)
    yield "ONNX Runtime fp32", runtimes.open_onnx(base)
    if importlib.util.find_spec("openvino"):
        import openvino

        yield "OpenVINO fp32", openvino.Core().compile_model(base, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    else:
        print("OpenVINO is left out: it is not installed")
    for number, recipe in enumerate(recipes):
        path = folder / f"{number}.onnx"
        quantize.quantize(base, path, recipe)
        yield f"int8 {recipe.name}", runtimes.open_onnx(path)


def _torch(network) -> Callable:
    import torch

    def run(batch) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(batch))

    return run


def _numbers(batch: int):
    import numpy as np

    return np.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=np.float32)


def _time(sides: dict[str, Callable], batch: int, runs: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    images, order = _numbers(batch), list(sides)
    for number in range(runs + 1):
        for name in order[number % len(order) :] + order[: number % len(order)]:  # rotated, so that no side always comes first
            begin = time.perf_counter()
            sides[name](images)
            if number:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def _report(seconds: dict[int, dict[str, list[float]]], agreements: dict[str, dict]) -> dict:
    medians = {batch: {name: statistics.median(times) for name, times in sides.items()} for batch, sides in seconds.items()}
    for batch, sides in medians.items():
        print(f"ViT-B/16 shapes, random weights, batch {batch}")
        for name, median in sides.items():
            spread = f"from {min(seconds[batch][name]):.3f} to {max(seconds[batch][name]):.3f}"
            speed = sides["torch eager"] / median
            print(f"  {name:41} (random weights) median {median:.3f} s ({spread}), {speed:.2f} times as fast as torch eager")
    allowed = [name for name, agreement in agreements.items() if agreement["agrees"]]
    if not allowed:
        return {"medians": medians, "recipe": None}
    best = min(allowed, key=lambda name: medians[1][f"int8 {name}"])
    speedup = medians[1]["torch eager"] / medians[1][f"int8 {best}"]
    print(f"the fastest recipe that the real ViT-Tiny's answers allow: {best}, {speedup:.2f} times as fast as torch eager at batch 1")
    return {"medians": medians, "recipe": best, "speedup": speedup}
