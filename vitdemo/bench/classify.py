"""Classify a gallery with this app, with the loop a timm user writes, with transformers' pipeline, and with the bare model.

The bare model gets decoded batches. Each side runs in a process of its own, which reports its peak memory. The sides take turns in every
round, so that the machine is in the same state for all of them.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vitdemo.bench.sides import Side, serve

TINY, BASE = "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "vit_base_patch16_224.augreg2_in21k_ft_in1k"
PHOTOS = {TINY: 200, BASE: 32}
SIDES = ("ours", "timm loop", "transformers pipeline", "model alone")
BATCHES = (1, 32)
SHAPES = {TINY: (192, 3), BASE: (768, 12)}  # width and heads of the pipeline's model


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Print photos per second and peak memory of each side, and return all seconds.

    Args:
        runs: rounds.
        photos: a folder of distinct photos; the shared ImageNet photos by default.

    Raises: UserError where there are no photos.
    """
    from vitdemo.core.config import SHARED
    from vitdemo.core.errors import UserError
    from vitdemo.core.photos.gallery import find_items

    folder = photos or SHARED / "data" / "imagenet_val"
    paths = [str(item.path) for item in find_items([folder])] if folder.is_dir() else []
    if not paths:
        raise UserError(f"There are no photos in {folder}: set VITDEMO_SHARED, or give --photos DIR.")
    results = {}
    for model, count in PHOTOS.items():
        for batch in BATCHES:
            used = paths[:count]
            print(f"{model}{_weights_note(model)}, {len(used)} photos, batch {batch}", flush=True)
            sides = {side: Side(__name__, side, model, batch, str(folder), len(used)) for side in SIDES}
            for _ in range(runs):
                for side in sides.values():
                    side.time()
            measured = {name: side.end() for name, side in sides.items()}
            alone = statistics.median(measured["model alone"]["seconds"])
            for name, figures in measured.items():
                seconds = statistics.median(figures["seconds"])
                print(
                    f"  {name:22}{len(used) / seconds:7.1f} photos/s  {seconds / alone:5.2f} × the model alone  "
                    f"{figures['peak_mb']:6.0f} MB at most  ({min(figures['seconds']):.2f} to {max(figures['seconds']):.2f} s)",
                    flush=True,
                )
            results[f"{model} batch {batch}"] = measured
    return results


def _weights(model: str) -> Path | None:
    from vitdemo.core.config import SHARED

    path = SHARED / "weights" / f"{model}.safetensors"
    return path if path.is_file() else None


def _weights_note(model: str) -> str:
    return "" if _weights(model) else " with random weights"


def _serve(side: str, model: str, batch: int, folder: str, count: int) -> None:
    """Run one side in its own process."""
    from vitdemo.core.photos.gallery import find_items

    paths = [str(item.path) for item in find_items([folder])][:count]
    classify = _SIDES[side](model, batch, paths)

    def answer_all(paths: list[str]) -> None:
        answers = classify(paths)
        assert answers == len(paths), answers

    serve(lambda: answer_all(paths[:2]), lambda: answer_all(paths))


def _ours(model: str, batch: int, paths: list[str]) -> Callable[[list[str]], int]:
    from vitdemo.classify.gallery import classify_gallery
    from vitdemo.core.config import Settings
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.memory import give_back_freed_memory
    from vitdemo.core.photos.gallery import find_items

    give_back_freed_memory()
    vit, settings = _vit(model), Settings(batch_size=batch)
    engine = Engine(vit.device)
    return lambda paths: sum(row.error is None for row in classify_gallery(find_items(paths), vit, engine, settings))


def _timm_loop(model: str, batch: int, paths: list[str]) -> Callable[[list[str]], int]:
    import torch
    from PIL import Image
    from timm.data import create_transform, resolve_model_data_config

    network = _network(model)
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


def _model_alone(model: str, batch: int, paths: list[str]) -> Callable[[list[str]], int]:
    import torch
    from PIL import Image

    vit, network = _vit(model), _network(model)
    batches = [torch.stack([vit.preprocessing(Image.open(path).convert("RGB")) for path in part]) for part in _parts(paths, batch)]

    def classify(paths: list[str]) -> int:
        with torch.inference_mode():
            return min(sum(len(network(images)) for images in batches[: -(-len(paths) // batch)]), len(paths))

    return classify


_SIDES = dict(zip(SIDES, (_ours, _timm_loop, _transformers, _model_alone), strict=True))


def _parts(paths: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


def _network(model: str):
    """Build timm's own model."""
    import timm
    import torch

    torch.manual_seed(0)
    if weights := _weights(model):
        return timm.create_model(model, pretrained=True, pretrained_cfg_overlay={"file": str(weights), "custom_load": False}).eval()
    return timm.create_model(model, pretrained=False).eval()


def _vit(model: str):
    """Build this app's Vit from the same model."""
    import torch

    from vitdemo.core.models.labels import labels_of
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.preprocessing import Preprocessing

    network = _network(model).requires_grad_(False)
    labels = labels_of(network.num_classes, network.pretrained_cfg)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Vit(model, network, labels, Preprocessing.of(network), "the bench", torch.device("cpu"), parameters)


if __name__ == "__main__":
    _serve(*json.loads(sys.argv[1]))
