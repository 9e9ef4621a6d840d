"""How far long work is, and how long it still takes."""

from types import SimpleNamespace

import pytest

from vitdemo.embeddings import progress
from vitdemo.embeddings.progress import Clock, WorkProgress


def test_the_speed_counts_from_the_phases_begin(monkeypatch):
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    phase = Clock("map", 300)
    assert phase.at(0) == WorkProgress("map", 0, 300, 0.0)  # no time has gone by
    clock.now = 104.0
    assert phase.at(100) == WorkProgress("map", 100, 300, 25.0)
    clock.now = 110.0
    assert phase.at(300) == WorkProgress("map", 300, 300, 30.0)


@pytest.mark.parametrize(("done", "speed", "left"), [(100, 25.0, 8.0), (300, 25.0, 0.0), (0, 0.0, None)])
def test_the_time_left_is_known_with_the_speed(done, speed, left):
    assert WorkProgress("map", done, 300, speed).left == left
