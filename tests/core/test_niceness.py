"""Long work yields: a thread's priority falls, and the process's where the main thread asks."""

import os
import threading

import pytest

from vitdemo.core import niceness


@pytest.fixture
def asked(monkeypatch) -> list:
    """What the system is asked."""
    calls = []
    monkeypatch.setattr(os, "nice", lambda steps: calls.append(("nice", steps)))
    monkeypatch.setattr(os, "setpriority", lambda kind, id, steps: calls.append((kind, id, steps)))
    return calls


def in_a_thread() -> int:
    """Lower the priority of a new thread. Returns: its id."""
    ids = []
    thread = threading.Thread(target=lambda: (ids.append(threading.get_native_id()), niceness.lower_priority()))
    thread.start()
    thread.join()
    return ids[0]


def test_a_thread_alone_or_the_process(asked):
    niceness.lower_priority()
    assert asked == [("nice", 10)]
    id = in_a_thread()
    assert asked[1:] == [(os.PRIO_PROCESS, id, 10)]


def test_elsewhere_a_thread_stays_as_it_is(asked, monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Darwin", "", "", "", "")))
    in_a_thread()
    assert asked == []


def test_what_a_system_does_not_have_or_allow_is_left_out(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "nice", refuse)
    niceness.lower_priority()
    monkeypatch.delattr(os, "nice")
    niceness.lower_priority()
    assert threading.current_thread() is threading.main_thread()
