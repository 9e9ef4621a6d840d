"""Long work in child processes, through the same entry as the command line: told by events, stopped, killed, and found again.

A job lies in a folder of its own: the child writes its events there, one JSON object a line, and what it says on its standard error. So a
page that was reloaded, or an app that was started again, finds what is there. A child stops when its standard input closes, which is how it
is asked to stop, and how it learns that the app has died.
"""

import _thread
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.fair_queue import CROWDED, FairQueue
from vitdemo.core.niceness import lower_priority
from vitdemo.core.outputs import unwritable

ENTRY = (sys.executable, "-m", "vitdemo")
ROOT = Path(__file__).parents[3]
EVENTS_VARIABLE = "VITDEMO_EVENTS"  # tells a child which file its events go to
CHECKPOINT_VARIABLE = "VITDEMO_CHECKPOINT"  # the operator's model's: a child's may be another one, and its flags say all of it
EVENTS, ERRORS, STATE = "events.jsonl", "errors.txt", "job.json"
FINAL_STATES = ("done", "stopped", "failed")
GRACE_SECONDS = 30.0  # seconds that a child has to put its things in order once it is asked to stop
ROOM_CHECK_SECONDS = 2.0  # seconds between two looks at the room that a job takes
MAX_RUNNING = 1  # jobs at work; the others wait in line
log = logging.getLogger(__name__)
JOB_DIED = "The work ended before it was done, perhaps for want of memory: start it again."


def emit_event(event: dict) -> None:
    """In a child: tell whoever follows the job. Does nothing where the command was given by a person.

    An event of kind `error` has in its `text` the sentence that the command ends with.
    """
    if path := os.environ.get(EVENTS_VARIABLE):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def stop_with_parent() -> None:
    """In a child: leave the cores to short work, and stop as if by Ctrl-C once the standard input closes.

    Does nothing where the command was given by a person.
    """
    if EVENTS_VARIABLE not in os.environ:
        return
    lower_priority()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # an app begun in a script's background hands on that it is ignored

    def listen() -> None:
        while os.read(0, 1024):  # sys.stdin's own lock, held here, would keep the child from ending
            pass
        _thread.interrupt_main()

    threading.Thread(target=listen, name="attend", daemon=True).start()


@dataclass(eq=False)
class Job:
    """One piece of long work.

    Attributes:
        folder: its own, where its events lie, and what it makes if that has no other place.
        command: what would follow `python -m vitdemo`.
        state: `waiting` in line, `running`, then `done`, `stopped` or `failed`.
        error: why it failed, one sentence for people.
        crowded_out: it has to give way to other callers' jobs, before it could begin.
        tidy: clears up after a child that could not do so itself, before the job counts as over.
        check_room: raises a UserError where the job has come to take more room than there is, and ends it so.
    """

    folder: Path
    command: tuple[str, ...]
    state: str = "waiting"
    error: str = ""
    crowded_out: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen | None = None
    tidy: Callable[[], None] | None = None
    check_room: Callable[[], None] = lambda: None

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def over(self) -> bool:
        return self.state in FINAL_STATES

    def events(self, start: int = 0) -> list[dict]:
        """What the child has told, from number `start` on."""
        try:
            lines = (self.folder / EVENTS).read_text("utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[start:] if line.endswith("\n")]


class Jobs:
    """Runs jobs, one at a time; callers take turns."""

    def __init__(self, settings: Settings, entry: Sequence[str] = ENTRY):
        self.settings = settings
        self._entry = tuple(entry)
        self._jobs: dict[Path, Job] = {}
        self._line: FairQueue[Job] = FairQueue(settings.max_jobs)
        self._at_work: set[Job] = set()
        self._changed = threading.Condition()

    def start(
        self,
        command: Sequence[str],
        folder: Path,
        tidy: Callable[[], None] | None = None,
        check_room: Callable[[], None] = lambda: None,
        client: str = "",
    ) -> Job:
        """Begin, or queue up. A folder that holds an earlier job's work gets a new one, which may go on from there.

        Raises: UserError where too many wait already, where the folder's job is still at work, or where it can't be written.
        """
        job = Job(folder.resolve(), tuple(command), tidy=tidy, check_room=check_room)
        with self._changed:
            if (other := self._jobs.get(job.folder)) and not other.over:
                raise UserError("This is being worked on already: wait for it, or stop it first.")
            if (gone := self._line.join(job, client)) is job:
                raise UserError(f"The app is busy: {self.waiting} long jobs are waiting. Try again in a few minutes.")
            if gone:
                gone.crowded_out = True
            try:
                job.folder.mkdir(parents=True, exist_ok=True)
                for name in (EVENTS, ERRORS):
                    (job.folder / name).write_bytes(b"")
                self._note(job, "waiting")
            except OSError as error:
                self._line.remove(job)
                self._changed.notify_all()
                raise unwritable(job.folder, error) from None
            for gone in [each for each, other in self._jobs.items() if other.over and not each.is_dir()]:
                del self._jobs[gone]
            self._jobs[job.folder] = job
            self._admit()
        threading.Thread(target=self._work, args=(job,), name="job", daemon=True).start()
        return job

    def find(self, folder: Path) -> Job | None:
        """The job of this folder, also one that an earlier run of the app left there; None where there is none."""
        folder = folder.resolve()
        if job := self._jobs.get(folder):
            return job
        try:
            noted = json.loads((folder / STATE).read_text("utf-8"))
            job = Job(folder, tuple(noted["command"]), noted["state"], noted["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not job.over:
            job.state, job.error = "failed", JOB_DIED
        return job

    def place(self, job: Job) -> int:
        """How many are before it in the line."""
        with self._changed:
            return self._line.before(job) + 1 if job in self._line else 0

    @property
    def waiting(self) -> int:
        """How many are in the line and not at work."""
        return len(self._line)

    def stop(self, job: Job) -> None:
        """Ask it to end and keep what it has; one that does not listen is killed."""
        job.stopping.set()
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """The app is going: no job goes on without it."""
        for job in list(self._jobs.values()):
            job.stopping.set()
            if job.process and job.process.poll() is None:
                job.process.kill()

    def _work(self, job: Job) -> None:
        with self._changed:
            self._changed.wait_for(lambda: job in self._at_work or job.crowded_out or job.stopping.is_set())
        state, error, begun = "stopped", "", time.monotonic()
        try:
            if job.crowded_out:
                raise UserError(CROWDED)
            status = None if job.stopping.is_set() else self._run(job)
            if status == 0:
                state = "done"
            elif not job.stopping.is_set():
                state, error = "failed", _last_words(job)
        except UserError as reason:
            state, error = "failed", str(reason)
        except OSError as reason:
            state, error = "failed", f"The work could not be begun ({reason.strerror}): try again."
        with contextlib.suppress(OSError):  # its folder may be gone by now
            if job.tidy:
                job.tidy()
            self._note(job, state, error)
        job.error, job.state = error, state
        log.info("job", extra={"kind": job.command[0], "state": state, "seconds": round(time.monotonic() - begun, 3)})
        with self._changed:
            self._line.remove(job)
            self._at_work.discard(job)
            self._admit()

    def _admit(self) -> None:
        """Let the next one begin, where none is at work."""
        while self._line and len(self._at_work) < MAX_RUNNING:
            self._at_work.add(self._line.take())
        self._changed.notify_all()

    def _run(self, job: Job) -> int:
        """Run the child to its end. Returns its exit status."""
        environ = {name: value for name, value in os.environ.items() if name != CHECKPOINT_VARIABLE}
        environ |= {EVENTS_VARIABLE: str(job.folder / EVENTS), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with (job.folder / ERRORS).open("wb") as errors:
            job.process = subprocess.Popen(
                [*self._entry, *job.command],
                cwd=job.folder,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C in the app's terminal is the app's own matter
            )
        job.state = "running"
        self._note(job, "running")
        with job.process as process:
            looked = time.monotonic()
            while process.poll() is None:
                if job.stopping.wait(0.1):
                    process.stdin.close()
                    try:
                        process.wait(GRACE_SECONDS)
                    except subprocess.TimeoutExpired:
                        process.kill()
                elif time.monotonic() - looked > ROOM_CHECK_SECONDS:
                    looked = time.monotonic()
                    try:
                        job.check_room()
                    except UserError:
                        process.kill()
                        raise
            return process.wait()

    def _note(self, job: Job, state: str, error: str = "") -> None:
        """Write its state down, for an app that is started again."""
        text = json.dumps({"command": job.command, "state": state, "error": error})
        partial = job.folder / f"{STATE}.partial"
        partial.write_text(text, "utf-8")
        os.replace(partial, job.folder / STATE)


def _last_words(job: Job) -> str:
    """The sentence that the command ended with. A fault of ours is logged with what the child said of it."""
    if errors := [event["text"] for event in job.events() if event.get("kind") == "error"]:
        return errors[-1]
    log.error(
        "job %s ended with status %s: %s", job.command[:1], job.process.returncode, (job.folder / ERRORS).read_text("utf-8", "replace")
    )
    return JOB_DIED
