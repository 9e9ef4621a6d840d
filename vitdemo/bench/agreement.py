"""How the answers of a lower precision differ from fp32's: first class, probability, vectors and maps."""

from collections.abc import Sequence
from pathlib import Path

from vitdemo.bench.models import TINY, photos_of, vit_of, weights_note

METHODS = ("cls", "rollout", "relevance", "votes")
MAPPED = 24  # photos whose maps are compared, evenly spaced
BATCH = 8


def compare_answers(precisions: Sequence[str], photos: Path | None = None, model: str = TINY) -> dict:
    """Print a table for each folder of photos, and return its figures: precision by precision against fp32.

    Args:
        photos: a folder; by default the shared ImageNet photos, then the pets.
    """
    lower = [precision for precision in precisions if precision != "fp32"]
    results: dict[str, dict] = {}
    if not lower:
        return results
    exact, others = vit_of(model), {precision: vit_of(model, precision) for precision in lower}
    for title, items in _folders(photos):
        inputs = _inputs(exact, items)
        print(f"agreement with fp32, {model}{weights_note(model)}, {len(inputs)} photos of {title}", flush=True)
        results[title] = {precision: _compare(exact, vit, inputs) for precision, vit in others.items()}
        for precision, found in results[title].items():
            maps = ", ".join(f"{name} {found['maps'][name]:.4f}" for name in METHODS)
            print(
                f"  {precision}: same first class {found['same']:.1%}; its probability differs by {found['probability']:.4f} on average, "
                f"logits by {found['logits']:.3f} at most\n    vectors' cosine {found['cosine']:.5f} on average, "
                f"{found['lowest_cosine']:.5f} at least; rank correlation of maps ({found['mapped']} photos): {maps}",
                flush=True,
            )
    return results


def _folders(photos: Path | None) -> list[tuple[str, list]]:
    if photos:
        return [(str(photos), photos_of(photos))]
    return [("imagenet_val", photos_of(None, "imagenet_val")), ("pets", photos_of(None, "pets", "images"))]


def _inputs(vit, items: list):
    """(photos, 3, height, width) of a gallery's photos."""
    from vitdemo.core.config import Settings
    from vitdemo.core.photos.photo import decode
    from vitdemo.core.photos.preprocessing import pixels_of

    settings = Settings()
    photos = (decode(item.read(settings), item.shown, settings) for item in items)
    return vit.preprocessing.batch([pixels_of(vit.preprocessing.crop(photo.image)) for photo in photos])


def _compare(exact, lower, inputs) -> dict:
    from vitdemo.core.inference.engine import Engine

    engine = Engine(exact.device)
    mapped = inputs[:: max(1, len(inputs) // MAPPED)][:MAPPED]
    found = agreement_of(*(outputs_of(vit, engine, inputs) for vit in (exact, lower)))
    return {**found, "mapped": len(mapped), "maps": _maps(exact, lower, engine, mapped)}


def outputs_of(vit, engine, inputs) -> tuple:
    """Return logits (photos, classes) and the head's inputs (photos, width)."""
    import torch

    parts = [engine.logits_and_features(vit, batch)[:2] for batch in inputs.split(BATCH)]
    return tuple(torch.cat(outputs) for outputs in zip(*parts, strict=True))


def agreement_of(exact: tuple, other: tuple) -> dict[str, float]:
    """Compare what `outputs_of` returned: share of equal first classes, differences of its probability and of logits, and cosines."""
    import torch

    (logits, features), (other_logits, other_features) = exact, other
    first = logits.argmax(-1, keepdim=True)
    probability, other_probability = (each.softmax(-1).gather(1, first) for each in (logits, other_logits))
    cosine = torch.cosine_similarity(features, other_features)
    return {
        "same": (first[:, 0] == other_logits.argmax(-1)).float().mean().item(),
        "probability": (probability - other_probability).abs().mean().item(),
        "logits": (logits - other_logits).abs().max().item(),
        "cosine": cosine.mean().item(),
        "lowest_cosine": cosine.min().item(),
    }


def _maps(exact, lower, engine, inputs) -> dict[str, float]:
    """Mean rank correlation (Spearman's) of each method's last map, for the class that fp32 names first."""
    import numpy as np
    from scipy.stats import spearmanr

    from vitdemo.attention.question import Question, heats
    from vitdemo.core.inference.trace_cache import run_trace

    found: dict[str, list[float]] = {name: [] for name in METHODS}
    for image in inputs:
        traces = [run_trace(vit, engine, image) for vit in (exact, lower)]
        target = int(traces[0].logits.argmax())
        for name in METHODS:
            question = Question(name, target=target)
            last = [heats(question, trace, vit, engine, image)[-1] for vit, trace in zip((exact, lower), traces, strict=True)]
            found[name].append(spearmanr(*(heat.flatten().numpy() for heat in last)).statistic)
    return {name: float(np.mean(each)) for name, each in found.items()}
