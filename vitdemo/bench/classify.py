"""Classify a gallery with this app, with the loop a timm user writes, with transformers' pipeline, and with the bare model.

The bare model gets decoded batches. Each side runs in a process of its own, which reports its peak memory. The sides take turns in every
round, so that the machine is in the same state for all of them. With several precisions, this app and the bare model run in each of them;
then come single passes beside timm's own model, and how far the answers differ.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vitdemo.bench.models import BASE, TINY, network_of, photos_of, vit_of, weights_note
from vitdemo.bench.rounds import is_installed, ratio
from vitdemo.bench.sides import Side, serve

PHOTOS = {TINY: 200, BASE: 32}
PIPELINE = "transformers pipeline"
SIDES = ("ours", "timm loop", PIPELINE, "model alone")
BY_PRECISION = ("ours", "model alone")
BATCHES = (1, 32)
SHAPES = {TINY: (192, 3), BASE: (768, 12)}  # width and heads of the pipeline's model


def run(*, runs: int = 5, photos: Path | None = None, precisions: Sequence[str] = ("fp32",)) -> dict:
    """Print photos per second and peak memory of each side, and return all seconds.

    Args:
        runs: rounds.
        photos: a folder of distinct photos; the shared ImageNet photos by default.
        precisions: of this app and of the bare model; others than fp32 run beside it, and bring passes and agreement along.

    Raises: UserError where there are no photos.
    """
    items = photos_of(photos, "imagenet_val")
    folder, paths = str(photos or items[0].path.parents[1]), [str(item.path) for item in items]
    lower = [precision for precision in precisions if precision != "fp32"]
    names = [side for side in SIDES if side != PIPELINE or is_installed("transformers")]
    names += [f"{side} {precision}" for precision in lower for side in BY_PRECISION]
    results: dict[str, Any] = {}
    for model, count in PHOTOS.items():
        for batch in BATCHES:
            used = paths[:count]
            print(f"{model}{weights_note(model)}, {len(used)} photos, batch {batch}", flush=True)
            sides = {side: Side(__name__, side, model, batch, folder, len(used)) for side in names}
            for _ in range(runs):
                for side in sides.values():
                    side.time()
            results[f"{model} batch {batch}"] = _report(len(used), {name: side.end() for name, side in sides.items()})
    if lower:
        from vitdemo.bench.agreement import compare_answers
        from vitdemo.bench.passes import compare_passes

        results["passes"] = {model: compare_passes(model, precisions, runs) for model in PHOTOS}
        results["agreement"] = compare_answers(precisions, photos)
    return results


def _report(count: int, measured: dict[str, dict]) -> dict[str, dict]:
    for name, figures in measured.items():
        precision = _parts_of(name)[1]
        alone = measured["model alone" if precision == "fp32" else f"model alone {precision}"]
        seconds = statistics.median(figures["seconds"])
        memory = "" if figures["peak_mb"] is None else f"{figures['peak_mb']:6.0f} MB at most  "
        print(
            f"  {name:22}{count / seconds:7.1f} photos/s  {ratio(figures['seconds'], alone['seconds']):5.2f} × the model alone, "
            f"{ratio(figures['cpu_seconds'], alone['cpu_seconds']):.2f} × its CPU time  "
            f"{memory}({min(figures['seconds']):.2f} to {max(figures['seconds']):.2f} s)",
            flush=True,
        )
    return measured


def _parts_of(name: str) -> tuple[str, str]:
    """A side and its precision."""
    side, _, precision = name.rpartition(" ")
    return (side, precision) if side in BY_PRECISION else (name, "fp32")


def _serve(side: str, model: str, batch: int, folder: str, count: int) -> None:
    """Run one side in its own process."""
    from vitdemo.core.photos.search import find_items

    paths = [str(item.path) for item in find_items([folder])][:count]
    side, precision = _parts_of(side)
    classify = _SIDES[side](model, batch, paths, **({"precision": precision} if side in BY_PRECISION else {}))

    def answer_all(paths: list[str]) -> None:
        answers = classify(paths)
        assert answers == len(paths), answers

    serve(lambda: answer_all(paths[:2]), lambda: answer_all(paths))


def _ours(model: str, batch: int, paths: list[str], precision: str = "fp32") -> Callable[[list[str]], int]:
    from dataclasses import replace

    from vitdemo.classify.gallery import classify_gallery
    from vitdemo.core.config import Settings
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.memory import give_back_freed_memory
    from vitdemo.core.photos.search import find_items

    give_back_freed_memory()
    vit, settings = vit_of(model, precision), replace(Settings.read(), batch_size=batch)
    engine = Engine(vit.device)
    return lambda paths: sum(row.error is None for row in classify_gallery(find_items(paths), vit, engine, settings))


def _timm_loop(model: str, batch: int, paths: list[str]) -> Callable[[list[str]], int]:
    import torch
    from PIL import Image
    from timm.data import create_transform, resolve_model_data_config

    network = network_of(model)
    transform = create_transform(**resolve_model_data_config(network), is_training=False)

    def classify(paths: list[str]) -> int:
        answers = 0
        for part in _parts(paths, batch):
            images = torch.stack([transform(Image.open(path).convert("RGB")) for path in part])
            with torch.inference_mode():
                probabilities, _ = network(images).softmax(-1).topk(5)
            answers += len(probabilities.tolist())
        return answers

    return classify


def _transformers(model: str, batch: int, paths: list[str]) -> Callable[[list[str]], int]:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, pipeline

    width, heads = SHAPES[model]
    shape: dict[str, Any] = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 4 * width, "num_labels": 1000}
    network = ViTForImageClassification(ViTConfig(**shape)).eval()
    classify = pipeline("image-classification", model=network, image_processor=ViTImageProcessor())
    return lambda paths: len(classify(paths, batch_size=batch, top_k=5))


def _model_alone(model: str, batch: int, paths: list[str], precision: str = "fp32") -> Callable[[list[str]], int]:
    import torch
    from PIL import Image

    from vitdemo.core.photos.preprocessing import Preprocessing

    network = network_of(model, precision)
    preprocessing = Preprocessing.of(network)
    batches = [
        torch.stack([preprocessing(Image.open(path).convert("RGB")) for path in part]).to(next(network.parameters()).dtype)
        for part in _parts(paths, batch)
    ]

    def classify(paths: list[str]) -> int:
        with torch.inference_mode():
            return min(sum(len(network(images)) for images in batches[: -(-len(paths) // batch)]), len(paths))

    return classify


_SIDES = dict(zip(SIDES, (_ours, _timm_loop, _transformers, _model_alone), strict=True))


def _parts(paths: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


if __name__ == "__main__":
    _serve(*json.loads(sys.argv[1]))
