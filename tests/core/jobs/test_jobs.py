"""Long work in child processes: events, the line, Stop, a death in the middle, a new start of the app."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from tests.support.apps import ROOT
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.fair_queue import CROWDED
from vitdemo.core.jobs.jobs import ENTRY, JOB_DIED, Job, Jobs
from vitdemo.core.niceness import NICE_STEPS

CHILD = """
import sys, time
from vitdemo.core.jobs.child import emit_event, stop_with_parent
stop_with_parent()
for number in range(int(sys.argv[1])):
    emit_event({"number": number})
try:
    if len(sys.argv) > 2:
        exec(sys.argv[2])
except KeyboardInterrupt:
    emit_event({"kept": True})
    sys.exit(130)
"""
FOREVER = "while True: time.sleep(0.05)"  # work that ends by being stopped


@pytest.fixture
def jobs():
    jobs = Jobs(Settings(max_jobs=2), (sys.executable, "-c", CHILD))
    yield jobs
    jobs.close()


def test_events_arrive_in_order(jobs, tmp_path):
    job = jobs.start(["3"], tmp_path / "job")
    until(lambda: job.over)
    assert (job.state, job.error) == ("done", "")
    assert job.events() == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert job.events(2) == [{"number": 2}]


def test_events_from_any_number_on_while_they_grow(jobs, tmp_path):
    """As several pages poll: each from the number of events that it has."""
    job, file = Job(tmp_path, ()), tmp_path / "events.jsonl"
    assert job.events() == job.events(3) == []
    for count in (0, 1, 4, 5):
        file.write_text("".join(f'{{"number": {number}, "text": "é"}}\n' for number in range(count)) + '{"number": ', "utf-8")
        for start in (7, 2, 0, 4, 1, 5, 0):
            assert [event["number"] for event in job.events(start)] == list(range(start, count))
    job.events()[0].clear()
    assert job.events()[0] == {"number": 0, "text": "é"}
    file.unlink()
    assert job.events() == []


def test_an_ended_job_is_the_same_as_long_as_its_folder_is_there(jobs, tmp_path):
    kept, removed = (jobs.start(["1"], tmp_path / name) for name in ("kept", "removed"))
    until(lambda: kept.over and removed.over)
    shutil.rmtree(removed.folder)
    other = jobs.start(["1"], tmp_path / "other")
    until(lambda: other.over)
    assert jobs.find(kept.folder) is kept
    assert jobs.find(removed.folder) is None


@pytest.mark.parametrize(
    "line",
    ['{"number": 9{"kind": "note"}', "\ufffd\x00", '{"kind": "error"}', "[]"],
    ids=["two in one", "no JSON", "an error without its sentence", "no object"],
)
def test_a_malformed_event_does_not_keep_a_job_running(jobs, tmp_path, line):
    job = jobs.start(["1", f"open('events.jsonl', 'a').write({line!r} + '\\n'); sys.exit(1)"], tmp_path / "a")
    behind = jobs.start(["2"], tmp_path / "b")
    until(lambda: behind.over)
    assert (job.state, job.error, behind.state) == ("failed", JOB_DIED, "done")
    assert job.events(0)[0] == {"number": 0}


def test_one_at_a_time_and_each_knows_its_place(jobs, tmp_path):
    first, second, third = (jobs.start(["1", FOREVER], tmp_path / name) for name in "abc")
    until(lambda: first.events())
    assert [jobs.place(each) for each in (first, second, third)] == [0, 1, 2]
    assert (second.state, second.events()) == ("waiting", [])
    with pytest.raises(UserError, match="the queue for long jobs is full, with 2 waiting"):
        jobs.start(["1"], tmp_path / "d")
    jobs.stop(second)
    until(lambda: second.over)
    assert second.state == "stopped"
    assert jobs.place(third) == 1
    jobs.stop(first)
    until(lambda: third.events())
    assert (first.state, third.state, jobs.place(third)) == ("stopped", "running", 0)


def test_callers_take_turns_and_who_has_most_gives_way(jobs, tmp_path):
    first, second, third = (jobs.start(["1", FOREVER], tmp_path / name, client="10.0.0.9") for name in "abc")
    until(lambda: first.events())
    other = jobs.start(["1", FOREVER], tmp_path / "d", client="10.0.0.7")
    until(lambda: third.over)
    assert (third.state, third.error, third.events()) == ("failed", CROWDED, [])
    assert [jobs.place(each) for each in (first, second, other)] == [0, 1, 2]
    with pytest.raises(UserError, match="the queue for long jobs is full, with 2 waiting"):
        jobs.start(["1"], tmp_path / "e", client="10.0.0.9")
    assert not (tmp_path / "e").exists()
    jobs.stop(first)
    until(lambda: second.events())
    last = jobs.start(["1", FOREVER], tmp_path / "f", client="10.0.0.9")
    assert [jobs.place(each) for each in (second, other, last)] == [0, 1, 2]
    for job in (second, other, last):
        jobs.stop(job)


def test_a_folder_that_can_not_be_written_holds_no_place(jobs, tmp_path):
    (tmp_path / "file").write_text("")
    for _ in range(5):
        with pytest.raises(UserError, match="can't be written"):
            jobs.start(["1"], tmp_path / "file" / "job")
    job = jobs.start(["1"], tmp_path / "job")
    until(lambda: job.over)
    assert job.state == "done"


def test_stop_lets_the_child_put_its_things_in_order(jobs, tmp_path):
    job = jobs.start(["1", FOREVER], tmp_path)
    until(lambda: job.events())
    jobs.stop(job)
    until(lambda: job.over)
    assert (job.state, job.events()) == ("stopped", [{"number": 0}, {"kept": True}])


def test_a_child_of_an_app_in_the_background_stops_as_well(jobs, tmp_path):
    """A shell's script makes what it begins with & deaf to Ctrl-C, and children inherit that."""
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = jobs.start(["1", FOREVER], tmp_path)
        until(lambda: job.events())
    finally:
        signal.signal(signal.SIGINT, heard)
    jobs.stop(job)
    until(lambda: job.over, 20)
    assert (job.state, job.events()) == ("stopped", [{"number": 0}, {"kept": True}])


def test_a_child_that_does_not_listen_is_killed(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr("vitdemo.core.jobs.jobs.GRACE_SECONDS", 0.2)
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); emit_event({})"
    job = jobs.start(["0", f"{deaf}\n{FOREVER}"], tmp_path)
    until(lambda: job.events())
    jobs.stop(job)
    until(lambda: job.over)
    assert (job.state, job.process.returncode) == ("stopped", -signal.SIGKILL)


def test_what_a_killed_child_has_left_is_cleared_before_the_end(jobs, tmp_path):
    job = jobs.start(["1", FOREVER], tmp_path / "job", lambda: (tmp_path / "half").unlink())
    (tmp_path / "half").write_text("half")
    until(lambda: job.events())
    os.kill(job.process.pid, signal.SIGKILL)
    until(lambda: job.over)
    assert not (tmp_path / "half").exists()


def test_the_operators_checkpoint_is_no_childs(jobs, tmp_path, monkeypatch):
    monkeypatch.setenv("VITDEMO_CHECKPOINT", "weights.safetensors")
    job = jobs.start(["0", "import os; emit_event({'there': 'VITDEMO_CHECKPOINT' in os.environ})"], tmp_path)
    until(lambda: job.over)
    assert job.events() == [{"there": False}]


def test_a_sentence_on_the_way_out_is_the_error(jobs, tmp_path):
    job = jobs.start(["0", "emit_event({'kind': 'error', 'text': 'That is too small.'}); sys.exit(1)"], tmp_path)
    until(lambda: job.over)
    assert (job.state, job.error) == ("failed", "That is too small.")


def test_a_job_that_takes_too_much_room_ends_with_the_sentence(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr("vitdemo.core.jobs.jobs.ROOM_CHECK_SECONDS", 0.1)

    def check_room() -> None:
        if (tmp_path / "large").exists():
            raise UserError("This would take too much.")

    job = jobs.start(["0", f"open('large', 'w').close(); emit_event({{}})\n{FOREVER}"], tmp_path, check_room=check_room)
    until(lambda: job.over)
    assert (job.state, job.error) == ("failed", "This would take too much.")


def test_children_stand_back(jobs, tmp_path):
    job = jobs.start(["0", "import os; emit_event({'nice': os.nice(0)})"], tmp_path)
    until(lambda: job.over)
    assert job.events() == [{"nice": os.nice(0) + NICE_STEPS}]


def test_a_death_is_told_and_the_next_one_goes_on(jobs, tmp_path):
    job, behind = jobs.start(["1", FOREVER], tmp_path / "a"), jobs.start(["1"], tmp_path / "b")
    until(lambda: job.events())
    os.kill(job.process.pid, signal.SIGKILL)
    until(lambda: behind.over)
    assert (job.state, job.error, behind.state) == ("failed", JOB_DIED, "done")


def test_a_job_is_found_again(jobs, tmp_path):
    job = jobs.start(["1"], tmp_path / "a")
    running = jobs.start(["1", FOREVER], tmp_path / "b")
    until(lambda: running.events())
    assert jobs.find(tmp_path / "a") is job
    later = Jobs(Settings())
    found, lost = later.find(tmp_path / "a"), later.find(tmp_path / "b")
    assert (found.state, found.command, found.events()) == ("done", ("1",), [{"number": 0}])
    assert (lost.state, lost.error) == ("failed", JOB_DIED)
    assert later.find(tmp_path / "c") is None


def test_a_folder_has_one_job_at_a_time(jobs, tmp_path):
    job = jobs.start(["1", FOREVER], tmp_path)
    until(lambda: job.events())
    with pytest.raises(UserError, match="being worked on already"):
        jobs.start(["1"], tmp_path)
    jobs.stop(job)
    until(lambda: job.over)
    again = jobs.start(["2"], tmp_path)
    until(lambda: again.over)
    assert again.events() == [{"number": 0}, {"number": 1}]


def test_no_child_outlives_the_app(tmp_path):
    """The app is killed, and the child notices."""
    app = (
        "import sys, time; from pathlib import Path; from vitdemo.core.config import Settings; from vitdemo.core.jobs.jobs import Jobs;"
        f"job = Jobs(Settings(), (sys.executable, '-c', {CHILD!r})).start(['1', {FOREVER!r}], Path(sys.argv[1]));"
        "\nwhile not job.events(): time.sleep(0.02)\nprint(job.process.pid, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", app, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    events = tmp_path / "events.jsonl"
    until(lambda: '"kept"' in events.read_text())
    assert child != process.pid


def test_the_entry_is_the_command_line_s(tmp_path):
    jobs = Jobs(Settings())
    assert ENTRY[1:] == ("-m", "vitdemo")
    job = jobs.start(["sketch", "--count", "0", "--output", str(tmp_path / "out")], tmp_path / "job")
    until(lambda: job.over)
    assert (job.state, job.error) == ("failed", "--count must be 1 or more.")
