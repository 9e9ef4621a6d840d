"""Write the result in timm's own layout: `timm.create_model("local-dir:DIR", pretrained=True)` loads it elsewhere, with its labels."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from vitdemo.core.models import ood
from vitdemo.core.models.adapter import Adapter
from vitdemo.core.photos.preprocessing import Preprocessing

FILES = ("config.json", "model.safetensors")


def write(
    module: torch.nn.Module, classes: Sequence[str], preprocessing: Preprocessing, folder: Path, arguments: Mapping[str, Any]
) -> None:
    """Write weights and config, completely or not at all.

    Args:
        arguments: with which timm builds the module, where it is changed.
        preprocessing: the photos'; what timm has no words for goes into the config beside timm's.

    Raises: OSError where the disk is full.
    """
    partial = folder / "run" / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    adapter = Adapter(module)
    config = {"label_names": list(classes)} | preprocessing.own_words | adapter.own_words
    save_for_hf(module, str(partial), model_config=config, model_args=adapter.fixed_size | dict(arguments), safe_serialization=True)
    weights = partial / "model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt"})  # timm writes no metadata, but transformers needs it
    for name in FILES:
        os.replace(partial / name, folder / name)
    (folder / ood.FILE_NAME).unlink(missing_ok=True)  # about the features of the weights before
