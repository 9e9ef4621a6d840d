"""Waiting for conditions, never for a time."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until a condition holds. Fails where it does not within so many seconds, which a busy machine may need."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)  # between two looks


def finished(work: Coroutine) -> Any:
    """The result of a coroutine, in a thread of its own: the browser's driver has a loop at work in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
