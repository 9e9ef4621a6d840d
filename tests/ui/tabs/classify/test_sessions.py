"""Galleries in line: two at work, the others in order; what they hold while they work, and what is let go afterwards."""

import gc
import threading
import time
import weakref

import pytest

from tests.support.http import answer_of
from tests.support.pictures import noise
from tests.support.waiting import until
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.jobs.fair_queue import CROWDED
from vitdemo.core.photos.search import find_items
from vitdemo.ui.sessions.gallery_jobs import MAX_RUNNING
from vitdemo.ui.tabs.classify.routes import ClassifyRoutes
from vitdemo.ui.tabs.classify.sessions import ClassifyJob, ClassifyJobs


@pytest.fixture
def items(tmp_path):
    for number in range(3):
        noise(30, 20, number).save(tmp_path / f"{number}.png")
    return find_items([tmp_path])


@pytest.fixture
def store(bundle):
    return ModelStore(Settings(model=f"local-dir:{bundle}", device="cpu"))


@pytest.fixture
def jobs(bundle):
    return ClassifyJobs(ModelStore(Settings(model=f"local-dir:{bundle}", max_queue=5)))


class Held:
    """A gallery whose first photo can't be read until it is let go."""

    def __init__(self, items):
        self.go = threading.Event()
        self._items = items

    def __len__(self):
        return len(self._items)

    def __iter__(self):
        assert self.go.wait(60)
        return iter(self._items)


def test_a_gallery_runs_to_its_end(jobs, items):
    job = jobs.start(items, "", "ann")
    until(lambda: job.over)
    assert (job.state, job.error, [row.path for row in job.rows]) == ("done", "", [item.name for item in items])
    assert jobs.get(job.id) is job
    assert job.speed > 0


def test_two_at_a_time_and_the_others_know_their_place(jobs, items):
    held = [Held(items) for _ in range(4)]
    started = [jobs.start(each, "", f"visitor {number}") for number, each in enumerate(held)]
    until(lambda: [job.state for job in started] == ["running"] * MAX_RUNNING + ["waiting"] * 2)
    assert [jobs.position(job) for job in started] == [0, 0, 1, 2]
    assert "2 other galleries" in jobs.status_text(started[3])
    held[1].go.set()
    until(lambda: started[1].over and started[2].state == "running")
    for each in held:
        each.go.set()
    until(lambda: all(job.state == "done" for job in started))


def test_a_full_line_is_said(jobs, items):
    held = Held(items)
    started = [jobs.start(held, "", f"visitor {number}") for number in range(MAX_RUNNING + 5)]
    with pytest.raises(UserError, match="the queue for galleries is full, with 5 waiting"):
        jobs.start(items, "", "late")
    held.go.set()
    until(lambda: all(job.over for job in started))


def test_callers_take_turns_and_who_has_most_gives_way(jobs, items):
    held = Held(items)
    many = [jobs.start(held, "", f"visitor {number}", "10.0.0.9") for number in range(MAX_RUNNING + 5)]
    one = jobs.start(items, "", "ann", "10.0.0.7")
    until(lambda: many[-1].over)
    assert (many[-1].state, many[-1].error) == ("failed", CROWDED)
    assert [jobs.position(job) for job in (*many[: MAX_RUNNING + 1], one, many[MAX_RUNNING + 1])] == [0] * MAX_RUNNING + [1, 2, 3]
    with pytest.raises(UserError, match="the queue for galleries is full, with 5 waiting"):
        jobs.start(items, "", "late", "10.0.0.9")
    held.go.set()
    until(lambda: one.over and all(job.over for job in many))
    assert [job.state for job in (one, *many)] == ["done"] * (MAX_RUNNING + 5) + ["failed"]


@pytest.mark.parametrize("waiting", [True, False])
def test_one_machine_can_not_fill_the_memory_for_all(jobs, items, waiting, monkeypatch):
    monkeypatch.setattr(jobs, "most_rows", 12)
    early = jobs.start(items, "", "", "10.0.0.7")  # three rows each
    until(lambda: early.over)
    held = Held(items)
    if not waiting:
        held.go.set()
    many = []
    for number in range(3):
        many.append(jobs.start(held, "", f"visitor {number}", "10.0.0.9"))
        until(lambda: many[-1].over or waiting)
    late = jobs.start(items, "", "", "10.0.0.8")
    gone = many[-1] if waiting else many[0]  # what is at work stays; of what is done the longest unseen goes
    assert [job for job in (early, *many, late) if job.id not in jobs._jobs] == [gone]
    if waiting:
        with pytest.raises(UserError, match="busy with other visitors' photos"):
            jobs.start(held, "", "visitor 4", "10.0.0.9")
    else:
        jobs.start(held, "", "visitor 4", "10.0.0.9")
    assert {early.id, late.id} <= set(jobs._jobs)
    held.go.set()
    until(lambda: late.over and all(job.over for job in many))


def test_many_small_galleries_count_as_well(jobs, items, monkeypatch):
    monkeypatch.setattr("vitdemo.ui.sessions.gallery_jobs.MAX_GALLERIES", 10)
    early = [jobs.start(items, "", "", f"10.0.1.{number}") for number in range(4)]
    until(lambda: all(job.over for job in early))
    for _ in range(12):
        job = jobs.start(items[:1], "", "", "10.0.0.9")
        until(lambda job=job: job.over)
    assert [job.id in jobs._jobs for job in early] == [True] * 4
    assert len(jobs._jobs) == 10


def test_stop_before_its_turn(jobs, items):
    held = Held(items)
    started = [jobs.start(held, "", f"visitor {number}") for number in range(3)]
    started[2].stopping.set()
    until(lambda: started[2].over)
    assert (started[2].state, started[2].rows) == ("stopped", [])
    held.go.set()
    until(lambda: all(job.over for job in started))


def test_a_visitors_second_gallery_stops_the_first(jobs, items):
    held = Held(items)
    first = jobs.start(held, "", "ann")
    until(lambda: first.state == "running")
    second = jobs.start(items, "", "ann")
    held.go.set()
    until(lambda: first.over and second.over)
    assert (first.state, len(first.rows)) == ("stopped", 1)
    assert (second.state, len(second.rows)) == ("done", 3)


def test_a_model_that_can_not_be_had_fails_in_words(items):
    jobs = ClassifyJobs(ModelStore(Settings(model="local-dir:/nowhere")))
    job = jobs.start(items, "", "ann")
    until(lambda: job.over)
    assert job.state == "failed"
    assert job.error.startswith("There is no folder /nowhere")


def test_ids_can_not_be_guessed_and_old_ones_go(jobs, items):
    job = jobs.start(items, "", "ann")
    assert len(job.id) >= 32
    for unknown in ("", None, 7, job.id[:-1], [job.id]):
        with pytest.raises(UserError, match="not here any more"):
            jobs.get(unknown)
    until(lambda: job.over)
    job.folder.mkdir(parents=True)
    job.seen -= 60 * jobs.settings.upload_minutes + 1
    jobs.start(items, "", "bob")
    with pytest.raises(UserError, match="not here any more"):
        jobs.get(job.id)
    assert not job.folder.exists()


def test_a_remembered_gallery_keeps_no_model_in_memory(store, items, bundle):
    jobs = ClassifyJobs(store)
    job = jobs.start(items, store.settings.model, "me")
    until(lambda: job.over)
    assert (job.state, len(job.rows), jobs.title(job)) == ("done", 3, bundle.name)
    module = weakref.ref(store.get().result().module)
    store._models.clear()
    until(lambda: gc.collect() is not None and module() is None)
    assert jobs.get(job.id) is job


def test_a_gallery_holds_its_model_while_it_works_and_takes_none_from_its_visitor(store, items, monkeypatch):
    go, begun = threading.Event(), threading.Event()

    def rows(items, *_, **__):
        begun.set()
        go.wait(60)
        yield from ()

    monkeypatch.setattr("vitdemo.classify.gallery.classify_gallery", rows)
    loading = store.get()
    loading.result()
    other = store._models["other"] = type(loading)("other", "other")  # what the visitor has chosen in the header since
    other.holders["me"] = time.monotonic()
    job = ClassifyJobs(store).start(items, store.settings.model, "me")
    assert begun.wait(60)
    assert list(loading.holders) == [job.id]
    assert list(other.holders) == ["me"]
    go.set()
    until(lambda: job.over and not loading.holders)


def test_a_dropped_gallery_is_forgotten(store, items):
    jobs = ClassifyJobs(store)
    job = jobs.start(items, store.settings.model, "")
    jobs.drop(job)
    with pytest.raises(UserError, match="not here any more"):
        jobs.get(job.id)
    until(lambda: job.over)


def test_a_gallery_that_ends_between_two_looks_is_not_over_before_its_last_rows_are_sent(store, items):
    class Ending(ClassifyJob):
        """Ends as soon as somebody has seen that it runs."""

        looks = 0

        @property
        def state(self) -> str:
            self.looks += 1
            return "running" if self.looks == 1 else "done"

        @state.setter
        def state(self, value: str) -> None:
            pass

    jobs = ClassifyJobs(store)
    job = Ending(items, store.settings.model, "me", store.settings, 5)
    jobs._jobs[job.id] = job
    assert answer_of(ClassifyRoutes(jobs), "poll", gallery=job.id)["state"] == "running"


def test_the_longest_unseen_go_where_there_are_too_many_rows(store, items, monkeypatch):
    jobs, kept = ClassifyJobs(store), []
    monkeypatch.setattr(jobs, "most_rows", 9)
    for _ in range(4):  # three rows each
        kept.append(jobs.start(items, store.settings.model, ""))
        until(lambda: kept[-1].over)
    jobs.start(items, store.settings.model, "")
    assert [job.id in jobs._jobs for job in kept] == [False, False, True, True]


def given_up(job, how: str) -> None:
    """As if its visitor had closed the page a while ago, or looked at something else for long."""
    job.seen -= 61 if how == "closed" else 601
    job.page_closed = job.seen + 0.5 if how == "closed" else 0.0


@pytest.mark.parametrize("how", ["closed", "not looked at"])
def test_work_that_nobody_looks_at_ends_where_others_wait_for_it(jobs, items, how, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(jobs, "_process", lambda job, vit: job.stopping.wait(60) if job.visitor == "ann" else go.wait(60))
    first = jobs.start(items, "", "ann")
    second = jobs.start(items, "", "bob")
    until(lambda: (first.state, second.state) == ("running", "running"))
    given_up(first, how)
    jobs.sweep()
    assert not first.stopping.is_set()  # nobody waits
    third = jobs.start(items, "", "eve")
    jobs.sweep()
    until(lambda: (first.state, second.state, third.state) == ("stopped", "running", "running"))
    go.set()
    until(lambda: second.over and third.over)


def test_a_page_that_was_closed_and_one_that_comes_back(jobs, items):
    job = jobs.start(items, "", "ann")
    until(lambda: job.over)
    jobs.leave("ann")
    assert job.page_closed > job.seen
    assert jobs.get(job.id, "ann after a reload") is job
    assert job.page_closed < job.seen
    jobs.leave("ann")
    assert job.page_closed < job.seen
    jobs.leave("")


@pytest.mark.parametrize("how", ["closed", "not looked at"])
def test_a_gallery_that_nobody_looks_at_gives_its_room_to_others(jobs, items, how, monkeypatch):
    monkeypatch.setattr(jobs, "most_rows", 9)
    monkeypatch.setattr(jobs, "_process", lambda job, vit: job.stopping.wait(60))
    started = [jobs.start(items, "", f"visitor {number}") for number in range(3)]  # three rows each
    with pytest.raises(UserError, match="busy with other visitors' photos"):
        jobs.start(items, "", "late")
    given_up(started[1], how)
    jobs.start(items, "", "late").stopping.set()
    assert [job.id in jobs._jobs for job in started] == [True, False, True]
    for job in started:
        job.stopping.set()
    until(lambda: all(job.over for job in started))


def test_where_room_is_short_those_whose_page_was_closed_go_first(store, items, monkeypatch):
    jobs, kept = ClassifyJobs(store), []
    monkeypatch.setattr(jobs, "most_rows", 9)
    for number in range(3):
        kept.append(jobs.start(items, store.settings.model, f"visitor {number}"))
        until(lambda: kept[-1].over)
    jobs.leave("visitor 1")
    late = jobs.start(items, store.settings.model, "")
    assert [job.id in jobs._jobs for job in kept] == [True, False, True]
    until(lambda: late.over)
