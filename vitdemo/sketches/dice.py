"""Random numbers that are the same on every machine and with every numpy version.

They use only PCG64's raw 64-bit stream, which numpy promises never to change; numpy's distributions may change between versions.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class StableRng:
    """Random numbers for one picture, determined by a seed ≥ 0 and a word."""

    def __init__(self, seed: int, word: str = "") -> None:
        self._raw = np.random.PCG64(np.random.SeedSequence([seed, int.from_bytes(word.encode())])).random_raw

    def uniform(self, low: float, high: float) -> float:
        """Return a number from low to high, uniformly distributed."""
        return low + (high - low) * (self._raw() >> 11) * 2.0**-53

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return low + self._raw() % (high - low + 1)

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.uniform(0, 1) < probability

    def choice(self, items: Sequence[T]) -> T:
        """Return one of the items, each equally likely."""
        return items[self._raw() % len(items)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in random order."""
        remaining = list(items)
        return [remaining.pop(self._raw() % len(remaining)) for _ in items]

    def bytes(self, rows: int, columns: int) -> np.ndarray:
        """Return (rows, columns) uint8, each value equally likely."""
        words = self._raw((rows * columns + 7) // 8).astype("<u8")
        return words.view(np.uint8)[: rows * columns].reshape(rows, columns)
