"""The trace bench runs all sides for real. How fast they are is for the bench to say, not for a test."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import timm
import torch

from vitdemo.bench import models, trace
from vitdemo.bench.sides import peak_mb
from vitdemo.cli import main


@pytest.mark.slow
def test_all_sides_are_run_and_written_down(tmp_path, capsys):
    assert main(["bench", "trace", "--runs", "1", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())["trace"]
    assert set(figures) == {"1", "8", "of a class"}
    of_a_class = figures.pop("of a class")
    assert of_a_class["votes_ms"] == pytest.approx(1000 * of_a_class["seconds"]["votes"][0])
    printed = capsys.readouterr().out
    for each in figures.values():
        seconds = {side: times[0] for side, times in each["seconds"].items()}
        assert each["over_plain"] == pytest.approx(seconds["trace"] / seconds["plain"])
        assert each["speedup"] == pytest.approx(seconds["unfused"] / seconds["trace"])
        assert all(peak is None or peak > 346e6 for peak in each["peak_bytes"].values())  # the weights alone
        assert f"{each['speedup']:.2f} times as fast" in printed


def test_what_is_made_of_known_seconds(clock_of, monkeypatch, capsys):
    clock, turns = clock_of(trace), []
    seconds = {
        "plain": iter([9, 1.0, 2.0, 9, 1.0, 2.0]),
        "trace": iter([9, 3.0, 2.0, 9, 6.0, 2.0]),
        "unfused": iter([9, 6.0, 6.0, 9, 6.0, 6.0]),
    }

    def side(name: str, batch: int):
        def once() -> None:
            turns.append((batch, name))
            clock.pass_(next(seconds[name]))

        return once

    monkeypatch.setattr(trace, "_side", side)
    monkeypatch.setattr(trace, "_peak_in_a_child", lambda name, batch: None if name == "unfused" else batch * 1_000_000)
    class_seconds = {"plain": iter([9, 9, 1.0, 2.0]), "libra": iter([9, 9, 1.5, 2.0]), "votes": iter([9, 9, 0.01, 0.03])}
    passes = {side: lambda side=side: clock.pass_(next(class_seconds[side])) for side in class_seconds}
    monkeypatch.setattr(trace, "_class_sides", lambda: passes)
    found = trace.run(runs=2)
    assert found.pop("of a class") == {
        "seconds": {"plain": [1.0, 2.0], "libra": [1.5, 2.0], "votes": pytest.approx([0.01, 0.03])},
        "libra_over_plain": 1.25,
        "votes_ms": pytest.approx(20),
    }
    assert found == {
        "1": {
            "seconds": {"plain": [1.0, 2.0], "trace": [3.0, 2.0], "unfused": [6.0, 6.0]},
            "peak_bytes": {"plain": 1_000_000, "trace": 1_000_000, "unfused": None},
            "over_plain": 2.0,  # of 3 and 1
            "speedup": 2.5,  # of 2 and 3
        },
        "8": {
            "seconds": {"plain": [1.0, 2.0], "trace": [6.0, 2.0], "unfused": [6.0, 6.0]},
            "peak_bytes": {"plain": 8_000_000, "trace": 8_000_000, "unfused": None},
            "over_plain": 3.5,
            "speedup": 2.0,
        },
    }
    first = ["plain", "trace", "unfused"]
    assert [name for batch, name in turns if batch == 1] == [*first, "trace", "unfused", "plain", "unfused", "plain", "trace"]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "batch 1"
    assert said[2] == "  full trace: median 2.500 s (from 2.000 to 3.000, 2 runs), 2.00 times the plain, peak 1 MB"
    assert said[3].endswith("median 6.000 s (from 6.000 to 6.000, 2 runs), 4.50 times the plain")
    assert said[4] == "  the trace is 2.50 times as fast as the unfused way"
    assert said[-2:] == [
        "ledger of votes after the trace: median 20.0 ms, from 10.0",
        "  Libra takes 1.25 times the plain gradient's time",
    ]


def test_the_sides_compute_the_same(monkeypatch):
    create = timm.create_model
    small = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 5}

    def make(name: str, **more):
        torch.manual_seed(0)
        return create("vit_tiny_patch16_224", **small, **more)

    monkeypatch.setattr(timm, "create_model", make)
    logits = trace._side("plain", 2)()
    traced = trace._side("trace", 2)()
    maps, (_, tokens) = trace._side("unfused", 2)()
    assert logits.shape == (2, 5)
    torch.testing.assert_close(torch.stack([each.logits for each in traced]), logits, atol=1e-4, rtol=1e-4)
    assert len(maps) == len(tokens) == len(traced[0].attention) == 2
    for layer, attention in enumerate(maps.values()):
        assert attention.shape == (2, 3, 197, 197)
        torch.testing.assert_close(torch.stack([each.attention[layer] for each in traced]), attention, atol=1e-4, rtol=1e-3)


def test_the_sides_of_a_class(monkeypatch, vit):
    monkeypatch.setattr(trace, "_vit", lambda: vit)
    passes = trace._class_sides()
    assert set(passes) == set(trace.CLASS_SIDES)
    plain, libra = passes["plain"](), passes["libra"]()
    assert plain.shape == libra.shape == (3, 14, 14)
    assert not torch.allclose(plain, libra, rtol=1e-2)
    image = torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert passes["votes"]().total == pytest.approx(float(vit.logits(image[None])[0, 0]), abs=1e-4)


def test_the_peak_is_that_of_a_process_of_its_own(monkeypatch):
    asked = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: asked.append(command) or SimpleNamespace(stdout="4096\n"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert trace._peak_in_a_child("trace", 8) == 4096
    assert asked == [[sys.executable, "-m", "vitdemo.bench.trace", "trace", "8"]]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert trace._peak_in_a_child("trace", 8) is None
    assert trace._peak() / 1e6 == pytest.approx(peak_mb())


def test_a_lower_precision_runs_beside_fp32(small_network, monkeypatch, capsys):
    seconds = {"timm's forward, fp32": [4.0], "timm's forward, bf16 weights": [2.0], "trace, fp32": [5.0], "trace, bf16": [2.5]}
    images = torch.randn(2, 3, *small_network("m").pretrained_cfg["input_size"][1:])
    monkeypatch.setattr(models, "BASE", "m")
    monkeypatch.setattr(trace, "_images", lambda batch: images)

    def in_turns(sides, runs: int) -> dict:
        logits = [side() for side in sides.values()]
        assert [each.dtype for each in logits[:2]] == [torch.float32, torch.bfloat16]
        assert [len(each) for each in logits] == [2] * 4
        assert [*sides] == [*seconds]
        return seconds

    monkeypatch.setattr(trace, "in_turns", in_turns)
    found = trace._in_precision("bf16", 2, 1)
    assert (found["speedup"], found["over_plain"]) == (2.0, 1.25)
    assert "trace, bf16: median 2.500 s, 1.60 × timm's forward in fp32 in speed" in capsys.readouterr().out
