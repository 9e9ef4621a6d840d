"""Is this photo like anything the model was trained on? Its distance to the features of the training classes tells.

Mahalanobis distance to the nearest class mean under one covariance shared by all classes (Lee et al. 2018, arXiv:1807.03888), on the
features that go into the head. A bundle may carry the statistics in `familiarity.safetensors`, beside its weights.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vitdemo.core.errors import UserError

FILE_NAME = "familiarity.safetensors"


@dataclass(frozen=True, eq=False)
class OodDetector:
    """The training classes' statistics.

    Attributes:
        means: (classes, width), one mean feature a class.
        whitening: (width, width), which makes the shared covariance the identity.
        limit: the distance beyond which a photo is unlike anything the model was trained on.
    """

    means: torch.Tensor
    whitening: torch.Tensor
    limit: float

    @classmethod
    def fit(cls, features: torch.Tensor, targets: torch.Tensor, fresh: torch.Tensor, share: float) -> "OodDetector":
        """Statistics of `features` (N, width) with class indices `targets` (N,), and the limit that `share` of `fresh` (M, width) keep."""
        means = torch.stack([features[targets == label].mean(0) for label in range(int(targets.max()) + 1)])
        spread = features - means[targets]
        covariance = spread.T @ spread / len(spread)
        covariance += torch.eye(len(covariance)) * covariance.diagonal().mean() * 1e-3  # keeps flat directions from deciding alone
        whitening = torch.linalg.inv(torch.linalg.cholesky(covariance)).T
        unlimited = cls(means, whitening, float("inf"))
        return cls(means, whitening, unlimited.distance(fresh).quantile(share).item())

    def distance(self, features: torch.Tensor) -> torch.Tensor:
        """(B, width) → (B,): the distance to the nearest class mean, in standard deviations."""
        return torch.cdist(features @ self.whitening, self.means @ self.whitening).amin(-1)

    def save(self, folder: Path) -> None:
        save_file(
            {"means": self.means.contiguous(), "whitening": self.whitening.contiguous(), "limit": torch.tensor(self.limit)},
            folder / FILE_NAME,
        )

    @classmethod
    def load(cls, folder: Path) -> "OodDetector | None":
        """The statistics in a bundle's folder; None if it has none.

        Raises: UserError where the file can't be used.
        """
        if not (folder / FILE_NAME).is_file():
            return None
        try:
            state = load_file(folder / FILE_NAME)
            return cls(state["means"], state["whitening"], state["limit"].item())
        except (SafetensorError, KeyError, ValueError, RuntimeError, OSError):
            raise UserError(f"{folder / FILE_NAME} can't be used: export the model again, or remove that file.") from None
