"""Write a Vit in the formats that other programs read.

Every graph has one input, `image`, with a dynamic batch, and these float32 outputs: `logits` (batch, classes), or `features` for a model
without classes; then the extras of the plan: `features` (batch, width), the head's input, and `attention` (batch, layers, heads, tokens,
tokens).
"""

import copy
import json
import logging
import warnings
import zipfile
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCalls, step_by_step
from vitdemo.core.models.labels import Label
from vitdemo.core.models.vit import Vit
from vitdemo.export.plan import Plan

OPSET = 20  # the exporter's default, which the quantisers support
LARGEST_ONNX = 2_000_000_000  # bytes in one protobuf file at most
log = logging.getLogger(__name__)


class Graph(torch.nn.Module):
    """A Vit prepared for export: on the CPU, in the plan's precision, with preprocessing built in and extra outputs if the plan says so.

    Raises: UserError for a model whose attention can't be read.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, vit: Vit, plan: Plan):
        super().__init__()
        self.outputs = output_names(vit.labels, plan)
        self.network = copy.deepcopy(vit.module).cpu()
        self.vit = replace(vit, module=self.network)
        if self.vit.adapter.own_size == vit.preprocessing.size:
            self.vit.adapter.fix_size()
        self.dtype = torch.float16 if plan.precision == "fp16" else torch.float32
        self.size = vit.preprocessing.size
        self.baked = plan.baked
        self.register_buffer("mean", torch.tensor(vit.preprocessing.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(vit.preprocessing.std)[:, None, None], persistent=False)
        self.network.to(self.dtype)
        self.eval().requires_grad_(False)

    def example(self, batch: int = 2) -> torch.Tensor:
        """Return an input to trace with: (batch, 3, height, width) float32, or (batch, height, width, 3) uint8 with baked preprocessing."""
        height, width = self.size
        return torch.zeros(batch, height, width, 3, dtype=torch.uint8) if self.baked else torch.zeros(batch, 3, height, width)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs for a batch, float32, in the order of `outputs`."""
        if self.baked:
            image = (image.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        maps: list[torch.Tensor] = []
        with AttentionCalls(self.vit, step_by_step(maps)) if "attention" in self.outputs else nullcontext():
            tokens = self.network.forward_features(image.to(self.dtype))  # (B, N, width)
        results = {self.outputs[0]: self.network.forward_head(tokens)}
        if "features" in self.outputs[1:]:
            results["features"] = self.network.forward_head(tokens, pre_logits=True)
        if maps:
            results["attention"] = torch.stack(maps, 1)
        return tuple(results[name].float() for name in self.outputs)


def output_names(labels: tuple[Label, ...], plan: Plan) -> tuple[str, ...]:
    """Return the names of the graph's outputs, in order."""
    first = "logits" if labels else "features"
    return (first, *(name for name in ("features", "attention") if name in plan.extras and name != first))


def write(vit: Vit, plan: Plan, folder: Path) -> Path:
    """Write the model's file into the folder, in fp32 or fp16. An int8 plan gets the fp32 file that quantisation starts from.

    Returns: the file.
    Raises: UserError for a model that this format can't hold; OSError where the folder can't be written.
    """
    return _WRITERS[plan.format](vit, plan, folder / plan.file)


def label_config(vit: Vit) -> dict:
    """Return the labels under timm's config keys."""
    if not vit.labels:
        return {}
    meanings = {label.name: label.meaning for label in vit.labels if label.meaning}
    return {"label_names": [label.name for label in vit.labels]} | ({"label_descriptions": meanings} if meanings else {})


def check_format(vit: Vit, format: str) -> None:
    """Check that a model can be written in this format. Raises: UserError for timm's own layout where timm couldn't read it."""
    if format == "safetensors" and (not vit.adapter.has_config or vit.adapter.own_words):  # its own words are for this app
        raise UserError(f"timm has no config for {vit.name}, whose head or layers it has no word for: choose the format onnx or pt2.")


def _write_safetensors(vit: Vit, plan: Plan, path: Path) -> Path:
    """Write timm's own layout: config.json next to the weights, which `timm.create_model("local-dir:…")` loads."""
    check_format(vit, "safetensors")
    module = copy.deepcopy(vit.module).cpu()
    if plan.precision == "fp16":
        module.half()
    config = label_config(vit) | vit.preprocessing.own_words
    save_for_hf(module, str(path.parent), model_config=config, model_args=vit.adapter.fixed_size, safe_serialization=True)
    save_file(load_file(path), path, metadata={"format": "pt"})  # timm writes no metadata, but transformers needs it
    if vit.ood:
        vit.ood.save(path.parent)
    return path


def _write_onnx(vit: Vit, plan: Plan, path: Path) -> Path:
    graph = Graph(vit, plan)
    if plan.expected_bytes(vit.parameters) > LARGEST_ONNX:
        raise UserError(f"{vit.name} is larger than one ONNX file can be (2 GB): choose fp16, or the format pt2 or safetensors.")
    with _quiet(), _readable_errors(vit, "ONNX"):
        program = torch.onnx.export(
            graph,
            (graph.example(),),
            dynamo=True,
            input_names=["image"],
            output_names=list(graph.outputs),
            dynamic_shapes=({0: "batch"},),
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None  # only the older exporter, without dynamo, returns None
        for node in program.model.graph.all_nodes():  # each node stores source paths of this machine
            node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
        program.save(path, external_data=False)
    return path


def _write_torchscript(vit: Vit, plan: Plan, path: Path) -> Path:
    graph = Graph(vit, plan)
    with _quiet(), _readable_errors(vit, "TorchScript"), torch.inference_mode(False), torch.no_grad():
        torch.jit.trace(graph, graph.example(), check_trace=False).save(str(path))
    whole = path.with_suffix(".whole")
    path.rename(whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):  # these hold source paths of this machine
                new.writestr(entry, old.read(entry))
    whole.unlink()
    return path


def _write_pt2(vit: Vit, plan: Plan, path: Path) -> Path:
    graph = Graph(vit, plan)
    with _quiet(), _readable_errors(vit, "torch.export"), torch.no_grad():
        program = torch.export.export(graph, (graph.example(),), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it holds source paths of this machine
        torch.export.save(program, path)
    return path


_WRITERS = {"safetensors": _write_safetensors, "onnx": _write_onnx, "torchscript": _write_torchscript, "pt2": _write_pt2}


@contextmanager
def _quiet():
    """Silence the exporters' expected warnings: TorchScript's deprecation, constants in the trace."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _readable_errors(vit: Vit, format: str):
    """Turn an exporter's error into a UserError with one sentence; the details go to the log."""
    try:
        yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        log.exception("could not export %s", vit.name)
        if isinstance(error.__cause__, UserError):  # what the model said while it was traced
            raise error.__cause__ from None
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise UserError(f"{vit.name} can't be written as {format} ({reason[0][:160]}): choose another format or model.") from None


def write_labels(vit: Vit, path: Path) -> None:
    """Write every class with its index, name, synset and meaning, as JSON."""
    rows = [{"index": label.index, "name": label.name, "synset": label.synset, "meaning": label.meaning} for label in vit.labels]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8")
