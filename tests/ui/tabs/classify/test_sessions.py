"""Galleries in line: two at work, the others in order; what they hold while they work, and what is let go afterwards."""

import gc
import threading
import time
import weakref

import pytest

from tests.conftest import noise
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.fair_line import CROWDED
from vitdemo.core.gallery import find_items
from vitdemo.core.store import ModelStore
from vitdemo.ui.gallery_panel import _poll
from vitdemo.ui.gallery_runs import GalleryRun, GalleryRuns
from vitdemo.ui.runs import AT_ONCE


@pytest.fixture
def items(tmp_path):
    for number in range(3):
        noise(30, 20, number).save(tmp_path / f"{number}.png")
    return find_items([tmp_path])


@pytest.fixture
def store(bundle):
    return ModelStore(Settings(model=f"local-dir:{bundle}", device="cpu"))


@pytest.fixture
def runs(bundle):
    return GalleryRuns(ModelStore(Settings(model=f"local-dir:{bundle}", max_queue=5)))


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


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_gallery_runs_to_its_end(runs, items):
    run = runs.start(items, "", "ann")
    wait_for(lambda: run.over)
    assert (run.state, run.error, [row.path for row in run.rows]) == ("done", "", [item.name for item in items])
    assert runs.get(run.id) is run
    assert run.speed > 0


def test_two_at_a_time_and_the_others_know_their_place(runs, items):
    held = [Held(items) for _ in range(4)]
    started = [runs.start(each, "", f"visitor {number}") for number, each in enumerate(held)]
    wait_for(lambda: [run.state for run in started] == ["running"] * AT_ONCE + ["waiting"] * 2)
    assert [runs.place(run) for run in started] == [0, 0, 1, 2]
    assert "2 other galleries" in runs.said(started[3])
    held[1].go.set()
    wait_for(lambda: started[1].over and started[2].state == "running")
    for each in held:
        each.go.set()
    wait_for(lambda: all(run.state == "done" for run in started))


def test_a_full_line_is_said(runs, items):
    held = Held(items)
    started = [runs.start(held, "", f"visitor {number}") for number in range(AT_ONCE + 5)]
    with pytest.raises(UserError, match="The app is busy: 5 galleries are waiting"):
        runs.start(items, "", "late")
    held.go.set()
    wait_for(lambda: all(run.over for run in started))


def test_callers_take_turns_and_who_has_most_gives_way(runs, items):
    held = Held(items)
    many = [runs.start(held, "", f"visitor {number}", "10.0.0.9") for number in range(AT_ONCE + 5)]
    one = runs.start(items, "", "ann", "10.0.0.7")
    wait_for(lambda: many[-1].over)
    assert (many[-1].state, many[-1].error) == ("failed", CROWDED)
    assert [runs.place(run) for run in (*many[: AT_ONCE + 1], one, many[AT_ONCE + 1])] == [0] * AT_ONCE + [1, 2, 3]
    with pytest.raises(UserError, match="The app is busy: 5 galleries are waiting"):
        runs.start(items, "", "late", "10.0.0.9")
    held.go.set()
    wait_for(lambda: one.over and all(run.over for run in many))
    assert [run.state for run in (one, *many)] == ["done"] * (AT_ONCE + 5) + ["failed"]


@pytest.mark.parametrize("waiting", [True, False])
def test_one_machine_can_not_fill_the_memory_for_all(runs, items, waiting, monkeypatch):
    monkeypatch.setattr(runs, "most_rows", 12)
    early = runs.start(items, "", "", "10.0.0.7")  # three rows each
    wait_for(lambda: early.over)
    held = Held(items)
    if not waiting:
        held.go.set()
    many = []
    for number in range(3):
        many.append(runs.start(held, "", f"visitor {number}", "10.0.0.9"))
        wait_for(lambda: many[-1].over or waiting)
    late = runs.start(items, "", "", "10.0.0.8")
    gone = many[-1] if waiting else many[0]  # what is at work stays; of what is done the longest unseen goes
    assert [run for run in (early, *many, late) if run.id not in runs._runs] == [gone]
    if waiting:
        with pytest.raises(UserError, match="busy with other visitors' photos"):
            runs.start(held, "", "visitor 4", "10.0.0.9")
    else:
        runs.start(held, "", "visitor 4", "10.0.0.9")
    assert {early.id, late.id} <= set(runs._runs)
    held.go.set()
    wait_for(lambda: late.over and all(run.over for run in many))


def test_many_small_galleries_count_as_well(runs, items, monkeypatch):
    monkeypatch.setattr("vitdemo.ui.runs.MOST", 10)
    early = [runs.start(items, "", "", f"10.0.1.{number}") for number in range(4)]
    wait_for(lambda: all(run.over for run in early))
    for _ in range(12):
        run = runs.start(items[:1], "", "", "10.0.0.9")
        wait_for(lambda run=run: run.over)
    assert [run.id in runs._runs for run in early] == [True] * 4
    assert len(runs._runs) == 10


def test_stop_before_its_turn(runs, items):
    held = Held(items)
    started = [runs.start(held, "", f"visitor {number}") for number in range(3)]
    started[2].stopping.set()
    wait_for(lambda: started[2].over)
    assert (started[2].state, started[2].rows) == ("stopped", [])
    held.go.set()
    wait_for(lambda: all(run.over for run in started))


def test_a_visitors_second_gallery_stops_the_first(runs, items):
    held = Held(items)
    first = runs.start(held, "", "ann")
    wait_for(lambda: first.state == "running")
    second = runs.start(items, "", "ann")
    held.go.set()
    wait_for(lambda: first.over and second.over)
    assert (first.state, len(first.rows)) == ("stopped", 1)
    assert (second.state, len(second.rows)) == ("done", 3)


def test_a_model_that_can_not_be_had_fails_in_words(items):
    runs = GalleryRuns(ModelStore(Settings(model="local-dir:/nowhere")))
    run = runs.start(items, "", "ann")
    wait_for(lambda: run.over)
    assert run.state == "failed"
    assert run.error.startswith("There is no folder /nowhere")


def test_ids_can_not_be_guessed_and_old_ones_go(runs, items):
    run = runs.start(items, "", "ann")
    assert len(run.id) >= 32
    for unknown in ("", None, 7, run.id[:-1], [run.id]):
        with pytest.raises(UserError, match="not here any more"):
            runs.get(unknown)
    wait_for(lambda: run.over)
    run.folder.mkdir(parents=True)
    run.seen -= 60 * runs.settings.upload_minutes + 1
    runs.start(items, "", "bob")
    with pytest.raises(UserError, match="not here any more"):
        runs.get(run.id)
    assert not run.folder.exists()


def test_a_remembered_gallery_keeps_no_model_in_memory(store, items, bundle):
    runs = GalleryRuns(store)
    run = runs.start(items, store.settings.model, "me")
    wait_for(lambda: run.over)
    assert (run.state, len(run.rows), runs.title(run)) == ("done", 3, bundle.name)
    module = weakref.ref(store.get().result().module)
    store._models.clear()
    wait_for(lambda: gc.collect() is not None and module() is None)
    assert runs.get(run.id) is run


def test_a_gallery_holds_its_model_while_it_works_and_takes_none_from_its_visitor(store, items, monkeypatch):
    go, begun = threading.Event(), threading.Event()

    def rows(items, *_, **__):
        begun.set()
        go.wait(60)
        yield from ()

    monkeypatch.setattr("vitdemo.classify.gallery.classify_gallery", rows)
    loading = store.get()
    loading.result()
    other = store._models["other"] = type(loading)("other")  # what the visitor has chosen in the header since
    other.holders["me"] = time.monotonic()
    run = GalleryRuns(store).start(items, store.settings.model, "me")
    assert begun.wait(60)
    assert list(loading.holders) == [run.id]
    assert list(other.holders) == ["me"]
    go.set()
    wait_for(lambda: run.over and not loading.holders)


def test_a_dropped_gallery_is_forgotten(store, items):
    runs = GalleryRuns(store)
    run = runs.start(items, store.settings.model, "")
    runs.drop(run)
    with pytest.raises(UserError, match="not here any more"):
        runs.get(run.id)
    wait_for(lambda: run.over)


def test_a_gallery_that_ends_between_two_looks_is_not_over_before_its_last_rows_are_sent(store, items):
    class Ending(GalleryRun):
        """Ends as soon as somebody has seen that it runs."""

        looks = 0

        @property
        def state(self) -> str:
            self.looks += 1
            return "running" if self.looks == 1 else "done"

        @state.setter
        def state(self, value: str) -> None:
            pass

    runs = GalleryRuns(store)
    run = Ending(items, store.settings.model, "me", store.settings, 5)
    runs._runs[run.id] = run
    assert _poll(runs)({"run": run.id})["state"] == "running"


def test_the_longest_unseen_go_where_there_are_too_many_rows(store, items, monkeypatch):
    runs, kept = GalleryRuns(store), []
    monkeypatch.setattr(runs, "most_rows", 9)
    for _ in range(4):  # three rows each
        kept.append(runs.start(items, store.settings.model, ""))
        wait_for(lambda: kept[-1].over)
    runs.start(items, store.settings.model, "")
    assert [run.id in runs._runs for run in kept] == [False, False, True, True]


def given_up(run, how: str) -> None:
    """As if its visitor had closed the page a while ago, or looked at something else for long."""
    run.seen -= 61 if how == "closed" else 601
    run.left = run.seen + 0.5 if how == "closed" else 0.0


@pytest.mark.parametrize("how", ["closed", "not looked at"])
def test_work_that_nobody_looks_at_ends_where_others_wait_for_it(runs, items, how, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(runs, "_process", lambda run, vit: run.stopping.wait(60) if run.visitor == "ann" else go.wait(60))
    first = runs.start(items, "", "ann")
    second = runs.start(items, "", "bob")
    wait_for(lambda: (first.state, second.state) == ("running", "running"))
    given_up(first, how)
    runs.sweep()
    assert not first.stopping.is_set()  # nobody waits
    third = runs.start(items, "", "eve")
    runs.sweep()
    wait_for(lambda: (first.state, second.state, third.state) == ("stopped", "running", "running"))
    go.set()
    wait_for(lambda: second.over and third.over)


def test_a_page_that_was_closed_and_one_that_comes_back(runs, items):
    run = runs.start(items, "", "ann")
    wait_for(lambda: run.over)
    runs.leave("ann")
    assert run.left > run.seen
    runs.attach(run.id, "ann after a reload")
    assert run.left < run.seen
    runs.leave("ann")
    assert run.left < run.seen
    runs.leave("")


@pytest.mark.parametrize("how", ["closed", "not looked at"])
def test_a_gallery_that_nobody_looks_at_gives_its_room_to_others(runs, items, how, monkeypatch):
    monkeypatch.setattr(runs, "most_rows", 9)
    monkeypatch.setattr(runs, "_process", lambda run, vit: run.stopping.wait(60))
    started = [runs.start(items, "", f"visitor {number}") for number in range(3)]  # three rows each
    with pytest.raises(UserError, match="busy with other visitors' photos"):
        runs.start(items, "", "late")
    given_up(started[1], how)
    runs.start(items, "", "late").stopping.set()
    assert [run.id in runs._runs for run in started] == [True, False, True]
    for run in started:
        run.stopping.set()
    wait_for(lambda: all(run.over for run in started))


def test_where_room_is_short_those_whose_page_was_closed_go_first(store, items, monkeypatch):
    runs, kept = GalleryRuns(store), []
    monkeypatch.setattr(runs, "most_rows", 9)
    for number in range(3):
        kept.append(runs.start(items, store.settings.model, f"visitor {number}"))
        wait_for(lambda: kept[-1].over)
    runs.leave("visitor 1")
    late = runs.start(items, store.settings.model, "")
    assert [run.id in runs._runs for run in kept] == [True, False, True]
    wait_for(lambda: late.over)
