"""A gallery's way from file to numbers: what each step costs a core, and what `--jpeg-draft` saves and changes.

Without `--photos`, the shared photos are enlarged to large JPEGs first, since none of them is one.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vitdemo.bench.models import TINY, photos_of, vit_of, weights_note

PHOTOS = 500
SHORT_SIDE = 1500  # pixels of the enlarged photos
STEPS = ("read", "decode", "resize and crop", "normalise")
BATCH = 16


def run(*, runs: int = 5, photos: Path | None = None) -> dict:
    """Print the milliseconds of each step, and how answers by drafts differ; return all figures.

    Args:
        runs: not used: each photo is one run.
        photos: a folder of photos, of which at most PHOTOS are taken; the shared Caltech photos, enlarged, by default.

    Raises: UserError where there are no photos.
    """
    items = photos_of(photos, "caltech20")
    paths = [item.path for item in items[:: max(1, len(items) // PHOTOS)][:PHOTOS]]
    with tempfile.TemporaryDirectory() as folder:
        if photos is None:
            paths = _enlarged(paths, Path(folder))
        return _measure(paths)


def _enlarged(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Write photos as JPEGs of quality 90 whose short side has SHORT_SIDE pixels. Returns their paths."""
    from PIL import Image

    written = []
    for number, path in enumerate(paths):
        photo = Image.open(path).convert("RGB")
        scale = SHORT_SIDE / min(photo.size)
        large = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
        written.append(folder / f"{number:03}.jpg")
        large.save(written[-1], quality=90)
    return written


def _measure(paths: list[Path]) -> dict:
    import torch

    vit = vit_of(TINY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _prepared(vit, paths[:BATCH], 0)  # what a first batch sets up doesn't count
        made = {name: _prepared(vit, paths, draft) for name, draft in (("full size", 0), ("--jpeg-draft", vit.preprocessing.draft_side))}
    finally:
        torch.set_num_threads(threads)
    for name, (_, steps) in made.items():
        parts = ", ".join(f"{step} {steps[step]:.2f}" for step in STEPS)
        print(f"{name}: {sum(steps.values()):.2f} ms of a core for each of {len(paths)} photos ({parts})", flush=True)
    agreement = _agreement(vit, *(inputs for inputs, _ in made.values()))
    print(
        f"{TINY}{weights_note(TINY)}: with drafts the first class is the same for {agreement['same']:.1%}, its probability differs by "
        f"{agreement['probability']:.4f} on average, the vectors' cosine is {agreement['cosine']:.5f} on average, "
        f"{agreement['lowest_cosine']:.5f} at least",
        flush=True,
    )
    return {"milliseconds": {name: steps for name, (_, steps) in made.items()}, "agreement": agreement}


def _prepared(vit, paths: list[Path], draft: int) -> tuple:
    """Return the photos as model inputs, and the mean milliseconds of CPU time that each step took."""
    import torch

    from vitdemo.core.photos.decoding.decode import decode
    from vitdemo.core.photos.preprocessing import pixels_of

    seconds, inputs, pixels = dict.fromkeys(STEPS, 0.0), [], []

    def timed(step: str, work: Callable):
        begin = time.thread_time()
        result = work()
        seconds[step] += time.thread_time() - begin
        return result

    for number, path in enumerate(paths, 1):
        data = timed("read", path.read_bytes)
        image, _ = timed("decode", lambda data=data: decode(data, draft=draft))
        pixels.append(timed("resize and crop", lambda image=image: pixels_of(vit.preprocessing.crop(image))))
        if len(pixels) == BATCH or number == len(paths):
            inputs.append(timed("normalise", lambda pixels=pixels: vit.preprocessing.batch(pixels)))
            pixels = []
    return torch.cat(inputs), {step: 1000 * took / len(paths) for step, took in seconds.items()}


def _agreement(vit, exact, draft) -> dict[str, float]:
    """How the model's answers to drafts differ from those to the whole photos."""
    import torch

    from vitdemo.bench.agreement import agreement_of, outputs_of
    from vitdemo.core.inference.engine import Engine

    engine = Engine(torch.device("cpu"))
    return agreement_of(outputs_of(vit, engine, exact), outputs_of(vit, engine, draft))
