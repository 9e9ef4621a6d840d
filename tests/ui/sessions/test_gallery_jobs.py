"""Galleries in their queue: who runs, who waits, who gives way, and what a page is told meanwhile."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.fair_queue import CROWDED
from vitdemo.ui.server.gradio_internals import get_upload_folder
from vitdemo.ui.sessions import gallery_job, gallery_jobs
from vitdemo.ui.sessions.gallery_job import GalleryJob
from vitdemo.ui.sessions.gallery_jobs import GalleryJobs, most_rows


@dataclass(eq=False)
class Counting(GalleryJob):
    """A gallery whose photos are done one by one, when it is let go on."""

    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0), kw_only=True)
    finished: int = field(default=0, kw_only=True)

    @property
    def done(self) -> int:
        return self.finished


class Loading:
    def __init__(self) -> None:
        self.done, self.title, self.progress = threading.Event(), "a model", None
        self.done.set()

    def result(self):
        return SimpleNamespace(id="the model", full_title="The model")


class Jobs(GalleryJobs[Counting]):
    """Galleries whose results take a megabyte a photo: of three megabytes in all, 300 photos are kept."""

    row_bytes = 1_000_000

    def _process(self, job: Counting, vit) -> None:
        for _ in job.items:
            while not job.go.acquire(timeout=0.01):
                if job.stopping.is_set():
                    return
            job.finished += 1

    def start(self, photos: int = 1, client: str = "", visitor: str = "") -> Counting:
        items = [SimpleNamespace(path=Path(f"/nowhere/{number}")) for number in range(photos)]
        return self._begin(Counting(items, "m", visitor, self.settings, client=client))


@pytest.fixture
def store():
    """A store that notes whom it is asked by, and who has left."""
    store = SimpleNamespace(settings=Settings(results_mb=900, max_queue=2), asked=[], left=[], loading=Loading())
    store.get = lambda name, holder: store.asked.append((name, holder)) or store.loading
    store.leave, store.title_of, store.own_title = store.left.append, str, {}.get
    return store


@pytest.fixture
def jobs(store, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    jobs = Jobs(store)
    yield jobs
    jobs.stop()
    until(lambda: not jobs.busy)


@pytest.fixture
def running(jobs):
    """Two galleries at work, which is as many as there may be."""
    two = [jobs.start(client="a"), jobs.start(client="b")]
    until(lambda: all(job.state == "running" for job in two))
    return two


def finish(job: Counting) -> None:
    job.go.release(len(job.items))
    until(lambda: job.over)


def test_the_memory_is_shared_by_three_kinds():
    assert most_rows(Settings(results_mb=600), 1000) == 200_000
    assert Jobs(SimpleNamespace(settings=Settings(results_mb=900))).most_rows == 300


def test_a_gallery_from_its_start_to_its_end(jobs, store):
    job = jobs.start(3)
    until(lambda: job.state == "running")
    assert (jobs.busy, job.over, jobs.position(job), jobs.status_text(job)) == (True, False, 0, "")
    assert store.asked == [("m", job.id)]
    assert (job.model_name, jobs.title(job)) == ("the model", "The model")
    store.own_title = {"m": "Cups"}.get  # the visitor's own, which has another title by now
    assert jobs.title(job) == "Cups"
    job.go.release(2)
    until(lambda: job.done == 2)
    assert job.speed > 0
    assert jobs.get(job.id) is job
    job.go.release()
    until(lambda: job.over)
    assert (job.state, job.error, job.loading) == ("done", "", None)
    assert job.began <= job.ended
    until(lambda: store.left == [job.id])
    assert not jobs.busy


def test_the_third_waits_until_another_has_ended(jobs, running):
    third, fourth = jobs.start(client="c"), jobs.start(client="d")
    assert [jobs.position(job) for job in (*running, third, fourth)] == [0, 0, 1, 2]
    assert jobs.status_text(third) == "Waiting for another gallery …"
    assert jobs.status_text(fourth) == "Waiting for 2 other galleries …"
    finish(running[1])
    until(lambda: third.state == "running")
    assert jobs.position(fourth) == 1
    finish(third)
    until(lambda: fourth.state == "running")


def test_a_full_queue_is_said_and_the_client_with_most_gives_way(jobs, running):
    waiting = [jobs.start(client="c"), jobs.start(client="c")]
    with pytest.raises(UserError, match=r"The app is busy: the queue for galleries is full, with 2 waiting\. Try again in a few minutes\."):
        jobs.start(client="c")
    newcomer = jobs.start(client="d")
    until(lambda: waiting[1].over)
    assert (waiting[1].state, waiting[1].error) == ("failed", CROWDED)
    assert {jobs.position(waiting[0]), jobs.position(newcomer)} == {1, 2}


def test_a_new_gallery_stops_the_visitors_earlier_one(jobs):
    first, other = jobs.start(2, visitor="ann"), jobs.start(2, visitor="bob")
    first.go.release()
    until(lambda: first.done == 1 and other.state == "running")
    second = jobs.start(1, visitor="ann")
    until(lambda: first.over)
    assert (first.state, other.state) == ("stopped", "running")
    assert jobs.get(first.id) is first  # its results stay
    finish(second)
    assert second.state == "done"


def test_what_is_stopped_after_its_last_photo_is_done(jobs):
    job = jobs.start(1)
    finish(job)
    jobs.stop()
    assert job.state == "done"


def test_a_fault_is_the_gallerys(jobs, monkeypatch, store):
    def fail(self, job, vit):
        raise UserError("There is no room.")

    monkeypatch.setattr(Jobs, "_process", fail)
    job = jobs.start()
    until(lambda: job.over)
    assert (job.state, job.error) == ("failed", "There is no room.")
    monkeypatch.undo()


def test_a_gallery_can_be_stopped_while_its_model_loads(jobs, store):
    store.loading.done.clear()
    job = jobs.start()
    until(lambda: job.state == "loading")
    assert jobs.status_text(job) == "Getting ready to load a model …"
    job.stopping.set()
    until(lambda: job.over)
    assert (job.state, job.model_name, jobs.title(job)) == ("stopped", "", "m")


def test_the_model_is_held_from_time_to_time(jobs, store, monkeypatch):
    job = Counting([], "m", "", jobs.settings)
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(gallery_jobs, "time", clock)
    job.model_requested = 990.0
    for clock.now in (1000.0, 1010.0, 1010.5, 1020.0, 1031.0):
        jobs._hold(job)
    assert store.asked == [("m", job.id)] * 2  # at 1010.5 and at 1031: more than twenty seconds later
    assert job.model_requested == 1031.0


def test_only_its_id_finds_a_gallery_and_marks_it_as_seen(jobs):
    job = jobs.start(visitor="ann")
    job.seen = 0.0
    for id in (None, "", job.id[:-1], [job.id], 1):
        with pytest.raises(UserError, match="not here any more"):
            jobs.get(id)
    assert job.seen == 0
    assert jobs.get(job.id, "bob") is job
    assert (time.monotonic() - job.seen < 60, job.visitor) == (True, "bob")
    jobs.get(job.id)
    assert job.visitor == "bob"
    jobs.drop(job)
    assert job.stopping.is_set()
    with pytest.raises(UserError):
        jobs.get(job.id)


def test_files_go_with_a_gallery_unless_they_are_kept(jobs):
    for keep in (False, True):
        job = jobs.start()
        assert job.folder == Path(get_upload_folder(), f"gallery-{job.id}")
        job.folder.mkdir()
        jobs.drop(job, keep_files=keep)
        assert job.folder.exists() == keep


def test_when_nobody_looks_at_a_gallery(jobs, monkeypatch):
    clock = SimpleNamespace(now=10_000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(gallery_job, "time", clock)
    job = Counting([], "m", "ann", jobs.settings, seen=10_000.0)
    for clock.now, unseen in ((10_600.0, False), (10_601.0, True)):
        assert job.unseen == unseen  # ten minutes after the last request
    clock.now = 10_100.0
    job.page_closed = 10_040.0
    assert not job.closed
    clock.now = 10_101.0
    assert (job.closed, job.unseen) == (True, True)  # a minute after the page was closed
    job.seen = 10_041.0  # it was opened again
    assert (job.closed, job.unseen) == (False, False)


def test_the_speed_is_that_of_the_work(jobs, monkeypatch):
    clock = SimpleNamespace(now=30.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(gallery_job, "time", clock)
    job = Counting([], "m", "", jobs.settings, seen=0.0, began=10.0)
    assert job.speed == 0
    job.finished = 40
    assert job.speed == 2
    job.ended = 50.0
    assert job.speed == 1
    job.began = job.ended
    assert job.speed == 0


def test_a_visitor_who_leaves_closes_only_their_own_pages(jobs):
    ann, bob, nobody = (Counting([], "m", visitor, jobs.settings) for visitor in ("ann", "bob", ""))
    jobs._jobs = {job.id: job for job in (ann, bob, nobody)}
    jobs.leave("ann")
    jobs.leave("")
    assert (ann.page_closed > 0, bob.page_closed, nobody.page_closed) == (True, 0, 0)
    jobs._jobs.clear()


def kept(jobs, *galleries: tuple[str, int, str]) -> dict[str, Counting]:
    """Remembered galleries: name → (client and name, photos, state); those of the state “closed” are running, but nobody looks at them."""
    made = {}
    for number, (name, photos, state) in enumerate(galleries):
        client = name.rstrip("0123456789")
        job = Counting([SimpleNamespace(path=Path("x"))] * photos, "m", "", jobs.settings, client=client, seen=1e9 + number)
        job.state = "running" if state == "closed" else state
        if state == "closed":
            job.seen, job.page_closed = 1.0, 2.0
        made[name] = jobs._jobs[job.id] = job
    return made


def evicted(jobs, made: dict[str, Counting], client: str, photos: int) -> list[str]:
    newcomer = Counting([SimpleNamespace(path=Path("x"))] * photos, "m", "", jobs.settings, client=client)
    chosen = jobs._choose_evicted(newcomer)
    return [name for job in chosen for name, known in made.items() if known is job]


CASES = [
    # what is kept of 300 photos, who comes with how many, and who gives way
    ([("a1", 100, "done"), ("a2", 100, "done")], "b", 100, []),  # there is room
    ([("a1", 100, "done"), ("a2", 100, "done")], "b", 150, ["a1"]),  # the one seen longest ago
    ([("a1", 100, "done"), ("a2", 100, "done")], "a", 250, ["a1", "a2"]),  # one's own
    ([("a1", 200, "done"), ("b1", 90, "done")], "c", 50, ["a1"]),  # of the client with most
    ([("a1", 90, "closed"), ("b1", 200, "done")], "c", 50, ["a1"]),  # what nobody looks at, first of all
    ([("a1", 150, "running"), ("a2", 100, "done")], "b", 100, ["a2"]),  # what runs stays
    ([("a1", 400, "running")], "a", 400, None),  # somebody's running gallery stays, and there is no room
    ([("a1", 200, "done"), ("b1", 90, "done")], "b", 250, None),  # who asks for more than others hold gets only their own
    ([], "a", 1000, []),  # a gallery that is alone may have any size
    ([("a1", 100, "done")], "a", 1000, ["a1"]),
]


@pytest.mark.parametrize(("galleries", "client", "photos", "expected"), CASES)
def test_who_gives_way_to_a_new_gallery(galleries, client, photos, expected, jobs):
    made = kept(jobs, *galleries)
    try:
        if expected is None:
            with pytest.raises(UserError, match="busy with other visitors' photos: give fewer"):
                evicted(jobs, made, client, photos)
        else:
            assert evicted(jobs, made, client, photos) == expected
    finally:
        jobs._jobs.clear()


def test_a_small_gallery_counts_for_more_than_it_is(jobs, monkeypatch):
    monkeypatch.setattr(gallery_jobs, "MAX_GALLERIES", 3)
    assert [jobs._weight(Counting([None] * photos, "m", "", jobs.settings)) for photos in (1, 100, 101)] == [100, 100, 101]


def test_what_is_evicted_is_gone(jobs):
    (old,) = kept(jobs, ("a1", 200, "done")).values()
    old.folder.mkdir()
    job = jobs.start(200, client="a")
    assert not old.folder.exists()
    with pytest.raises(UserError, match="not here any more"):
        jobs.get(old.id)
    assert jobs.get(job.id) is job


def test_sweeping(jobs, running, monkeypatch):
    touched = []
    monkeypatch.setattr(gallery_jobs, "touch", touched.append)
    made = kept(jobs, ("old", 1, "done"), ("new", 1, "done"))
    made["old"].seen = time.monotonic() - 60 * jobs.settings.upload_minutes - 1
    made["new"].seen = time.monotonic() - 60 * jobs.settings.upload_minutes + 60
    running[0].seen, running[0].page_closed = 1.0, 2.0
    jobs.sweep()
    assert set(jobs._jobs.values()) == {*running, made["new"]}
    assert [job.paths in touched for job in (*running, *made.values())] == [True, True, False, False]
    assert not running[0].stopping.is_set()  # nobody looks at it, and nobody waits
    waiting = jobs.start(client="c")
    jobs.sweep()
    assert (running[0].stopping.is_set(), running[1].stopping.is_set()) == (True, False)
    until(lambda: waiting.state == "running")
