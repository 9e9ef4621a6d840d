"""The sides of a bench, each in a process of its own, which gives its peak memory; they take turns, so that all see the same machine."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


class Side:
    """A process that gets ready, then times its work for each line it is sent.

    Args:
        module: a bench that calls `serve` with the task when it is run.
        task: what this side is to do, fit for JSON.

    Attributes:
        seconds: of each turn.
        found: what the latest turn gave.
    """

    def __init__(self, module: str, *task):
        command = [sys.executable, "-m", module, json.dumps(task)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: list[float] = []
        self.found = None
        self._ask("warm")

    def time(self) -> float:
        """Let it work once more. Returns: the seconds it took."""
        seconds, self.found = self._ask("go")
        self.seconds.append(seconds)
        return seconds

    def end(self) -> dict:
        """Returns: all seconds, and the most memory it had, in megabytes."""
        _, peak = self._ask("peak")
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        return {"seconds": self.seconds, "peak_mb": peak}

    def _ask(self, word: str) -> tuple[float, object]:
        print(word, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("a side of the bench has failed; its last words are above")
        return json.loads(answer)


def serve(warm: Callable[[], object], work: Callable[[], object]) -> None:
    """What the process of a side does: `warm` once, then `work` for each turn; what that returns must be fit for JSON."""
    for line in sys.stdin:
        begin = time.perf_counter()
        found = {"warm\n": warm, "go\n": work, "peak\n": peak_mb}[line]()
        print(json.dumps((time.perf_counter() - begin, found)), flush=True)


def peak_mb() -> float | None:
    """The most memory this process has had, in megabytes; unlike getrusage's figure it leaves out the parent's. None where no one tells."""
    try:
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e6
    except OSError:
        return None
