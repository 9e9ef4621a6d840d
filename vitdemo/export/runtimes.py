"""An exported model loaded back by the runtime that others will use for it."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vitdemo.export.plan import Plan

Outputs = dict[str, np.ndarray]
Runner = Callable[[np.ndarray], Outputs]
"""A batch as the graph takes it, (batch, 3, height, width) float32 or (batch, height, width, 3) uint8 → its outputs by name."""
NAMES = {"safetensors": "timm", "onnx": "ONNX Runtime", "torchscript": "torch.jit", "pt2": "torch.export"}


def open_model(path: Path, plan: Plan, outputs: tuple[str, ...]) -> Runner:
    """The model in that file.

    Args:
        outputs: what the graph's outputs are called; SafeTensors, loaded by plain timm, give the first alone.
    """
    if plan.format == "onnx":
        return open_onnx(path)
    network = _TORCH[plan.format](path)

    def run(batch: np.ndarray) -> Outputs:
        with torch.inference_mode():
            found = network(torch.from_numpy(batch))
        return dict(zip(outputs, (each.numpy() for each in (found if isinstance(found, tuple | list) else (found,))), strict=True))

    return run


def open_onnx(path: Path, threads: int = 0) -> Runner:
    """An ONNX model on the CPU, with so many threads, or as many as there are cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would slow down what runs beside it
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return lambda batch: dict(zip(names, session.run(names, {"image": batch}), strict=True))


def version(format: str) -> str:
    """The runtime with its version, for the report."""
    if format == "onnx":
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}"
    import timm

    return f"timm {timm.__version__}" if format == "safetensors" else f"{NAMES[format]} of torch {torch.__version__}"


def _timm(path: Path) -> torch.nn.Module:
    import timm

    return timm.create_model(f"local-dir:{path.parent}", pretrained=True).eval()


def _pt2(path: Path) -> torch.nn.Module:
    return torch.export.load(path).module()


def _torchscript(path: Path) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated, the report says
        return torch.jit.load(path, map_location="cpu")


_TORCH = {"safetensors": _timm, "torchscript": _torchscript, "pt2": _pt2}
