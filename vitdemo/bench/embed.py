"""Vectors of all layers against the bare model and hand-written loops; maps against plain UMAP; layer switches and a second start.

ViT-B/16's weights are random, which doesn't change the timing.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vitdemo.bench.models import network_of, vit_of
from vitdemo.bench.rounds import is_installed
from vitdemo.bench.sides import Side, serve

MODEL = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
PHOTOS, BATCH = 200, 16
PASSES = ("ours", "hooks", "transformers", "model alone")
MAPS = ("our map", "umap.UMAP")
POINTS, WIDTH, GROUPS = 2000, 768, 40  # of the random vectors that are mapped
SWITCHED = 500  # photos in the measurement of layer switches
WORDS = {
    "ours": "ours, decoding and all",
    "hooks": "loop with a hook per layer",
    "transformers": "transformers, hidden states",
    "model alone": "model alone, photos decoded",
    "our map": "ours",
    "umap.UMAP": 'umap.UMAP(metric="cosine")',
}


def run(*, runs: int = 5, photos: Path | None = None, precisions: Sequence[str] = ("fp32",)) -> dict:
    """Print seconds and peak memory of each side, and return all figures.

    Args:
        runs: rounds.
        photos: a folder of distinct photos of original size; the shared Caltech photos by default.
        precisions: of this app and of the bare model; others than fp32 are measured after it, against the bare model in fp32.

    Raises: UserError where there are no photos.
    """
    from vitdemo.core.config import SHARED
    from vitdemo.core.errors import UserError
    from vitdemo.core.photos.search import find_items

    folder = photos or SHARED / "data" / "caltech20" / "train"
    count = len(find_items([folder])[:PHOTOS]) if folder.is_dir() else 0
    if not count:
        raise UserError(f"There are no photos in {folder}: set VITDEMO_SHARED, or give --photos DIR.")
    print(f"all layers' vectors of {count} photos, {MODEL}, batch {BATCH}", flush=True)
    passes = tuple(side for side in PASSES if side != "transformers" or is_installed(side))
    results = {"vectors": _turns(passes, runs, "model alone", str(folder), count)}
    for precision in precisions:
        if precision != "fp32":
            print(f"the same in {precision}", flush=True)
            sides = ("ours", "model alone", f"ours {precision}", f"model alone {precision}")
            results[f"vectors {precision}"] = _turns(sides, runs, "model alone", str(folder), count)
    print(f"map of {POINTS} × {WIDTH}, same seed, both warm", flush=True)
    results["map"] = _turns(MAPS, runs, "our map", POINTS)
    with tempfile.TemporaryDirectory() as cache:
        results |= _resident(runs, Path(cache))
    return results


def _turns(names: tuple[str, ...], runs: int, reference: str, *task) -> dict:
    sides = {name: Side(__name__, name, *task) for name in names}
    for number in range(runs):
        for name in names[number % len(names) :] + names[: number % len(names)]:  # rotated, so that no side always comes first
            sides[name].time()
    results = {name: {"found": side.found} | side.end() for name, side in sides.items()}
    for name, figures in results.items():
        ratios = [seconds / other for seconds, other in zip(figures["seconds"], results[reference]["seconds"], strict=True)]  # per round
        seconds = statistics.median(figures["seconds"])
        memory = "" if figures["peak_mb"] is None else f"{figures['peak_mb']:6.0f} MB at most  "
        trust = "" if figures["found"] is None else f"  trustworthiness {figures['found']:.4f}"
        print(
            f"  {_words(name):28}{seconds:7.2f} s  {statistics.median(ratios):5.2f} × {WORDS[reference]}  {memory}"
            f"({min(figures['seconds']):.2f} to {max(figures['seconds']):.2f} s){trust}",
            flush=True,
        )
    return results


def _words(name: str) -> str:
    side, precision = _parts_of(name)
    return WORDS[side] if precision == "fp32" else f"{WORDS[side]}, {precision}"


def _parts_of(name: str) -> tuple[str, str]:
    """A side and its precision."""
    side, _, precision = name.rpartition(" ")
    return (side, precision) if side in ("ours", "model alone") else (name, "fp32")


def _resident(runs: int, cache: Path) -> dict:
    """Time the start, the first map and a layer switch of the child process that the app uses, from its second start on."""
    from vitdemo.core.config import Settings
    from vitdemo.embeddings.maps.atlas import Atlas, MapOptions
    from vitdemo.embeddings.maps.mapper import Mapper

    first, other = _points(SWITCHED), _points(SWITCHED, blur=2.0)
    times: dict[str, list[float]] = {"ready": [], "first map": [], "layer switch": []}
    mapper = Mapper(Settings(cache_dir=cache))
    for number in range(runs + 1):
        begin = time.perf_counter()
        mapper.warm()
        mapper.wait()
        ready = time.perf_counter()
        for step in mapper.map(first, MapOptions()):
            atlas = step
        drawn = time.perf_counter()
        assert isinstance(atlas, Atlas)  # it comes last
        for _ in mapper.map(other, MapOptions(), atlas.positions):
            pass
        switched = time.perf_counter()
        mapper.close()
        if number:  # the first start compiles, so it is not counted
            for name, took in zip(times, (ready - begin, drawn - ready, switched - drawn), strict=True):
                times[name].append(took)
        else:
            print(f"the very first start compiles for {ready - begin:.1f} s; later ones, {SWITCHED} × {WIDTH}:", flush=True)
        mapper = Mapper(Settings(cache_dir=cache))
    for name, seconds in times.items():
        print(f"  {name:28}{statistics.median(seconds):7.2f} s  ({min(seconds):.2f} to {max(seconds):.2f} s)", flush=True)
    return times


def _points(count: int, blur: float = 1.0):
    """Return random vectors in groups, (count, WIDTH) float32."""
    import numpy as np

    random = np.random.default_rng(0)
    centres = random.normal(size=(GROUPS, WIDTH))
    return (centres[random.integers(0, GROUPS, count)] + blur * random.normal(size=(count, WIDTH))).astype(np.float32)


def _serve(side: str, *task) -> None:
    """Run one side in its own process."""
    work = _MAPS[side](*task) if side in MAPS else _pass(side, *task)
    serve(lambda: work(True), lambda: work(False))


def _pass(side: str, folder: str, count: int) -> Callable[[bool], None]:
    from vitdemo.core.photos.search import find_items

    paths = [str(item.path) for item in find_items([folder])[:count]]
    side, precision = _parts_of(side)
    embed = _PASSES[side](paths, **({} if precision == "fp32" else {"precision": precision}))

    def work(warm: bool) -> None:
        wanted = paths[: BATCH if warm else None]
        assert embed(wanted) == len(wanted)

    return work


def _ours(paths: list[str], precision: str = "fp32") -> Callable[[list[str]], int]:
    from vitdemo.core.config import Settings
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.memory import give_back_freed_memory
    from vitdemo.core.photos.search import find_items
    from vitdemo.embeddings.vectors.gallery import EmbeddingGallery

    give_back_freed_memory()
    vit, settings = vit_of(MODEL, precision), Settings(batch_size=BATCH, vector_cache_mb=0)
    engine = Engine(vit.device)

    def embed(paths: list[str]) -> int:
        gallery = EmbeddingGallery(find_items(paths), vit, engine, settings)
        for _ in gallery.work():
            pass
        return len(gallery.vectors("final"))

    return embed


def _hooks(paths: list[str]) -> Callable[[list[str]], int]:
    import torch
    from PIL import Image
    from timm.data import create_transform, resolve_model_data_config

    network = network_of(MODEL)
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    layers: list[torch.Tensor] = []
    for block in network.blocks:
        block.register_forward_hook(lambda module, inputs, output: layers.append(output))

    def embed(paths: list[str]) -> int:
        vectors = []
        for part in _parts(paths):
            images = torch.stack([transform(Image.open(path).convert("RGB")) for path in part])
            with torch.inference_mode():
                network(images)
            vectors.append(_pooled(layers))
            layers.clear()
        return len(torch.cat(vectors))

    return embed


def _transformers(paths: list[str]) -> Callable[[list[str]], int]:
    import torch
    from PIL import Image
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    network, processor = ViTModel(ViTConfig(), add_pooling_layer=False).eval(), ViTImageProcessor()

    def embed(paths: list[str]) -> int:
        vectors = []
        for part in _parts(paths):
            images = processor([Image.open(path).convert("RGB") for path in part], return_tensors="pt")
            with torch.inference_mode():
                vectors.append(_pooled(network(**images, output_hidden_states=True).hidden_states[1:]))
        return len(torch.cat(vectors))

    return embed


def _pooled(layers):
    """Return CLS token and mean of patches for every layer's tokens: (images, layers, 2, width)."""
    import torch

    return torch.stack([torch.stack([tokens[:, 0], tokens[:, 1:].mean(1)], 1) for tokens in layers], 1)


def _model_alone(paths: list[str], precision: str = "fp32") -> Callable[[list[str]], int]:
    import torch
    from PIL import Image

    from vitdemo.core.photos.preprocessing import Preprocessing

    network = network_of(MODEL, precision)
    preprocessing = Preprocessing.of(network)
    batches = [
        torch.stack([preprocessing(Image.open(path).convert("RGB")) for path in part]).to(next(network.parameters()).dtype)
        for part in _parts(paths)
    ]

    def embed(paths: list[str]) -> int:
        with torch.inference_mode():
            return sum(len(network(images)) for images in batches[: -(-len(paths) // BATCH)])

    return embed


_PASSES = dict(zip(PASSES, (_ours, _hooks, _transformers, _model_alone), strict=True))


def _our_map(count: int) -> Callable[[bool], float | None]:
    from vitdemo.embeddings.maps.atlas import MapOptions, draw

    points = _points(count)
    return lambda warm: draw(points[: 100 if warm else None], MapOptions()).trust


def _plain_map(count: int) -> Callable[[bool], float | None]:
    import warnings

    from umap import UMAP

    from vitdemo.embeddings.maps.scores import trustworthiness

    warnings.simplefilter("ignore")
    points = _points(count)

    def work(warm: bool) -> float | None:
        used = points[: 100 if warm else None]
        return trustworthiness(used, UMAP(metric="cosine", random_state=0).fit_transform(used))

    return work


_MAPS = dict(zip(MAPS, (_our_map, _plain_map), strict=True))


def _parts(paths: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(paths), BATCH):
        yield paths[start : start + BATCH]


if __name__ == "__main__":
    _serve(*json.loads(sys.argv[1]))
