"""The trace bench runs all sides for real. How fast they are is for the bench to say, not for a test."""

import json

import pytest

from vitdemo.cli import main

pytestmark = pytest.mark.slow


def test_all_sides_are_run_and_written_down(tmp_path, capsys):
    assert main(["bench", "trace", "--runs", "1", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())["trace"]
    assert set(figures) == {"1", "8"}
    printed = capsys.readouterr().out
    for each in figures.values():
        seconds = {side: times[0] for side, times in each["seconds"].items()}
        assert each["over_plain"] == pytest.approx(seconds["trace"] / seconds["plain"])
        assert each["speedup"] == pytest.approx(seconds["unfused"] / seconds["trace"])
        assert all(peak is None or peak > 346e6 for peak in each["peak_bytes"].values())  # the weights alone
        assert f"{each['speedup']:.2f} times as fast" in printed
