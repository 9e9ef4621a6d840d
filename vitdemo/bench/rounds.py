"""Sides that take turns in one process, so that a slow phase of the machine meets all of them alike; and those that are left out."""

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping

WARM = 2  # rounds that are not counted: what a first pass sets up, and what a second still lays out anew


def in_turns(sides: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Run every side `runs` times after the warm-up, in an order that rotates. Returns: the seconds of each side, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for number in range(WARM + runs):
        for name in order[number % len(order) :] + order[: number % len(order)]:
            begin = time.perf_counter()
            sides[name]()
            if number >= WARM:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def ratio(one: list[float], other: list[float]) -> float:
    """How many times as long one side takes as the other: the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def is_installed(name: str) -> bool:
    """Whether a package that only benches need is there, by its name as people write it; print a sentence where it is not."""
    found = importlib.util.find_spec(name.lower()) is not None
    if not found:
        print(f"{name} is left out: it is not installed (requirements-bench.txt)", flush=True)
    return found


def left_out(error: BaseException) -> str:
    """The first line of an error, short enough to be printed."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
