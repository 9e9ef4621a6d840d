"""int8 for ONNX: several recipes are made, measured beside fp32, and one of those that agree is shipped.

No single recipe is safe for a ViT: the inputs of the MLP's second layer (`fc2`) have outliers that one scale for a whole tensor can't hold.
So there are recipes that leave these layers in fp32, or give each block of 32 weights and inputs a scale of its own (weight-only). Signed
weights are faster and finer where the processor multiplies bytes without saturation (VNNI), and wrong elsewhere.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

LINEAR = ["MatMul", "Gemm"]
BLOCK = 32  # weights that share a scale in a weight-only layer
SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter notes the module that a node comes from


@dataclass(frozen=True)
class Recipe:
    """One way to int8.

    Attributes:
        name: what tables call it.
        kind: `dynamic` finds the scales of inputs while it runs, `static` brings them along, `weights` rounds weights alone.
        signed: signed weights, which need a processor with VNNI.
        fc2: what becomes of the MLPs' second layers: `int8` as all others, `fp32` in the later blocks, `blocks` for weight-only.
    """

    name: str
    kind: str
    signed: bool = False
    fc2: str = "int8"


def recipes(*, vnni: bool, calibrated: bool) -> list[Recipe]:
    """What is worth trying on a processor with or without VNNI, with or without photos to calibrate on."""
    word = "signed" if vnni else "unsigned"
    found = [
        Recipe(f"dynamic, {word}", "dynamic", vnni),
        Recipe(f"dynamic, {word}, later fc2 in fp32", "dynamic", vnni, "fp32"),
        Recipe(f"dynamic, {word}, fc2 weight-only", "dynamic", vnni, "blocks"),
    ]
    if vnni:
        found.append(Recipe("dynamic, unsigned, fc2 weight-only", "dynamic", fc2="blocks"))
    found.append(Recipe("weight-only", "weights"))
    if calibrated:
        found.append(Recipe("static, fc2 weight-only", "static", vnni, "blocks"))
    return found


def has_vnni() -> bool:
    """Whether this processor multiplies bytes without saturation. Where the system doesn't tell, no is safe."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def quantize(source: Path, target: Path, recipe: Recipe, calibration: list[np.ndarray] = ()) -> None:
    """Write the fp32 model at `source` by a recipe.

    Args:
        calibration: inputs of the graph, (1, …) each, for a static recipe.
    """
    with _quiet():
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

        model = onnx.load(source)
        del model.graph.value_info[:]  # the exporter's shapes are symbolic, and the quantiser stumbles over them
        second = fc2_nodes(model)
        if recipe.kind == "weights":
            _weight_only(model, target, leave=())
            return
        weights = QuantType.QInt8 if recipe.signed else QuantType.QUInt8
        kept = {"int8": [], "fp32": second[len(second) // 2 :], "blocks": second}[recipe.fc2]
        options = {
            "op_types_to_quantize": LINEAR,
            "per_channel": True,
            "weight_type": weights,
            "nodes_to_exclude": kept,
            "extra_options": {"MatMulConstBOnly": True},
        }
        if recipe.kind == "dynamic":
            quantize_dynamic(model, target, **options)
        else:
            # asymmetric inputs; a static graph with unsigned weights on both sides is no faster than fp32
            options["weight_type"] = QuantType.QInt8
            reader = _Reader(calibration)
            quantize_static(
                model,
                target,
                reader,
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                reduce_range=not recipe.signed,
                **options,
            )
        if recipe.fc2 == "blocks":
            half_way = onnx.load(target)
            names = {node.name for node in half_way.graph.node if node.op_type in LINEAR}
            _weight_only(half_way, target, leave=names - set(second))


def fc2_nodes(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes of the blocks' second MLP layers, in order."""
    return [
        node.name
        for node in model.graph.node
        if node.op_type in LINEAR and any(each.key == SCOPES and ".mlp.fc2'" in each.value for each in node.metadata_props)
    ]


def _weight_only(model: onnx.ModelProto, target: Path, leave: Iterable[str]) -> None:
    """8-bit weights with a scale for each block; inputs are rounded block by block as they come (accuracy level 4)."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(model, bits=8, block_size=BLOCK, is_symmetric=False, accuracy_level=4, nodes_to_exclude=list(leave))
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)


class _Reader:
    """What onnxruntime's calibration asks for its inputs."""

    def __init__(self, inputs: list[np.ndarray]):
        self._inputs: Iterator[np.ndarray] = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(({"image": each} for each in self._inputs), None)


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantisers set up the root logger when they are imported, and tell of every node."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, root.handlers[:], logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
