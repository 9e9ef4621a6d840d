"""Do the maps show what the model relies on? Every method, beside random maps and the centre prior, on real photos and on drawn pictures.

A map hits if its hottest patch is more than half covered by the mask. Deletion, insertion and SaCo follow the probability of the model's
top class while patches are greyed out, or restored, in the map's order. In a mosaic of four photos, each class's map should lie on the
photo of that class. Means come with their 95 % bootstrap intervals; a star marks what is better than random and centre beyond them.
"""

from collections.abc import Iterator
from pathlib import Path

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
ERASED = 48  # photos for deletion, insertion and SaCo
MOSAICS = 25
DRAWN, DRAWN_SEED = 210, 161_803_398  # number and seed of drawn pictures that were not used in training
COLUMNS = {"hit": "hits", "mass": "mass", "iou": "IoU", "auc": "AUC", "deletion": "deletion ↓", "insertion": "insertion", "saco": "SaCo"}
COLUMNS |= {"mosaic_mass": "mosaic mass", "mosaic_hit": "mosaic hits"}


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Print every metric of each method with its interval, and return them.

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
    results = {"pets": measure(f"{TINY} on {folder}", tiny, _with_masks(tiny, folder), erase=ERASED)}
    if (classes := SHARED / "data" / "imagenet_val").is_dir():
        results["mosaics"] = measure(f"{TINY} on mosaics of {classes}", tiny, _with_labels(tiny, classes), mosaics=MOSAICS)
    if (ASSETS / "demo").is_dir():
        demo = loader.load(DEMO_MODEL, Settings(model=DEMO_MODEL), cpu, lambda _: None)
        results["drawn"] = measure(f"the demo model on {DRAWN} fresh drawn pictures", demo, drawn(demo), erase=ERASED, mosaics=MOSAICS)
    else:
        print("The demo model is not in assets/demo, so its drawn pictures are left out.")
    return results


def methods(layers: int) -> dict:
    """The maps to compare: those that have names, the plain gradient, and the votes of the last four layers."""
    from vitdemo.attention.evaluation.compare import NAMED
    from vitdemo.attention.question import Question

    return NAMED | {
        "relevance, plain": Question("relevance", gradient="plain"),
        "gradient-rollout, plain": Question("gradient-rollout", gradient="plain"),
        "votes, last 4 layers": Question("votes", start_layer=max(1, layers - 3)),
    }


def measure(title: str, vit, subjects: list, *, erase: int = 0, mosaics: int = 0) -> dict:
    """Compare all methods, print the table, and return it."""
    from dataclasses import asdict

    from vitdemo.attention.evaluation.compare import compare_photos
    from vitdemo.core.inference.engine import Engine

    for step in compare_photos(vit, Engine(vit.device), subjects, methods=methods(vit.adapter.layers), erase=erase, mosaics=mosaics):
        table = step.comparison.table() if step.done == step.total else None
    assert table is not None, "the last step ends the comparison"
    print(f"{title}: {table.photos} photos, {table.erased} of them erased, {table.mosaics} mosaics")
    print("\n".join(lines_of(table)))
    return asdict(table)


def lines_of(table) -> list[str]:
    """The table as text."""
    shown = [metric for metric in COLUMNS if any(metric in cells for cells in table.rows.values())]
    lines = [f"  {'':24}" + "".join(f"{COLUMNS[metric]:>25}" for metric in shown)]
    for method, cells in table.rows.items():
        texts = []
        for cell in (cells.get(metric) for metric in shown):
            star = "*" if cell and cell.chance > 0 and cell.centre > 0 else " "
            span = f" [{cell.low:.3f}, {cell.high:.3f}]" if cell and cell.low is not None else ""
            texts.append(f"{cell.value:.3f}{span}{star}" if cell else "")
        lines.append(f"  {method:24}" + "".join(f"{text:>25}" for text in texts))
    return lines


def _with_masks(vit, folder: Path) -> list:
    """The photos of a folder with their masks, those that there are."""
    from functools import partial

    from vitdemo.attention.evaluation.compare import Subject
    from vitdemo.attention.methods.faithfulness import mask_shares

    subjects = []
    for image, mask in _pairs(folder):
        shares = None if mask is None else partial(mask_shares, mask, vit.preprocessing)
        subjects.append(Subject(partial(vit.preprocessing, image), shares))
    return subjects


def _with_labels(vit, folder: Path) -> list:
    """The photos of folders that are named after synsets of the model."""
    from functools import partial

    from vitdemo.attention.evaluation.compare import Subject
    from vitdemo.core.config import Settings
    from vitdemo.core.photos.gallery import find_items
    from vitdemo.core.photos.photo import open_photo

    index = {label.synset: label.index for label in vit.labels}

    def prepared(path: Path):
        return vit.preprocessing(open_photo(path, Settings()).image)

    paths = [item.path for item in find_items([folder]) if item.path.parent.name in index]
    return [Subject(partial(prepared, path), label=index[path.parent.name]) for path in paths]


def drawn(vit) -> list:
    """Drawn pictures that were not used in training, with their exact masks."""
    from functools import partial

    from vitdemo.attention.evaluation.compare import Subject
    from vitdemo.attention.methods.faithfulness import mask_shares
    from vitdemo.sketches.draw import sketches

    pictures = list(sketches(DRAWN, DRAWN_SEED))
    return [Subject(partial(vit.preprocessing, each.image), partial(mask_shares, each.mask, vit.preprocessing)) for each in pictures]


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
