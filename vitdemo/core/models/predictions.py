"""A model's predictions for a photo."""

from dataclasses import dataclass

import torch

from vitdemo.core.models.labels import Label


@dataclass(frozen=True)
class Prediction:
    """One class with its probability (softmax over all classes, 0 … 1)."""

    label: Label
    probability: float

    def as_row(self) -> dict:
        """Return the prediction as a dict, fit for JSON."""
        return {"index": self.label.index, "label": self.label.name, "synset": self.label.synset, "probability": self.probability}


def not_finite(photo: str = "this photo") -> str:
    """The error sentence for a photo for which the model computes NaN or infinity."""
    return f"The model gives no finite numbers for {photo}: its weights may be damaged, or too large for fp16. Choose another, or fp32."


def top_classes(logits: torch.Tensor, labels: tuple[Label, ...], top: int) -> list[Prediction]:
    """Return the `top` most likely classes of one row of logits (classes,), best first; all classes if there are fewer."""
    probabilities, indices = logits.softmax(-1).topk(min(top, len(labels)))
    return [Prediction(labels[index], probability) for index, probability in zip(indices.tolist(), probabilities.tolist(), strict=True)]
