"""Load an exported model back with the runtime that its users will use."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vitdemo.export.plan import Plan

Outputs = dict[str, np.ndarray]
Runner = Callable[[np.ndarray], Outputs]
"""Maps a batch as the graph takes it, (batch, 3, height, width) float32 or (batch, height, width, 3) uint8, to its outputs by name."""
NAMES = {"safetensors": "timm", "onnx": "ONNX Runtime", "torchscript": "torch.jit", "pt2": "torch.export"}


def open_model(path: Path, plan: Plan, outputs: tuple[str, ...]) -> Runner:
    """Load the model in a file.

    Args:
        outputs: names of the graph's outputs; SafeTensors, loaded by plain timm, have only the first.
    """
    if plan.format == "onnx":
        return open_onnx(path)
    network = _TORCH[plan.format](path)

    def run(batch: np.ndarray) -> Outputs:
        with torch.inference_mode():
            result = network(torch.from_numpy(batch))
        return dict(zip(outputs, (tensor.numpy() for tensor in (result if isinstance(result, tuple | list) else (result,))), strict=True))

    return run


def open_onnx(path: Path, threads: int = 0) -> Runner:
    """Load an ONNX model on the CPU. `threads` 0 means one per core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning idle threads would slow down other work
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda batch: dict(zip(names, session.run(names, {"image": batch}), strict=True))


def version(format: str) -> str:
    """Return the runtime's name and version, for the report."""
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
        warnings.simplefilter("ignore")  # the report says that TorchScript is deprecated
        return torch.jit.load(path, map_location="cpu")


_TORCH = {"safetensors": _timm, "torchscript": _torchscript, "pt2": _pt2}
