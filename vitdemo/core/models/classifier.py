"""What can be asked what a photo shows: a loaded Vit, or an exported bundle run by its own runtime."""

from typing import Protocol

import torch

from vitdemo.core.models.labels import Label
from vitdemo.core.photos.preprocessing import Preprocessing


class Classifier(Protocol):
    """A model, whatever runs it.

    Attributes:
        name: what people call it.
        labels: one per class; empty where it gives features.
        preprocessing: its own way from a photo to its input.
    """

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> tuple[Label, ...]: ...

    @property
    def preprocessing(self) -> Preprocessing: ...

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """(images, 3, height, width), preprocessed → (images, classes), or (images, width) of features."""
        ...
