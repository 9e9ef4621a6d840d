"""The sides of a bench, in processes of their own."""

import io
import json
import resource

import pytest

from vitdemo.bench import sides


def test_a_side_works_once_a_turn_in_a_process_of_its_own():
    side = sides.Side("tests.bench.some_side", "hello", 2)
    assert side.found is None
    assert side.time() == side.seconds[0] > 0
    assert 0 <= side.cpu_seconds[0] < 10
    assert side.found == {"turns": 2, "word": "hello"}  # after the warming
    side.time()
    assert side.found == {"turns": 3, "word": "hello"}
    with pytest.raises(RuntimeError, match="a side of the bench has failed"):
        side.time()
    assert len(side.seconds) == 2


def test_at_its_end_a_side_tells_its_memory():
    side = sides.Side("tests.bench.some_side", "hello", 9)
    seconds = side.time()
    told = side.end()
    assert (told["seconds"], told["cpu_seconds"]) == ([seconds], side.cpu_seconds)
    assert 5 < told["peak_mb"] < 500  # a bare Python takes some 10 MB
    assert side._process.returncode == 0


def test_a_turn_is_timed_without_what_is_around_it(clock_of, monkeypatch, capsys):
    clock = clock_of(sides)
    monkeypatch.setattr("sys.stdin", io.StringIO("warm\ncpu\ngo\ncpu\npeak\ngo\n"))
    monkeypatch.setattr(sides, "peak_mb", clock.taking(0.5, 123.0))
    sides.serve(clock.taking(7), clock.taking(2, {"rows": 3}))
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        [7, None],
        [0, 57.0],
        [2, {"rows": 3}],
        [0, 59.0],
        [0.5, 123.0],
        [2, {"rows": 3}],
    ]


def test_peak_memory_is_that_of_the_system(monkeypatch):
    peak = sides.peak_mb()
    assert peak == pytest.approx(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, rel=0.3)
    monkeypatch.setattr(sides.Path, "read_text", lambda _: "Name:\tx\nVmHWM:\t   2000 kB\nVmRSS:\t 5 kB\n")
    assert sides.peak_mb() == 2.048
    monkeypatch.setattr(sides.Path, "read_text", lambda _: "Name:\tx\n")
    assert sides.peak_mb() is None

    def none(_):
        raise FileNotFoundError

    monkeypatch.setattr(sides.Path, "read_text", none)
    assert sides.peak_mb() is None
