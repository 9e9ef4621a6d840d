"""Do the maps show what the model relies on? Every method, against random maps and a centre prior, on real pets and on new drawn pictures.

A map hits if its hottest patch is more than half covered by the mask. Deletion and insertion follow the probability of the model's top
class while patches are greyed out, or restored, in the map's order.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
ERASED = 16  # photos for deletion and insertion
SEEDS = 5  # random maps per photo
DRAWN, DRAWN_SEED = 210, 161_803_398  # number and seed of drawn pictures that were not used in training


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Print hits, overlap, mass and areas of each method, and return them.

    Args:
        runs: not used: the numbers are the same in every run.
        photos: a folder with images/ and masks/; the shared pets by default.

    Raises: UserError where weights or photos are missing.
    """
    import torch

    from vitdemo.core.config import ASSETS, DEMO_MODEL, SHARED, Settings
    from vitdemo.core.errors import UserError
    from vitdemo.core.models import loader

    folder, weights = photos or SHARED / "data" / "pets", SHARED / "weights" / f"{TINY}.safetensors"
    for path in (folder, weights):
        if not path.exists():
            raise UserError(f"{path} is not there: set VITDEMO_SHARED, or give --photos a folder with images/ and masks/.")
    cpu = torch.device("cpu")
    tiny = loader.load(TINY, Settings(model=TINY, checkpoint=weights), cpu, lambda _: None)
    results = {"pets": _measure(f"{TINY} on {folder}", tiny, list(_pairs(folder)))}
    if (ASSETS / "demo").is_dir():
        demo = loader.load(DEMO_MODEL, Settings(model=DEMO_MODEL), cpu, lambda _: None)
        results["drawn"] = _measure(f"the demo model on {DRAWN} fresh drawn pictures", demo, list(_drawn()))
    else:
        print("The demo model is not in assets/demo, so its drawn pictures are left out.")
    return results


def _pairs(folder: Path) -> Iterator[tuple]:
    """Yield photos with their masks; None for a photo without a mask."""
    from PIL import Image

    from vitdemo.core.config import Settings
    from vitdemo.core.photos.gallery import find_items
    from vitdemo.core.photos.photo import open_photo

    images = folder / "images" if (folder / "images").is_dir() else folder
    for path in (item.path for item in find_items([images])):
        mask = folder / "masks" / path.relative_to(images).with_suffix(".png")
        yield open_photo(path, Settings()).image, Image.open(mask) if mask.is_file() else None


def _drawn() -> Iterator[tuple]:
    from vitdemo.sketches.draw import sketches

    for picture in sketches(DRAWN, DRAWN_SEED):
        yield picture.image, picture.mask


def _measure(title: str, vit, pairs: list[tuple]) -> dict:
    from vitdemo.attention.methods.faithfulness import agreement, erase_curve, mask_shares
    from vitdemo.core.inference.engine import Engine

    engine = Engine(vit.device)
    erased = {round(number * (len(pairs) - 1) / (ERASED - 1)) for number in range(ERASED)}  # indices, evenly spread over all pairs
    agreements: dict[str, list] = {}
    curves: dict[str, list] = {}
    for index, (image, mask) in enumerate(pairs):
        tensor, heats, target = _maps(vit, engine, image)
        shares = None if mask is None else mask_shares(mask, vit.preprocessing, next(iter(heats.values()))[0].shape)
        for method, maps in heats.items():
            if shares is not None:
                agreements.setdefault(method, []).extend(agreement(heat, shares) for heat in maps)
            if index in erased:
                curves.setdefault(method, []).extend(erase_curve(vit, engine, tensor, heat, target) for heat in maps)
    print(f"{title}: hits, overlap and mass on {len(pairs)}, deletion (lower is better) and insertion on {len(erased)}")
    print(f"  {'':18}{'hits':>9}{'overlap':>9}{'mass':>9}{'deletion':>10}{'insertion':>11}")
    results = {}
    for method in curves:
        means = {field: _mean(getattr(result, field) for result in agreements.get(method, ())) for field in ("hit", "overlap", "mass")}
        means |= {field: _mean(getattr(curve, field) for curve in curves[method]) for field in ("deletion_area", "insertion_area")}
        results[method] = means
        print(f"  {method:18}" + "".join(f"{value:{width}.3f}" for value, width in zip(means.values(), (9, 9, 9, 10, 11), strict=True)))
    return results


def _maps(vit, engine, image) -> tuple:
    """Return the model input, each method's maps (several for random) and the model's top class."""
    from vitdemo.attention.methods import faithfulness, gradients, maps
    from vitdemo.core.inference.trace_cache import run_trace

    tensor = vit.preprocessing(image)
    trace = run_trace(vit, engine, tensor)
    target = int(trace.logits.argmax())
    gradient = gradients.attention_gradient(vit, engine, tensor, target)
    return (
        tensor,
        {
            "random": [faithfulness.random_heat(trace.grid, seed) for seed in range(SEEDS)],
            "centre prior": [faithfulness.centre_prior(trace.grid)],
            "last-layer CLS": [maps.cls_map(trace, layer=trace.layers)],
            "rollout": [maps.rollout(trace)],
            "gradient rollout": [maps.gradient_rollout(trace, gradient)],
            "relevance": [maps.relevance(trace, gradient)],
        },
        target,
    )


def _mean(values: Iterable[float]) -> float:
    """Return the mean, NaN where there are no values."""
    values = list(values)
    return sum(values) / len(values) if values else float("nan")
