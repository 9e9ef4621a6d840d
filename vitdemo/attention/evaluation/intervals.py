"""Means with 95 % bootstrap intervals over photos: a difference counts only where its interval leaves out 0."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A mean over photos, and the 95 % bootstrap interval around it."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or −1 where the whole interval lies above or below 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval(values: Sequence[float], seed: int = 0) -> Interval | None:
    """The mean of one value per photo, with its interval; values that are NaN are left out. None where nothing is left."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    if not len(known):
        return None
    drawn = np.random.default_rng(seed).integers(0, len(known), (DRAWS, len(known)))
    low, high = np.percentile(known[drawn].mean(1), [2.5, 97.5])
    return Interval(float(known.mean()), float(low), float(high))


def paired(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Interval | None:
    """The mean difference on the same photos, ours − theirs, with its interval."""
    return interval(np.asarray(ours, float) - np.asarray(theirs, float), seed)
