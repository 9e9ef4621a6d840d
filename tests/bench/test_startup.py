"""The start-up bench runs both sides for real and reports what it saw. How fast they are is for the bench to say, not for a test."""

import json

import pytest

from vitdemo.cli import main

pytestmark = pytest.mark.slow


def test_both_sides_are_run_and_written_down(tmp_path, capsys):
    assert main(["bench", "startup", "--runs", "2", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())["startup"]
    assert len(figures["imports"]) == len(figures["served"]) == 2
    assert all(0.5 < each < 120 for each in figures["imports"] + figures["served"])  # no process starts torch in less
    assert f"{figures['ratio']:.2f}" in capsys.readouterr().out


def test_a_number_of_runs_that_measures_nothing(capsys):
    assert main(["bench", "startup", "--runs", "0"]) == 2
    assert "--runs must be 1 or more" in capsys.readouterr().err
