"""TorchServe's handler for this bundle: photos in, rows of predictions out. A photo that can't be read spoils no other one's answer."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

TOP = 5
state: dict = {}


def handle(data, context):
    """Called once with nothing to get ready, then with a batch of requests."""
    if not state:
        folder = Path(context.system_properties["model_dir"])
        sys.path.insert(0, str(folder))
        from preprocess import preprocess

        file = context.manifest["model"]["serializedFile"]
        state.update(
            preprocess=preprocess,
            model=torch.jit.load(folder / file, map_location="cpu").eval(),
            labels=json.loads((folder / "labels.json").read_text("utf-8")),
        )
    return [_answer(row.get("data") or row.get("body")) for row in data] if data else None


def _answer(data: bytes) -> dict:
    try:
        array = state["preprocess"](bytes(data))
    except Exception:  # Pillow's decoders raise nearly anything on a hostile file
        return {"error": "This is no photo that can be read, or a damaged, too large or too narrow one: send a JPEG, PNG or WebP."}
    with torch.inference_mode():
        found = state["model"](torch.from_numpy(np.array(array[None])))[0][0]
    if not state["labels"]:
        return {"features": found.tolist()}
    best = found.double().softmax(-1).topk(min(TOP, len(found)))
    return {
        "predictions": [
            {**state["labels"][index], "probability": probability}
            for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
    }
