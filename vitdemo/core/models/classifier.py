"""The protocol of models that classify photos: a loaded Vit, or an exported bundle run by its own runtime."""

from typing import Protocol

import torch

from vitdemo.core.models.labels import Label
from vitdemo.core.photos.preprocessing import Preprocessing


class Classifier(Protocol):
    """A model in any runtime.

    Attributes:
        name: the model's name, for people.
        labels: one per class; empty for a model that returns features.
        preprocessing: the model's own way from a photo to its input.
    """

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> tuple[Label, ...]: ...

    @property
    def preprocessing(self) -> Preprocessing: ...

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Run the model: preprocessed images (images, 3, height, width) → logits (images, classes), or features (images, width)."""
        ...
