"""The known answer of a bundle: a photo, the model's input and output for it, and its predictions, to check a new machine with."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vitdemo.core.config import Settings
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.drawings import suit_drawings
from vitdemo.core.models.labels import ClassNames
from vitdemo.core.models.predictions import top_classes
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.photo import decode, open_photo
from vitdemo.core.photos.samples import samples
from vitdemo.export import parity, runtimes
from vitdemo.export.parity import ParitySample
from vitdemo.export.plan import Plan

TOLERANCE = {"fp32": 1e-3, "fp16": 0.1, "int8": 0.5}  # largest logit difference of the same file on another processor
MAX_PIXELS = 1024  # of the photo's longer side
OWN_CREDIT = "one of the photos that were given for this export"


@dataclass(frozen=True)
class Reference:
    """The photo of a known answer.

    Attributes:
        photo: upright RGB.
        name: what is on it.
        credit: where it comes from, and its licence.
    """

    photo: Image.Image
    name: str
    credit: str


def choose(vit: Vit, engine: Engine, sample: ParitySample, settings: Settings) -> Reference:
    """Choose a photo that the model gets right, by its folder or its name: one that was given to compare on, else a sample that suits the
    model. Where it gets none right, the first of them."""
    names, candidates = ClassNames(vit.labels), list[Reference]()
    for reference, true_classes in chain(_given(sample, names, settings), _samples(vit, names, settings)):
        logits, _ = engine.logits(vit, vit.preprocessing(reference.photo)[None])  # (1, classes)
        if int(logits[0].argmax()) in true_classes:
            return reference
        candidates.append(reference)
    return candidates[0]


def write(vit: Vit, plan: Plan, outputs: tuple[str, ...], folder: Path, reference: Reference) -> None:
    """Run the bundle's own file on a photo, as its users will, and write known_answer/.

    Args:
        outputs: names of the graph's outputs.
    """
    place = folder / "known_answer"
    place.mkdir()
    reference.photo.save(place / "photo.png")
    batch = parity.inputs(np.array(vit.preprocessing.crop(reference.photo))[None], vit.preprocessing, baked=plan.baked)
    output = runtimes.open_model(folder / plan.file, plan, outputs)(batch)[outputs[0]]  # (1, classes)
    np.save(place / "input.npy", batch)
    np.save(place / "output.npy", output)
    answer = {"photo": "photo.png", "output": outputs[0], "tolerance": TOLERANCE[plan.precision]}
    if vit.labels:
        top = top_classes(torch.from_numpy(output[0].astype(np.float64)), vit.labels, 5)
        answer["predictions"] = [{"index": best.label.index, "label": best.label.name, "probability": best.probability} for best in top]
    answer |= {"name": reference.name, "credit": reference.credit}
    (place / "answer.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _given(sample: ParitySample, names: ClassNames, settings: Settings) -> Iterator[tuple[Reference, frozenset[int]]]:
    """The photos that were given: those that the model gets right, the most certain first; where there are none, the first one."""
    if not sample.given:
        return
    best = sample.answers.argmax(1)
    right = [number for number, true_classes in enumerate(sample.targets) if best[number] in true_classes]
    for number in sorted(right, key=lambda number: -_certainty(sample.answers[number])) or [0]:
        item = sample.items[number]
        photo = decode(item.read(settings), item.shown, settings).image
        photo.thumbnail((MAX_PIXELS, MAX_PIXELS))
        yield Reference(photo, names.labels[int(best[number])].short if right else "photo", OWN_CREDIT), sample.targets[number]


def _certainty(logits: np.ndarray) -> float:
    """The probability of the first class."""
    return float(1 / np.exp(logits.astype(np.float64) - logits.max()).sum())


def _samples(vit: Vit, names: ClassNames, settings: Settings) -> Iterator[tuple[Reference, frozenset[int]]]:
    """The samples of the kind that the model knows; drawings for want of photographs."""
    suiting = [sample for sample in samples() if sample.drawn == suit_drawings(vit)]
    for sample in suiting or samples():
        yield Reference(open_photo(sample.path, settings).image, sample.name, f"{sample.name}, {sample.credit}"), names.meant(sample.name)
