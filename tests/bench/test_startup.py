"""The start-up bench runs both sides for real and reports what it saw. How fast they are is for the bench to say, not for a test."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from safetensors.torch import load_file

from tests.bench.conftest import words
from vitdemo.bench import models, startup
from vitdemo.cli import main


@pytest.mark.slow
def test_both_sides_are_run_and_written_down(tmp_path, capsys):
    assert main(["bench", "startup", "--runs", "2", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())["startup"]
    assert len(figures["imports"]) == len(figures["served"]) == 2
    assert all(0.5 < each < 120 for each in figures["imports"] + figures["served"])  # no process starts torch in less
    assert f"{figures['ratio']:.2f}" in capsys.readouterr().out


def test_a_number_of_runs_that_measures_nothing(capsys):
    assert main(["bench", "startup", "--runs", "0"]) == 2
    assert "--runs must be 1 or more" in capsys.readouterr().err


def test_what_is_made_of_known_seconds(monkeypatch, capsys):
    imports, served, environs = iter([90.0, 2.0, 4.0, 3.0]), iter([80.0, 6.0, 5.0, 12.0]), []
    monkeypatch.setattr(startup, "_imports", lambda environ: environs.append(environ) or next(imports))
    monkeypatch.setattr(startup, "_served", lambda environ: next(served))
    monkeypatch.setattr(startup, "_answers", lambda environ, precisions, runs: (precisions, runs))
    found = startup.run(runs=3)
    assert found.pop("answered") == (("fp32",), 3)
    assert found == {"imports": [2.0, 4.0, 3.0], "served": [6.0, 5.0, 12.0], "ratio": 2.0}  # the first are the warming
    assert all(environ["HF_HUB_OFFLINE"] == "1" and environ["GRADIO_ANALYTICS_ENABLED"] == "False" for environ in environs)
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("median 3.00 s (from 2.00 to 4.00, 3 runs)")
    assert said[1].endswith("median 6.00 s (from 5.00 to 12.00, 3 runs)")
    assert words(said[2]) == "ratio of the medians: 2.00"


def test_imports_are_those_of_a_new_process(monkeypatch, clock_of):
    clock, asked = clock_of(startup), []

    def run(command, **options) -> None:
        asked.append((command, options))
        clock.pass_(4)

    monkeypatch.setattr(subprocess, "run", run)
    assert startup._imports({"A": "b"}) == 4
    assert asked == [([sys.executable, "-c", "import torch, timm, gradio"], {"env": {"A": "b"}, "check": True})]


class Process:
    """A server that ends at a time."""

    def __init__(self, clock, end: float):
        self.clock, self.end, self.log = clock, end, []

    def poll(self):
        return 1 if self.clock.now >= self.end else None

    def terminate(self) -> None:
        self.log.append("terminate")

    def wait(self, seconds: float) -> None:
        self.log.append(f"wait {seconds}")


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_a_page_is_served_as_soon_as_it_can_be_read(seconds, monkeypatch, clock_of):
    clock, commands = clock_of(startup), []
    begin, process = clock.now, Process(clock, 1e9)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: commands.append(command) or process)

    def open_(address: str, timeout: float):
        assert address == f"http://127.0.0.1:{commands[0][-1]}/"
        if clock.now < begin + seconds:
            raise urllib.error.URLError("refused")
        return BytesIO(b"page")

    monkeypatch.setattr(urllib.request, "urlopen", open_)
    assert startup._served(dict(os.environ)) == pytest.approx(seconds, abs=0.03)
    assert commands[0][:3] == [sys.executable, str(startup.APP), "--port"]
    assert startup.APP.is_file()
    assert process.log == ["terminate", "wait 30"]


def test_a_page_that_never_comes_is_no_figure(monkeypatch, clock_of):
    clock = clock_of(startup)

    def refuse(*_, **__):
        raise ConnectionResetError

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    begin = clock.now
    for end, seconds in ((begin + 1, 1), (1e9, startup.PATIENCE + 1)):
        process = Process(clock, end)
        monkeypatch.setattr(subprocess, "Popen", lambda *_, process=process, **__: process)
        with pytest.raises(RuntimeError, match="the app did not serve its page"):
            startup._served({})
        assert process.log == ["terminate", "wait 30"]
        assert clock.now == pytest.approx(begin + seconds, abs=0.05)


def test_first_answers_take_turns_by_precision(small_network, monkeypatch, capsys):
    monkeypatch.setattr(models, "network_of", small_network)
    took, asked = iter([4.0, 3.0, 6.0, 5.0]), []

    def answered(environ, *flags: str) -> tuple[float, float]:
        weights = load_file(flags[flags.index("--checkpoint") + 1])
        asked.append((flags[flags.index("--precision") + 1], weights.keys() == small_network("m").state_dict().keys()))
        return next(took), 700.0

    monkeypatch.setattr(startup, "_answered", answered)
    found = startup._answers({}, ("fp32", "bf16"), 2)
    assert found == {"fp32": {"seconds": [4.0, 6.0], "peak_mb": [700.0] * 2}, "bf16": {"seconds": [3.0, 5.0], "peak_mb": [700.0] * 2}}
    assert asked == [("fp32", True), ("bf16", True)] * 2
    assert "first answer, bf16: median 4.00 s (from 3.00 to 5.00, 2 runs), 700 MB at most" in words(capsys.readouterr().out)


@pytest.mark.slow
def test_the_real_app_answers():
    with ThreadPoolExecutor(1) as pool:  # another test may have left a loop at work in this thread
        seconds, peak = pool.submit(startup._answered, dict(os.environ), "--model", "demo").result()
    assert 1 < seconds < startup.PATIENCE
    assert peak is None or peak > 200


def test_no_answer_is_no_figure(monkeypatch):
    async def refuse(client, kind, number: int, tally) -> None:
        tally.said.add("classify: no model")

    monkeypatch.setattr(startup, "ask_once", refuse)
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match=r"the app did not answer: .*no model"):
        pool.submit(startup._ask, "http://127.0.0.1:1").result()
    assert startup.PICTURE.is_file()
