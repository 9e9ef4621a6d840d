"""The sides of a bench, each in a process of its own, which reports its peak memory. They take turns, so that conditions are the same."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Side:
    """A process that prepares its work, then runs and times the work for each line that it receives.

    Args:
        module: a bench that, when run as a program, calls `serve` for the task.
        task: the side's arguments, JSON-compatible.

    Attributes:
        seconds: seconds of each turn.
        cpu_seconds: seconds of all cores in each turn, which other processes disturb less.
        found: result of the latest turn.
    """

    def __init__(self, module: str, *task):
        command = [sys.executable, "-m", module, json.dumps(task)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None  # a pipe
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.found: Any = None
        self._ask("warm")

    def time(self) -> float:
        """Run the work once. Returns: the seconds it took."""
        _, before = self._ask("cpu")
        seconds, self.found = self._ask("go")
        _, after = self._ask("cpu")
        self.seconds.append(seconds)
        self.cpu_seconds.append(after - before)
        return seconds

    def end(self) -> dict:
        """End the process. Returns: the seconds and CPU seconds of all turns, and the peak memory in megabytes."""
        _, peak = self._ask("peak")
        self._stdin.close()
        self._process.wait()
        self._stdout.close()
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_mb": peak}

    def _ask(self, word: str) -> tuple[float, Any]:
        print(word, file=self._stdin, flush=True)
        answer = self._stdout.readline()
        if not answer:
            raise RuntimeError("a side of the bench has failed; its last words are above")
        return json.loads(answer)


def serve(warm: Callable[[], object], work: Callable[[], object]) -> None:
    """Answer the bench from a side's process: `warm` runs once, then `work` for each turn; their results must be JSON-compatible."""
    for line in sys.stdin:
        begin = time.perf_counter()
        result = {"warm\n": warm, "go\n": work, "peak\n": peak_mb, "cpu\n": time.process_time}[line]()
        print(json.dumps((time.perf_counter() - begin, result)), flush=True)


def peak_mb(process: int | str = "self") -> float | None:
    """Return a process's peak memory in megabytes, unlike getrusage's figure without the parent's; None where it isn't reported."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return None
    return 1024 * int(found[1]) / 1e6 if found else None
