"""The options of an export. Imports nothing heavy, so that the page and the command line can check the options before any work."""

from dataclasses import dataclass

from vitdemo.core.errors import UsageError

FILES = {"safetensors": "model.safetensors", "onnx": "model.onnx", "torchscript": "model.pt", "pt2": "model.pt2"}  # by format
PRECISIONS = {"fp32": 4.0, "fp16": 2.0, "int8": 1.7}  # approximate bytes per parameter: int8 leaves sensitive layers unquantised
EXTRAS = ("features", "attention")
KITS = {
    "fastapi": "onnx",
    "triton": "onnx",
    "kserve": "onnx",
    "ray": "onnx",
    "torchserve": "torchscript",
}  # serving kit → the format that it serves
PREFERENCES = ("fastest", "smallest")


@dataclass(frozen=True)
class Plan:
    """The options of one export.

    Attributes:
        format: a key of FILES.
        precision: a key of PRECISIONS; int8 only for ONNX.
        baked: whether the graph takes uint8 RGB crops, (batch, height, width, 3), and normalises them itself.
        extras: outputs in addition to the logits: the head's input features, and every layer's attention maps.
        kits: serving kits, keys of KITS.
        prefer: which int8 recipe to ship among those that agree with the original, the fastest or the smallest.

    Raises: UsageError for unknown options, and options that exclude each other.
    """

    format: str
    precision: str = "fp32"
    baked: bool = False
    extras: tuple[str, ...] = ()
    kits: tuple[str, ...] = ()
    prefer: str = "fastest"

    def __post_init__(self):
        _check_known("format", self.format, FILES)
        _check_known("precision", self.precision, PRECISIONS)
        _check_known("choice", self.prefer, PREFERENCES)
        for output in self.extras:
            _check_known("output", output, EXTRAS)
        for kit in self.kits:
            _check_known("serving kit", kit, KITS)
            if KITS[kit] != self.format:
                raise UsageError(f"{kit} serves {KITS[kit]}, not {self.format}: choose the format {KITS[kit]}, or another way to serve it.")
        if self.precision == "int8" and self.format != "onnx":
            raise UsageError(f"int8 is made for ONNX, not for {self.format}: choose the format onnx, or fp16.")
        if self.format == "safetensors" and (self.baked or self.extras):
            raise UsageError("SafeTensors hold weights, not a graph, so nothing can be built into them: choose onnx, torchscript or pt2.")

    @property
    def file(self) -> str:
        """The name of the model's file in the bundle."""
        return FILES[self.format]

    def expected_bytes(self, parameters: int) -> int:
        """Estimate the size of the model's file."""
        return int(parameters * PRECISIONS[self.precision])


def _check_known(what: str, name: str, known) -> None:
    if name not in known:
        raise UsageError(f"There is no {what} “{name}”: choose {', '.join(known)}.")
