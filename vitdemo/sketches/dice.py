"""Chance that falls the same way everywhere.

Only PCG64's raw 64-bit stream is used, the one numpy promises never to change; its distributions may change between versions.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class StableRng:
    """Random numbers for one picture, fixed by a seed ≥ 0 and a word."""

    def __init__(self, seed: int, word: str = "") -> None:
        self._raw = np.random.PCG64(np.random.SeedSequence([seed, int.from_bytes(word.encode())])).random_raw

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * (self._raw() >> 11) * 2.0**-53

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + self._raw() % (high - low + 1)

    def chance(self, probability: float) -> bool:
        return self.uniform(0, 1) < probability

    def choice(self, items: Sequence[T]) -> T:
        return items[self._raw() % len(items)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        left = list(items)
        return [left.pop(self._raw() % len(left)) for _ in items]

    def bytes(self, rows: int, columns: int) -> np.ndarray:
        """(rows, columns) uint8, each value equally likely."""
        words = self._raw((rows * columns + 7) // 8).astype("<u8")
        return words.view(np.uint8)[: rows * columns].reshape(rows, columns)
