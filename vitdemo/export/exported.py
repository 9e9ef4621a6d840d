"""A bundle loaded back as its users run it: a core `Classifier` that calls the format's own runtime."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitdemo.core.errors import UserError
from vitdemo.core.models.labels import Label
from vitdemo.core.photos.preprocessing import Preprocessing
from vitdemo.export import runtimes
from vitdemo.export.formats import output_names
from vitdemo.export.report import Report


@dataclass(frozen=True, eq=False)
class Exported:
    """A loaded exported model.

    Attributes:
        name: name of its file.
        runtime: name and version of the runtime.
        baked: whether its graph takes uint8 crops.
        output: name of the graph's main output.
        run: the runtime's function from a batch to outputs by name.
    """

    name: str
    labels: tuple[Label, ...]
    preprocessing: Preprocessing
    runtime: str
    baked: bool
    output: str
    run: runtimes.Runner

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Run preprocessed images (images, 3, height, width) float32 → (images, classes), or features (images, width)."""
        inputs = self._crops(batch) if self.baked else batch.cpu().numpy()
        return torch.from_numpy(self.run(np.ascontiguousarray(inputs))[self.output])

    def _crops(self, batch: torch.Tensor) -> np.ndarray:
        """Undo the normalisation: return the pixels, (images, height, width, 3) uint8."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.preprocessing.mean, self.preprocessing.std))
        return ((batch.cpu() * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def load(folder: Path) -> Exported:
    """Load the model of a bundle that this app wrote.

    Raises: UserError where it can't be loaded.
    """
    try:
        report = Report.read(folder)
        labels = tuple(Label(**row) for row in json.loads((folder / "labels.json").read_text("utf-8")))
        recipe = json.loads((folder / "preprocessing.json").read_text("utf-8"))
        del recipe["input"]
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in recipe.items()}
        preprocessing = Preprocessing(**values)
        outputs = output_names(labels, report.plan)
        run = runtimes.open_model(folder / report.plan.file, report.plan, outputs)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        raise UserError("This bundle can't be loaded any more: export it again.") from None
    return Exported(report.plan.file, labels, preprocessing, report.runtime, report.plan.baked, outputs[0], run)
