"""Slots: clients take turns, the queue is limited, and who waits may give up."""

import threading
from contextlib import suppress

import pytest

from tests.support.waiting import until
from vitdemo.core.errors import UserError
from vitdemo.core.jobs.fair_queue import CROWDED
from vitdemo.core.jobs.fair_slots import FairSlots


def test_clients_take_turns():
    slots, done = FairSlots(1, 10, "comparisons"), []

    def work(client: str) -> None:
        with slots.slot(object(), client):
            done.append(client)

    with slots.slot("first"):
        threads = []
        for client in ("many", "many", "many", "few"):
            threads.append(threading.Thread(target=work, args=(client,)))
            threads[-1].start()
            until(lambda: len(slots.waiting) == len(threads))
        assert done == []
    for thread in threads:
        thread.join(10)
    assert done == ["many", "few", "many", "many"]


def test_a_full_queue_refuses_or_displaces_the_client_with_the_most():
    slots, told = FairSlots(1, 2, "comparisons"), []

    def work(client: str) -> None:
        try:
            with slots.slot(object(), client):
                pass
        except UserError as error:
            told.append((client, str(error)))

    with slots.slot("first"):
        threads = []
        for client in ("many", "many"):
            threads.append(threading.Thread(target=work, args=(client,)))
            threads[-1].start()
            until(lambda: len(slots.waiting) == len(threads))
        with pytest.raises(UserError, match="the queue for comparisons is full, with 2 waiting"), slots.slot(object(), "many"):
            pass
        few = threading.Thread(target=work, args=("few",))
        few.start()
        until(lambda: told)
    for thread in (*threads, few):
        thread.join(10)
    assert told == [("many", CROWDED)]


def test_a_stop_ends_the_waiting_and_takes_no_slot():
    slots, stopping = FairSlots(1, 10, "comparisons"), threading.Event()
    stopping.set()
    with slots.slot("a"), slots.slot("b", stopping=stopping):
        assert (slots.waiting, slots.position("b"), slots.position("a")) == (["b"], 1, 0)
    with suppress(ZeroDivisionError), slots.slot("c"):
        1 / 0  # noqa: B018
    with slots.slot("first"):  # given back, though the work failed
        pass
