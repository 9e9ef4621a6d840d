"""What is to be exported. Imports nothing heavy, so that the page and the command line can ask before any work."""

from dataclasses import dataclass

from vitdemo.core.errors import UsageError

FILES = {"safetensors": "model.safetensors", "onnx": "model.onnx", "torchscript": "model.pt", "pt2": "model.pt2"}  # by format
PRECISIONS = {"fp32": 4.0, "fp16": 2.0, "int8": 1.7}  # about so many bytes per parameter: int8 leaves the most sensitive layers as they are
EXTRAS = ("features", "attention")
KITS = {
    "fastapi": "onnx",
    "triton": "onnx",
    "kserve": "onnx",
    "ray": "onnx",
    "torchserve": "torchscript",
}  # and the format each of them serves
PREFERENCES = ("fastest", "smallest")


@dataclass(frozen=True)
class Plan:
    """One export.

    Attributes:
        format: a key of FILES.
        precision: a key of PRECISIONS; int8 for ONNX alone.
        baked: the graph takes uint8 RGB crops, (batch, height, width, 3), and normalises them itself.
        extras: outputs beside the logits: what goes into the head, and every layer's attention maps.
        kits: what to serve it with, keys of KITS.
        prefer: of the int8 recipes that agree with the original, the fastest or the smallest.

    Raises: UsageError for what can't go together.
    """

    format: str
    precision: str = "fp32"
    baked: bool = False
    extras: tuple[str, ...] = ()
    kits: tuple[str, ...] = ()
    prefer: str = "fastest"

    def __post_init__(self):
        _known("format", self.format, FILES)
        _known("precision", self.precision, PRECISIONS)
        _known("choice", self.prefer, PREFERENCES)
        for each in self.extras:
            _known("output", each, EXTRAS)
        for each in self.kits:
            _known("serving kit", each, KITS)
            if KITS[each] != self.format:
                raise UsageError(
                    f"{each} serves {KITS[each]}, not {self.format}: choose the format {KITS[each]}, or another way to serve it."
                )
        if self.precision == "int8" and self.format != "onnx":
            raise UsageError(f"int8 is made for ONNX, not for {self.format}: choose the format onnx, or fp16.")
        if self.format == "safetensors" and (self.baked or self.extras):
            raise UsageError("SafeTensors hold weights, not a graph, so nothing can be built into them: choose onnx, torchscript or pt2.")

    @property
    def file(self) -> str:
        """The name of the model's file in the bundle."""
        return FILES[self.format]

    def expected_bytes(self, parameters: int) -> int:
        """About how large the model's file will be."""
        return int(parameters * PRECISIONS[self.precision])


def _known(what: str, given: str, known) -> None:
    if given not in known:
        raise UsageError(f"There is no {what} “{given}”: choose {', '.join(known)}.")
