"""A Vit written down in the formats that other programs read.

Every graph has one input, `image`, a dynamic batch, and these float32 outputs: `logits` (batch, classes), or `features` of a model without
classes; then those asked for: `features` (batch, width), what goes into the head, and `attention` (batch, layers, heads, tokens, tokens).
"""

import copy
import json
import logging
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from timm.layers import Format
from timm.models import save_for_hf
from timm.models.vision_transformer import VisionTransformer

from vitdemo.core.errors import UserError
from vitdemo.core.inference.module_hooks import hooked
from vitdemo.core.inference.unfused import attention_layers, unfused
from vitdemo.core.models.labels import Label
from vitdemo.core.models.vit import Vit
from vitdemo.export.plan import Plan

OPSET = 20  # the exporter's own default; quantisers know it
LARGEST_ONNX = 2_000_000_000  # bytes that one protobuf file can hold
log = logging.getLogger(__name__)


class Graph(torch.nn.Module):
    """What becomes of a Vit when it leaves: on the CPU, in the plan's precision, with its preprocessing and further outputs if asked for.

    Raises: UserError for attention that can't be read.
    """

    def __init__(self, vit: Vit, plan: Plan):
        super().__init__()
        self.outputs = output_names(vit.labels, plan)
        network = unfused(vit.module) if "attention" in plan.extras else vit.module
        with hooked(()):  # nobody's hooks are copied
            self.network = copy.deepcopy(network).cpu()
        if self.network.patch_embed.img_size == vit.preprocessing.size:
            _fix_size(self.network)
        self.layers = attention_layers(self.network, vit.name) if "attention" in plan.extras else []
        self.dtype = torch.float16 if plan.precision == "fp16" else torch.float32
        self.size = vit.preprocessing.size
        self.baked = plan.baked
        self.register_buffer("mean", torch.tensor(vit.preprocessing.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(vit.preprocessing.std)[:, None, None], persistent=False)
        self.network.to(self.dtype)
        self.eval().requires_grad_(False)

    def example(self, batch: int = 2) -> torch.Tensor:
        """An input to trace with: (batch, 3, height, width) float32, or (batch, height, width, 3) uint8 where preprocessing is baked in."""
        height, width = self.size
        return torch.zeros(batch, height, width, 3, dtype=torch.uint8) if self.baked else torch.zeros(batch, 3, height, width)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.baked:
            image = (image.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        maps: list[torch.Tensor] = []
        with hooked([(layer.attn_drop, maps.append) for layer in self.layers]):
            tokens = self.network.forward_features(image.to(self.dtype))  # (B, N, width)
        found = {self.outputs[0]: self.network.forward_head(tokens)}
        if "features" in self.outputs[1:]:
            found["features"] = self.network.forward_head(tokens, pre_logits=True)
        if maps:
            found["attention"] = torch.stack(maps, 1)
        return tuple(found[name].float() for name in self.outputs)


def _fix_size(network: VisionTransformer) -> None:
    """As timm builds it for one input size: exporters would write the resampling of the position embedding into the graph."""
    network.dynamic_img_size = False
    network.patch_embed.flatten, network.patch_embed.output_fmt, network.patch_embed.strict_img_size = True, Format.NCHW, True


def output_names(labels: tuple[Label, ...], plan: Plan) -> tuple[str, ...]:
    """What the graph's outputs are called, in order."""
    first = "logits" if labels else "features"
    return (first, *(name for name in ("features", "attention") if name in plan.extras and name != first))


def write(vit: Vit, plan: Plan, folder: Path) -> Path:
    """Write the model's file, in fp32 or fp16, into the folder. An int8 plan gets the fp32 file that quantisation starts from.

    Returns: the file.
    Raises: UserError for a model that this format can't hold; OSError where the folder can't be written.
    """
    return _WRITERS[plan.format](vit, plan, folder / plan.file)


def label_config(vit: Vit) -> dict:
    """timm's names for the labels of a bundle."""
    if not vit.labels:
        return {}
    meanings = {each.name: each.meaning for each in vit.labels if each.meaning}
    return {"label_names": [each.name for each in vit.labels]} | ({"label_descriptions": meanings} if meanings else {})


def _write_safetensors(vit: Vit, plan: Plan, path: Path) -> Path:
    """timm's own layout: config.json beside the weights, which `timm.create_model("local-dir:…")` loads."""
    with hooked(()):
        module = copy.deepcopy(vit.module).cpu()
    if plan.precision == "fp16":
        module.half()
    save_for_hf(module, path.parent, model_config=label_config(vit), model_args={"dynamic_img_size": False}, safe_serialization=True)
    save_file(load_file(path), path, metadata={"format": "pt"})  # timm writes none, and transformers asks for it
    if vit.familiarity:
        vit.familiarity.save(path.parent)
    return path


def _write_onnx(vit: Vit, plan: Plan, path: Path) -> Path:
    graph = Graph(vit, plan)
    if plan.expected_bytes(vit.parameters) > LARGEST_ONNX:
        raise UserError(f"{vit.name} is larger than one ONNX file can be (2 GB): choose fp16, or the format pt2 or safetensors.")
    with _quiet(), _in_words(vit, "ONNX"):
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
        for node in program.model.graph.all_nodes():  # each notes where on this machine its source lies
            node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
        program.save(path, external_data=False)
    return path


def _write_torchscript(vit: Vit, plan: Plan, path: Path) -> Path:
    graph = Graph(vit, plan)
    with _quiet(), _in_words(vit, "TorchScript"), torch.inference_mode(False), torch.no_grad():
        torch.jit.trace(graph, graph.example(), check_trace=False).save(str(path))
    whole = path.with_suffix(".whole")
    path.rename(whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for each in old.infolist():
            if not each.filename.endswith(".debug_pkl"):  # where on this machine the sources lie
                new.writestr(each, old.read(each))
    whole.unlink()
    return path


def _write_pt2(vit: Vit, plan: Plan, path: Path) -> Path:
    graph = Graph(vit, plan)
    with _quiet(), _in_words(vit, "torch.export"), torch.no_grad():
        program = torch.export.export(graph, (graph.example(),), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # where on this machine the sources lie
        torch.export.save(program, path)
    return path


_WRITERS = {"safetensors": _write_safetensors, "onnx": _write_onnx, "torchscript": _write_torchscript, "pt2": _write_pt2}


@contextmanager
def _quiet():
    """The exporters warn of what is known: TorchScript's deprecation, constants in the trace."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _in_words(vit: Vit, format: str):
    """What an exporter stumbles over as a sentence; the details go to the log."""
    try:
        yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        log.exception("could not export %s", vit.name)
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise UserError(f"{vit.name} can't be written as {format} ({reason[0][:160]}): choose another format or model.") from None


def write_labels(vit: Vit, path: Path) -> None:
    """Every class with its index, name, synset and meaning, as JSON."""
    rows = [{"index": each.index, "name": each.name, "synset": each.synset, "meaning": each.meaning} for each in vit.labels]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8")
