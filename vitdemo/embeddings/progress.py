"""How far long work has come."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class WorkProgress:
    """One step of long work.

    Attributes:
        phase: what is being done, such as `photos` or `map`.
        done, total: of this phase.
        speed: done per second, 0 where that is not known yet.
    """

    phase: str
    done: int
    total: int
    speed: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the phase is over, at this speed."""
        return (self.total - self.done) / self.speed if self.speed else None


class Clock:
    """Makes the steps of one phase, whose time runs from here on."""

    def __init__(self, phase: str, total: int):
        self._phase, self._total, self._begin = phase, total, time.monotonic()

    def at(self, done: int) -> WorkProgress:
        seconds = time.monotonic() - self._begin
        return WorkProgress(self._phase, done, self._total, done / seconds if seconds > 0 else 0.0)
