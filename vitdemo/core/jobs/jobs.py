"""Long jobs in child processes, started as commands of the command line: followed by events, stopped, killed, and found again.

Each job has a folder of its own. The child's events (one JSON object per line) and its standard error are written there. So a reloaded page
or a restarted app finds the job again. A child stops when its standard input closes: the app closes it to stop the child, and the system
closes it when the app dies.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.child import EVENTS_VARIABLE
from vitdemo.core.jobs.fair_slots import FairSlots
from vitdemo.core.outputs import unwritable

ENTRY = (sys.executable, "-m", "vitdemo")
ROOT = Path(__file__).parents[3]
OPERATORS_VARIABLES = ("VITDEMO_CHECKPOINT", "VITDEMO_LABELS")  # of the operator's model; a child's flags name its own model and weights
EVENTS, ERRORS, STATE = "events.jsonl", "errors.txt", "job.json"
FINAL_STATES = ("done", "stopped", "failed")
GRACE_SECONDS = 30.0  # from asking a child to stop until it is killed
ROOM_CHECK_SECONDS = 2.0  # between two checks of a job's disk use
MAX_RUNNING = 1  # jobs that run at a time; the others wait in the queue
log = logging.getLogger(__name__)
JOB_DIED = "The work ended before it was done, perhaps for want of memory: start it again."


@dataclass(eq=False)
class Job:
    """One long job.

    Attributes:
        folder: the job's own folder, for its events, and for its results unless they have another place.
        command: the arguments that follow `python -m vitdemo`.
        state: `waiting` in the queue, `running`, then `done`, `stopped` or `failed`.
        error: why the job failed, one sentence for people.
        stopping: is set to stop the job.
        process: the child, once it has started.
        tidy: cleans up for a child that could not do so itself, before the job counts as over.
        check_room: raises a UserError where the job takes more disk space than it may; the child is then killed.
    """

    folder: Path
    command: tuple[str, ...]
    state: str = "waiting"
    error: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen | None = None
    tidy: Callable[[], None] | None = None
    check_room: Callable[[], None] = lambda: None
    _ends: list[int] = field(
        default_factory=lambda: [0], init=False, repr=False
    )  # offsets in the file: its start, the end of each event read
    _reading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def id(self) -> str:
        """The name of the job's folder."""
        return self.folder.name

    @property
    def over(self) -> bool:
        """Whether the job is done, stopped or failed."""
        return self.state in FINAL_STATES

    def events(self, start: int = 0) -> list[dict]:
        """Return the child's events from number `start` ≥ 0 on. A line that is not JSON, as a full disk leaves it, is no event."""
        events: list[dict] = []
        with contextlib.suppress(FileNotFoundError), self._reading, (self.folder / EVENTS).open("rb") as file:
            first = min(start, len(self._ends) - 1)
            end = file.seek(self._ends[first])
            for line in file:
                if not line.endswith(b"\n"):  # the child is still writing it
                    break
                end += len(line)
                with contextlib.suppress(ValueError):
                    events.append(json.loads(line))
                    if first + len(events) == len(self._ends):
                        self._ends.append(end)
            return events[start - first :]
        return []


class Jobs:
    """Runs jobs, one at a time; clients take turns."""

    def __init__(self, settings: Settings, entry: Sequence[str] = ENTRY):
        self.settings = settings
        self._entry = tuple(entry)
        self._jobs: dict[Path, Job] = {}
        self._slots: FairSlots[Job] = FairSlots(MAX_RUNNING, settings.max_jobs, "long jobs")
        self._lock = threading.Lock()

    def start(
        self,
        command: Sequence[str],
        folder: Path,
        tidy: Callable[[], None] | None = None,
        check_room: Callable[[], None] = lambda: None,
        client: str = "",
    ) -> Job:
        """Queue a job; it runs when its turn comes. In a folder with an earlier job's work, the new job may resume that work.

        Raises: UserError where too many jobs wait, where the folder's job is not over yet, or where the folder can't be written.
        """
        job = Job(folder.resolve(), tuple(command), tidy=tidy, check_room=check_room)
        with self._lock:
            if (earlier := self._jobs.get(job.folder)) and not earlier.over:
                raise UserError("This is being worked on already: wait for it, or stop it first.")
            self._slots.put(job, client)
            try:
                job.folder.mkdir(parents=True, exist_ok=True)
                for name in (EVENTS, ERRORS):
                    (job.folder / name).write_bytes(b"")
                self._save_state(job, "waiting")
            except OSError as error:
                self._slots.leave(job)
                raise unwritable(job.folder, error) from None
            for removed in [path for path, other in self._jobs.items() if other.over and not path.is_dir()]:
                del self._jobs[removed]
            self._jobs[job.folder] = job
        threading.Thread(target=self._run_job, args=(job,), name="job", daemon=True).start()
        return job

    def find(self, folder: Path) -> Job | None:
        """Return the job of this folder, also one that an earlier run of the app left there; None where there is none."""
        folder = folder.resolve()
        if job := self._jobs.get(folder):
            return job
        try:
            saved = json.loads((folder / STATE).read_text("utf-8"))
            job = Job(folder, tuple(saved["command"]), saved["state"], saved["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not job.over:
            job.state, job.error = "failed", JOB_DIED
        return job

    def place(self, job: Job) -> int:
        """Return how many jobs are ahead of this one, the running job included; 0 where the job is not in the queue."""
        return self._slots.position(job)

    @property
    def waiting(self) -> int:
        """How many jobs are in the queue, the running job not counted."""
        return len(self._slots.waiting)

    def stop(self, job: Job) -> None:
        """Ask a job to stop and keep what it has written. A child that doesn't stop within `GRACE_SECONDS` is killed."""
        job.stopping.set()

    def close(self) -> None:
        """Stop all jobs and kill their children, because the app is closing."""
        for job in list(self._jobs.values()):
            job.stopping.set()
            if job.process and job.process.poll() is None:
                job.process.kill()

    def _run_job(self, job: Job) -> None:
        state, error, begin = "stopped", "", time.monotonic()
        try:
            self._slots.wait(job, job.stopping)
            begin = time.monotonic()
            status = None if job.stopping.is_set() else self._run_child(job)
            if status == 0:
                state = "done"
            elif not job.stopping.is_set():
                state, error = "failed", _failure_message(job)
        except UserError as reason:
            state, error = "failed", str(reason)
        except OSError as reason:
            state, error = "failed", f"The work could not be begun ({reason.strerror}): try again."
        except Exception:  # a fault of ours must not leave the job running for ever
            log.exception("job %s", job.command[:1])
            state, error = "failed", JOB_DIED
        try:
            with contextlib.suppress(OSError):  # the job's folder may have been removed
                if job.tidy:
                    job.tidy()
                self._save_state(job, state, error)
        except Exception:
            log.exception("after job %s", job.command[:1])
        job.error, job.state = error, state
        log.info("job", extra={"kind": job.command[0], "state": state, "seconds": round(time.monotonic() - begin, 3)})
        self._slots.leave(job)

    def _run_child(self, job: Job) -> int:
        """Run a job's child process until it exits. Returns its exit status. Raises: UserError as `job.check_room`."""
        environ = {name: value for name, value in os.environ.items() if name not in OPERATORS_VARIABLES}
        environ |= {EVENTS_VARIABLE: str(job.folder / EVENTS), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with (job.folder / ERRORS).open("wb") as errors:
            job.process = subprocess.Popen(
                [*self._entry, *job.command],
                cwd=job.folder,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C in the app's terminal must reach only the app
            )
        job.state = "running"
        with job.process as process:
            with contextlib.suppress(OSError):  # a full disk: a restarted app then knows no more than that the job was waiting
                self._save_state(job, "running")
            checked = time.monotonic()
            while process.poll() is None:
                if job.stopping.wait(0.1):
                    assert process.stdin is not None  # it is a pipe
                    process.stdin.close()
                    try:
                        process.wait(GRACE_SECONDS)
                    except subprocess.TimeoutExpired:
                        process.kill()
                elif time.monotonic() - checked > ROOM_CHECK_SECONDS:
                    checked = time.monotonic()
                    try:
                        job.check_room()
                    except UserError:
                        process.kill()
                        raise
            return process.wait()

    def _save_state(self, job: Job, state: str, error: str = "") -> None:
        """Write a job's state to its folder, for a restarted app."""
        text = json.dumps({"command": job.command, "state": state, "error": error})
        partial = job.folder / f"{STATE}.partial"
        partial.write_text(text, "utf-8")
        os.replace(partial, job.folder / STATE)


def _failure_message(job: Job) -> str:
    """Return the sentence that the command ended with. Where there is none, log the child's standard error and return `JOB_DIED`."""
    if errors := [event["text"] for event in job.events() if event.get("kind") == "error"]:
        return errors[-1]
    assert job.process is not None  # the child has run
    log.error(
        "job %s ended with status %s: %s", job.command[:1], job.process.returncode, (job.folder / ERRORS).read_text("utf-8", "replace")
    )
    return JOB_DIED
