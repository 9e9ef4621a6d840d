"""The known answer of a bundle: a photo, the model's input and output for it, and its predictions, to check a new machine with."""

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
TOLERANCE = {"fp32": 1e-3, "fp16": 0.1, "int8": 0.5}  # largest logit difference of the same file on another processor


def write(vit: Vit, plan: Plan, outputs: tuple[str, ...], folder: Path, settings: Settings) -> None:
    """Run the bundle's own file on a photo, as its users will, and write known_answer/.

    Args:
        outputs: names of the graph's outputs.
    """
    place = folder / "known_answer"
    place.mkdir()
    photo = open_photo(PHOTO, settings).image
    photo.save(place / "photo.png")
    batch = parity.inputs(np.array(vit.preprocessing.crop(photo))[None], vit.preprocessing, baked=plan.baked)
    output = runtimes.open_model(folder / plan.file, plan, outputs)(batch)[outputs[0]]  # (1, classes)
    np.save(place / "input.npy", batch)
    np.save(place / "output.npy", output)
    answer = {"photo": "photo.png", "output": outputs[0], "tolerance": TOLERANCE[plan.precision]}
    if vit.labels:
        top = top_classes(torch.from_numpy(output[0].astype(np.float64)), vit.labels, 5)
        answer["predictions"] = [{"index": best.label.index, "label": best.label.name, "probability": best.probability} for best in top]
    (place / "answer.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n", "utf-8")
