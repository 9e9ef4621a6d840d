"""A training run's state in one SafeTensors file: tensors as tensors, everything else as JSON beside them. A pickle could run code."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vitdemo.core.errors import UserError


def save(state: Any, path: Path) -> None:
    """Write nested dicts and lists of tensors, numbers and texts, whole or not at all.

    Raises: OSError where there is no room.
    """
    tensors: dict[str, torch.Tensor] = {}
    shape = _take_apart(state, tensors)
    partial = path.with_suffix(".partial")
    try:
        save_file(tensors, partial, metadata={"shape": json.dumps(shape)})
    except SafetensorError as error:  # safetensors tells a full disk in words of its own
        raise OSError(None, str(error)) from None
    os.replace(partial, path)


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """What `save` was given.

    Raises: UserError where the file can't be used.
    """
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            return _put_together(json.loads(file.metadata()["shape"]), file)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} can't be used to go on from: remove it to begin again.") from None


def _take_apart(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _take_apart(each, tensors)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return [_take_apart(each, tensors) for each in value]
    return value


def _put_together(shape: Any, file) -> Any:
    if isinstance(shape, list):
        return [_put_together(each, file) for each in shape]
    if isinstance(shape, dict):
        if "tensor" in shape:
            return file.get_tensor(shape["tensor"])
        return {key: _put_together(each, file) for key, each in shape["dict"]}
    return shape
