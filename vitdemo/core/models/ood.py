"""Out-of-distribution detection: is a photo unlike everything the model was trained on?

The score is the Mahalanobis distance to the nearest class mean, under one covariance shared by all classes (Lee et al. 2018,
arXiv:1807.03888), of the head's input features. A bundle may hold the statistics in `familiarity.safetensors`, next to its weights.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vitdemo.core.errors import UserError

FILE_NAME = "familiarity.safetensors"
SMALLEST_SHRINKAGE = 1e-3  # keeps directions of tiny variance from dominating


@dataclass(frozen=True, eq=False)
class OodDetector:
    """Statistics of the training classes' features.

    Attributes:
        means: (classes, width), the mean features of each class.
        whitening: (width, width), maps the shared covariance to the identity.
        limit: the distance beyond which a photo is unlike everything the model was trained on.
        refuses: whether the model names no class for such a photo.
    """

    means: torch.Tensor
    whitening: torch.Tensor
    limit: float
    refuses: bool = False

    @classmethod
    def fit(cls, features: torch.Tensor, targets: torch.Tensor, fresh: torch.Tensor, share: float) -> "OodDetector":
        """Compute the statistics of labelled features, and the limit from features that are not among them.

        Args:
            features: (N, width).
            targets: (N,), the class indices of `features`.
            fresh: (M, width).
            share: share of `fresh` that lies within the limit, 0 … 1.
        """
        unlimited = cls._unlimited(features, targets)
        return replace(unlimited, limit=_quantile(unlimited.distance(fresh), share))

    @classmethod
    def cross_validated(cls, features: torch.Tensor, targets: torch.Tensor, folds: torch.Tensor, share: float) -> "OodDetector":
        """As `fit`, where no other features are left for the limit: each fold's distances are to the statistics of the other folds.

        Args:
            folds: (N,) the fold of each row of `features`; no fold holds all rows of a class.
        """
        distances = torch.empty(len(features))
        for fold in folds.unique():
            held = folds == fold
            distances[held] = cls._unlimited(features[~held], targets[~held]).distance(features[held])
        return replace(cls._unlimited(features, targets), limit=_quantile(distances, share))

    @classmethod
    def _unlimited(cls, features: torch.Tensor, targets: torch.Tensor) -> "OodDetector":
        from sklearn.covariance import ledoit_wolf_shrinkage

        classes = int(targets.max()) + 1
        means = torch.stack([features[targets == label].mean(0) for label in range(classes)])
        spread = torch.cat([_contrasts(features[targets == label]) for label in range(classes)])
        covariance = spread.T @ spread / max(1, len(spread))
        # few photos say little of most directions: the fewer, the more all directions count alike (Ledoit and Wolf 2004)
        shrinkage = max(SMALLEST_SHRINKAGE, float(ledoit_wolf_shrinkage(spread.double().numpy(), assume_centered=True)))
        alike = torch.eye(len(covariance)) * covariance.diagonal().mean().clamp(min=1e-12)
        covariance = (1 - shrinkage) * covariance + shrinkage * alike
        return cls(means, torch.linalg.inv(torch.linalg.cholesky(covariance)).T, float("inf"))

    def distance(self, features: torch.Tensor) -> torch.Tensor:
        """Return the distance to the nearest class mean, in standard deviations: (B, width) → (B,)."""
        return torch.cdist(features @ self.whitening, self.means @ self.whitening).amin(-1)

    def is_unfamiliar(self, features: torch.Tensor) -> bool:
        """Whether one photo, by its features (width,), is unlike everything the model was trained on."""
        return bool(self.distance(features[None])[0] > self.limit)

    def note(self, features: torch.Tensor) -> str:
        """A sentence where one photo, by its features (width,), is unlike everything the model was trained on; else empty."""
        if not self.is_unfamiliar(features):
            return ""
        return f"Unlike anything the model was trained on: {'it refuses to answer' if self.refuses else 'its answer is a guess'}."

    def save(self, folder: Path) -> None:
        """Write the statistics to a bundle's folder."""
        save_file(
            {
                "means": self.means.contiguous(),
                "whitening": self.whitening.contiguous(),
                "limit": torch.tensor(self.limit),
                "refuses": torch.tensor(self.refuses),
            },
            folder / FILE_NAME,
        )

    @classmethod
    def load(cls, folder: Path) -> "OodDetector | None":
        """Read the statistics from a bundle's folder; None where the bundle has none.

        Raises: UserError where the file can't be used.
        """
        if not (folder / FILE_NAME).is_file():
            return None
        try:
            state = load_file(folder / FILE_NAME)
            return cls(state["means"], state["whitening"], state["limit"].item(), "refuses" in state and bool(state["refuses"]))
        except (SafetensorError, KeyError, ValueError, RuntimeError, OSError):
            raise UserError(f"{folder / FILE_NAME} can't be used: export the model again, or remove that file.") from None


def _contrasts(features: torch.Tensor) -> torch.Tensor:
    """Return what (N, width) features of one class say of its spread: (N - 1, width) independent rows, whose mean is known to be 0.

    Each is the difference from the mean of those before, to scale (Helmert's contrasts). The differences from the class's mean would be N
    rows that depend on each other: those of few photos make the spread look better known than it is.
    """
    before = torch.arange(1, len(features), dtype=torch.float64)[:, None]
    means = features.double().cumsum(0)[:-1] / before
    return ((features[1:] - means) * (before / (before + 1)).sqrt()).float()


def _quantile(distances: torch.Tensor, share: float) -> float:
    return float(distances.sort().values[min(len(distances) - 1, int(share * len(distances)))])
