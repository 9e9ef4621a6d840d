"""int8 for ONNX: make several recipes, compare them with fp32, and ship one of those that agree.

No single recipe is safe for a ViT: the inputs of the MLP's second layer (`fc2`) have outliers that one scale per tensor can't represent.
So some recipes leave these layers in fp32, or give each block of 64 weights and inputs a scale of its own (weight-only). Signed weights
are faster and more precise where the processor multiplies bytes without saturation (VNNI), and wrong elsewhere.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

LINEAR = ["MatMul", "Gemm"]  # node types of linear layers
WEIGHT_BLOCK = 64  # weights that share a scale in a weight-only layer
SCOPES = "pkg.torch.onnx.name_scopes"  # metadata key under which the exporter stores a node's module


@dataclass(frozen=True)
class QuantizationRecipe:
    """One way to quantise to int8.

    Attributes:
        name: its name in tables.
        kind: `dynamic` computes the scales of inputs at run time, `static` stores calibrated scales, `weights` rounds weights only.
        signed: signed weights, which need a processor with VNNI.
        weight_only: layers of each block's MLP that are weight-only instead, such as fc2.
        late_fc2: whether the MLPs' second layers in the later half of the network stay in fp32.
    """

    name: str
    kind: str
    signed: bool = False
    weight_only: tuple[str, ...] = ()
    late_fc2: bool = False


def recipes(*, vnni: bool, calibrated: bool) -> list[QuantizationRecipe]:
    """List the recipes worth trying on a processor with or without VNNI, with or without calibration photos."""
    word = "signed" if vnni else "unsigned"
    candidates = [
        QuantizationRecipe(f"dynamic, {word}", "dynamic", vnni),
        QuantizationRecipe(f"dynamic, {word}, later fc2 in fp32", "dynamic", vnni, late_fc2=True),
        QuantizationRecipe(f"dynamic, {word}, fc2 weight-only", "dynamic", vnni, ("fc2",)),
        QuantizationRecipe(f"dynamic, {word}, MLP weight-only", "dynamic", vnni, ("fc1", "fc2")),
    ]
    if vnni:
        candidates.append(QuantizationRecipe("dynamic, unsigned, fc2 weight-only", "dynamic", weight_only=("fc2",)))
    candidates.append(QuantizationRecipe("weight-only", "weights"))
    if calibrated:
        candidates.append(QuantizationRecipe("static, fc2 weight-only", "static", vnni, ("fc2",)))
    return candidates


def has_vnni() -> bool:
    """Return whether this processor multiplies bytes without saturation; False, the safe answer, where the system doesn't report it."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def quantize(source: Path, target: Path, recipe: QuantizationRecipe, calibration: Sequence[np.ndarray] = ()) -> None:
    """Quantise the fp32 model at `source` by a recipe, and write it to `target`.

    Args:
        calibration: inputs of the graph, (1, …) each, for a static recipe.
    """
    with _quiet():
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

        model = onnx.load(source)
        del model.graph.value_info[:]  # the exporter's shapes are symbolic, and the quantiser fails on them
        if recipe.kind == "weights":
            _weight_only(model, target, leave=())
            return
        blocks = nodes_of(model, recipe.weight_only)
        fc2 = nodes_of(model, ("fc2",)) if recipe.late_fc2 else []
        options = {
            "op_types_to_quantize": LINEAR,
            "per_channel": True,
            "nodes_to_exclude": blocks + fc2[len(fc2) // 2 :],
            "extra_options": {"MatMulConstBOnly": True},
        }
        if recipe.kind == "dynamic":
            quantize_dynamic(model, target, weight_type=QuantType.QInt8 if recipe.signed else QuantType.QUInt8, **options)
        else:
            seven_bits = not recipe.signed  # keeps products within 16 bits where there is no VNNI
            form = {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
            quantize_static(model, target, _Reader(calibration), reduce_range=seven_bits, **form, **options)
        if blocks:
            partial = onnx.load(target)
            names = {node.name for node in partial.graph.node if node.op_type in LINEAR}
            _weight_only(partial, target, leave=names - set(blocks))


def nodes_of(model: onnx.ModelProto, layers: tuple[str, ...]) -> list[str]:
    """Return the names of the nodes of these layers of every block's MLP, in order."""

    def in_layers(node: onnx.NodeProto) -> bool:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
        return node.op_type in LINEAR and any(f".mlp.{layer}'" in scopes for layer in layers)

    return [node.name for node in model.graph.node if in_layers(node)]


def _weight_only(model: onnx.ModelProto, target: Path, leave: Iterable[str]) -> None:
    """Round weights to 8 bits with a scale per block; inputs are rounded block by block at run time (accuracy level 4)."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        model, bits=8, block_size=WEIGHT_BLOCK, is_symmetric=False, accuracy_level=4, nodes_to_exclude=list(leave)
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)


class _Reader:
    """The source of inputs for onnxruntime's calibration."""

    def __init__(self, inputs: Sequence[np.ndarray]):
        self._inputs: Iterator[np.ndarray] = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next input by name, or None after the last one."""
        return next(({"image": image} for image in self._inputs), None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence onnxruntime's quantisers: they configure the root logger on import, and log every node."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, root.handlers[:], logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
