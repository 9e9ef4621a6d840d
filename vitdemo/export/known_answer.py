"""The known answer of a bundle: a photo, what the model is given and gives for it, and the answer in words, to try a new machine with."""

import json
from pathlib import Path

import numpy as np
import torch

from vitdemo.core.config import ASSETS, Settings
from vitdemo.core.models.predictions import top_classes
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.photo import open_photo
from vitdemo.export import parity, runtimes
from vitdemo.export.plan import Plan

PHOTO = ASSETS / "examples" / "cat.jpg"
TOLERANCE = {"fp32": 1e-3, "fp16": 0.1, "int8": 0.5}  # in logits: the same file on another processor


def write(vit: Vit, plan: Plan, outputs: tuple[str, ...], folder: Path, settings: Settings) -> None:
    """Ask the bundle's own file, as it will be used, and write known_answer/.

    Args:
        outputs: what the graph's outputs are called.
    """
    place = folder / "known_answer"
    place.mkdir()
    photo = open_photo(PHOTO, settings).image
    photo.save(place / "photo.png")
    batch = parity.inputs(np.array(vit.preprocessing.crop(photo))[None], vit.preprocessing, baked=plan.baked)
    found = runtimes.open_model(folder / plan.file, plan, outputs)(batch)[outputs[0]]  # (1, classes)
    np.save(place / "input.npy", batch)
    np.save(place / "output.npy", found)
    answer = {"photo": "photo.png", "output": outputs[0], "tolerance": TOLERANCE[plan.precision]}
    if vit.labels:
        best = top_classes(torch.from_numpy(found[0].astype(np.float64)), vit.labels, 5)
        answer["predictions"] = [{"index": each.label.index, "label": each.label.name, "probability": each.probability} for each in best]
    (place / "answer.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n", "utf-8")
