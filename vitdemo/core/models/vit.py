"""A loaded Vision Transformer with its own preprocessing."""

from dataclasses import dataclass
from typing import Any

import torch

from vitdemo.core.models.adapter import Adapter
from vitdemo.core.models.catalogue import title_of, with_precision
from vitdemo.core.models.labels import Label
from vitdemo.core.models.ood import OodDetector
from vitdemo.core.photos.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Vit:
    """A loaded model with its own preprocessing.

    Attributes:
        name: timm's name with its tag, or a bundle's folder name.
        module: the network, of one of the adapter's families, in eval mode, frozen, on `device`.
        labels: one per class; empty for a feature backbone.
        preprocessing: the model's own.
        source: where the weights came from, for people to read.
        device: where the network is.
        parameters: number of parameters.
        ood: detects out-of-distribution photos; None where the model has no statistics for that.
        notes: what was done to the weights so that they fit, a sentence each.
        plain: whether plain timm opens the same files by the same name.
        precision: of the weights and the passes: fp32, bf16 or fp16 (`core/models/precision`).
        own_title: what the visitor whose model it is calls it; else empty.
    """

    name: str
    module: Any
    labels: tuple[Label, ...]
    preprocessing: Preprocessing
    source: str
    device: torch.device
    parameters: int
    ood: OodDetector | None = None
    notes: tuple[str, ...] = ()
    plain: bool = True
    precision: str = "fp32"
    own_title: str = ""

    @property
    def id(self) -> str:
        """The name, and the precision where it is not fp32: what files and answers call the model, such as `demo@bf16`."""
        return self.name if self.precision == "fp32" else f"{self.name}@{self.precision}"

    @property
    def title(self) -> str:
        """What the page calls the model: its visitor's title, or the catalogue's."""
        return self.own_title or title_of(self.name)

    @property
    def full_title(self) -> str:
        """The title, and the precision where it is not fp32."""
        return with_precision(self.title, "" if self.precision == "fp32" else self.precision)

    @property
    def reduced(self) -> str:
        """“ in bf16” and the like, for sentences; empty for fp32, which goes without saying."""
        return "" if self.precision == "fp32" else f" in {self.precision}"

    @property
    def introduction(self) -> str:
        """What the model is and where it came from, a line for a terminal."""
        return " ".join((f"{self.name} on {self.device}{self.reduced}, weights from {self.source}.", *self.notes))

    @property
    def bytes(self) -> int:
        """Memory that the weights take."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.module.parameters())

    @property
    def adapter(self) -> Adapter:
        """The network under names that all families share."""
        return Adapter(self.module)

    @property
    def patch(self) -> tuple[int, int]:
        """Width and height of a patch, in pixels."""
        return self.adapter.patch

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Run the model: (images, 3, height, width) → (images, classes)."""
        return self.module(batch)

    def logits_and_features(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the model: (images, 3, height, width) → logits (images, classes) and the head's inputs (images, width), in one pass."""
        tokens = self.module.forward_features(batch)
        return self.module.forward_head(tokens), self.module.forward_head(tokens, pre_logits=True)
