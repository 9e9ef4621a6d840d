"""Quality of each layer: leave-one-out k-NN accuracy (k = 5), by this project and by sklearn's classifier, in one run."""

import time
from pathlib import Path
from typing import Any

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
KNOWN = {1: 0.14, 5: 0.30, 9: 0.70, 12: 0.91, "final": 0.89}  # accuracies of ViT-Tiny on the shared ImageNet photos


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Print each layer's accuracy by both, its silhouette, and the seconds both took, and return them.

    Args:
        runs: not used: the numbers are the same in every run.
        photos: a folder with a sub-folder for each label; the shared ImageNet photos by default.

    Raises: UserError where weights or photos are missing.
    """
    import torch

    from vitdemo.core.config import SHARED, Settings
    from vitdemo.core.errors import UserError
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.models import loader
    from vitdemo.core.photos.search import find_items
    from vitdemo.embeddings.maps import scores
    from vitdemo.embeddings.vectors.gallery import EmbeddingGallery

    folder, weights = photos or SHARED / "data" / "imagenet_val", SHARED / "weights" / f"{TINY}.safetensors"
    for path in (folder, weights):
        if not path.exists():
            raise UserError(f"{path} is not there: set VITDEMO_SHARED, or give --photos a folder with a sub-folder for each label.")
    settings = Settings(model=TINY, checkpoint=weights, vector_cache_mb=0)
    vit = loader.load(TINY, settings, torch.device("cpu"), lambda _: None)
    gallery = EmbeddingGallery(find_items([folder]), vit, Engine(vit.device), settings)
    for _ in gallery.work():
        pass
    rows = gallery.done
    labels = [row.folder for row in rows]
    print(f"{TINY}, {len(rows)} photos in {len(set(labels))} folders: leave-one-out accuracy of 5 nearest neighbours, CLS")
    print(f"  {'layer':>6}{'ours':>8}{'sklearn':>9}{'known':>8}{'silhouette':>12}")
    results: list[dict[str, Any]] = []
    seconds = [0.0, 0.0]
    for layer in gallery.layers:
        vectors = gallery.vectors(layer, gallery.pools[0])
        begin = time.perf_counter()
        score = scores.score_layer(layer, vectors, labels)
        seconds[0] += time.perf_counter() - begin
        begin = time.perf_counter()
        theirs = _sklearn(vectors, labels)
        seconds[1] += time.perf_counter() - begin
        known = "" if photos or layer not in KNOWN else f"{KNOWN[layer]:.2f}"
        print(f"  {layer:>6}{score.accuracy:8.3f}{theirs:9.3f}{known:>8}{score.silhouette:12.3f}", flush=True)
        results.append({"layer": layer, "ours": score.accuracy, "sklearn": theirs, "silhouette": score.silhouette})
    best = scores.best([scores.LayerScore(result["layer"], result["ours"], result["silhouette"]) for result in results])
    assert best is not None  # every layer has an accuracy: it was printed
    print(f"  best: layer {results[best]['layer']}; {seconds[0]:.2f} s by ours with the silhouettes, {seconds[1]:.2f} s by sklearn")
    return {"layers": results, "seconds": {"ours": seconds[0], "sklearn": seconds[1]}}


def _sklearn(vectors, labels: list[str]) -> float:
    from sklearn.model_selection import LeaveOneOut, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    return float(cross_val_score(KNeighborsClassifier(5, metric="cosine", weights="distance"), vectors, labels, cv=LeaveOneOut()).mean())
