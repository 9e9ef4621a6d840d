"""Do the maps show what the model relies on? Every method, beside random maps and the centre prior, on real photos and on drawn pictures.

A map hits if its hottest patch is more than half covered by the mask. Deletion, insertion and SaCo follow the probability of the model's
top class while patches are greyed out, or restored, in the map's order. In a mosaic of four photos, each class's map should lie on the
photo of that class. Means come with their 95 % bootstrap intervals; a star marks what is better than random and centre beyond them.
"""

from pathlib import Path

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
ERASED = 48  # photos for deletion, insertion and SaCo
MOSAICS = 25
CARD = ("hit", "auc", "deletion", "insertion", "saco", "mosaic_mass")  # the metrics on the demo model's card
BEGIN, END = "<!-- written by python -m vitdemo.bench.faithfulness -->", "<!-- until here -->"
DRAWN, DRAWN_SEED = 210, 161_803_398  # number and seed of drawn pictures that were not used in training


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
    results = {"pets": measure(f"{TINY} on {folder}", tiny, gallery(tiny, folder), erase=ERASED)}
    if (classes := SHARED / "data" / "imagenet_val").is_dir():
        results["mosaics"] = measure(f"{TINY} on mosaics of {classes}", tiny, gallery(tiny, classes), mosaics=MOSAICS)
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

    return asdict(table_of(title, vit, subjects, erase=erase, mosaics=mosaics))


def table_of(title: str, vit, subjects: list, *, erase: int = 0, mosaics: int = 0):
    """Compare all methods, print the table, and return it as `evaluation.table.Table`."""
    from vitdemo.attention.evaluation.compare import compare_photos
    from vitdemo.attention.evaluation.table import Comparison, lines_of
    from vitdemo.core.inference.engine import Engine

    comparison = Comparison()
    for step in compare_photos(vit, Engine(vit.device), subjects, methods=methods(vit.adapter.layers), erase=erase, mosaics=mosaics):
        comparison = step.comparison
    table = comparison.table()
    print(f"{title}: {table.photos} photos, {table.erased} of them erased, {table.mosaics} mosaics")
    print("\n".join(lines_of(table)))
    return table


def write_card(card: Path, vit) -> None:
    """Measure the demo model on drawn pictures, and write the figures between the two marks on its card."""
    from vitdemo.attention.evaluation.table import markdown_of

    table = table_of(f"the demo model on {DRAWN} fresh drawn pictures", vit, drawn(vit), erase=ERASED, mosaics=MOSAICS)
    before, rest = card.read_text("utf-8").split(BEGIN)
    said = (
        f"Its maps against the exact masks, on {table.photos} fresh pictures. A hit: the hottest patch is more than half covered by the "
        f"thing. Deletion (lower is better), insertion and SaCo on {table.erased} of them, mosaic mass on {table.mosaics} mosaics of four "
        "(chance: 0.25). In brackets 95 % bootstrap intervals; a star marks what is better than both random and centre."
    )
    lines = [BEGIN, said, "", *markdown_of(table, [metric for metric in CARD if metric in table.rows["random"]]), END]
    card.write_text(before + "\n".join(lines) + rest.split(END)[1], "utf-8")


def gallery(vit, folder: Path) -> list:
    """The photos of a folder: of its images/, with the masks in its masks/, or of all its sub-folders, whose names may be classes."""
    from vitdemo.attention.evaluation.subjects import subjects_of
    from vitdemo.core.config import Settings
    from vitdemo.core.photos.search import find_items

    images, masks = folder / "images", folder / "masks"
    return subjects_of(find_items([images if images.is_dir() else folder]), vit, Settings(), masks if masks.is_dir() else None)


def drawn(vit) -> list:
    """Drawn pictures that were not used in training, with their exact masks."""
    from functools import partial

    from vitdemo.attention.evaluation.compare import Subject
    from vitdemo.attention.methods.faithfulness import mask_shares
    from vitdemo.sketches.draw import sketches

    pictures = list(sketches(DRAWN, DRAWN_SEED))
    return [Subject(partial(vit.preprocessing, each.image), partial(mask_shares, each.mask, vit.preprocessing)) for each in pictures]


if __name__ == "__main__":
    import torch

    from vitdemo.core.config import ASSETS, DEMO_MODEL, Settings
    from vitdemo.core.models.loader import load

    write_card(ASSETS / "demo" / "README.md", load(DEMO_MODEL, Settings(model=DEMO_MODEL), torch.device("cpu"), lambda _: None))
