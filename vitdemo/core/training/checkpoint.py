"""A training run's state in one SafeTensors file: tensors as tensors, everything else as JSON metadata. A pickle could run code."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vitdemo.core.errors import UserError


def save(state: Any, path: Path) -> None:
    """Write nested dicts and lists of tensors, numbers and texts, completely or not at all.

    Raises: OSError where the file can't be written, such as on a full disk.
    """
    tensors: dict[str, torch.Tensor] = {}
    shape = _extract_tensors(state, tensors)
    partial = path.with_suffix(".partial")
    try:
        save_file(tensors, partial, metadata={"shape": json.dumps(shape)})
    except SafetensorError as error:  # safetensors reports a full disk by this error
        raise OSError(None, str(error)) from None
    os.replace(partial, path)


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read the state that `save` wrote.

    Raises: UserError where the file can't be used.
    """
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            return _insert_tensors(json.loads(file.metadata()["shape"]), file)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} can't be used to go on from: remove it to begin again.") from None


def _extract_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return `value` in a form fit for JSON, and add its tensors to `tensors` by name."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _extract_tensors(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_extract_tensors(item, tensors) for item in value]
    return value


def _insert_tensors(shape: Any, file) -> Any:
    if isinstance(shape, list):
        return [_insert_tensors(item, file) for item in shape]
    if isinstance(shape, dict):
        if "tensor" in shape:
            return file.get_tensor(shape["tensor"])
        return {key: _insert_tensors(item, file) for key, item in shape["dict"]}
    return shape
