"""Progress of long work."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class WorkProgress:
    """The progress of long work at one moment.

    Attributes:
        phase: name of the current phase, such as `photos` or `map`.
        done, total: steps of this phase that are done, and all its steps.
        speed: steps per second, 0 while unknown.
    """

    phase: str
    done: int
    total: int
    speed: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the end of the phase at this speed; None while the speed is unknown."""
        return (self.total - self.done) / self.speed if self.speed else None


class Clock:
    """Measures the speed of one phase, which starts when the clock is created."""

    def __init__(self, phase: str, total: int):
        self._phase, self._total, self._begin = phase, total, time.monotonic()

    def at(self, done: int) -> WorkProgress:
        """The progress after `done` steps."""
        seconds = time.monotonic() - self._begin
        return WorkProgress(self._phase, done, self._total, done / seconds if seconds > 0 else 0.0)
