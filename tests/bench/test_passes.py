"""Passes by precision: which sides run, and what is made of their seconds."""

import pytest
import torch

from tests.bench.conftest import words
from vitdemo.bench import passes
from vitdemo.core.inference import precision


@pytest.fixture
def table(small_network, monkeypatch):
    """The seconds that every side takes, and the fast products of a machine that has them."""
    seconds = {
        "timm's fp32 weights": [0.8, 1.6],
        "timm's bf16 weights": [0.3, 0.6],
        "ours, fp32": [0.8, 1.6],
        "ours, bf16": [0.32, 0.64],
        "product, fp32": [0.1, 0.2],
        "product, bf16": [0.02, 0.04],
    }
    ran = []

    def in_turns(sides, runs: int) -> dict:
        ran.append([*sides])
        for name, side in sides.items():
            if not name.startswith("product"):
                side()
        return {name: seconds[name] for name in sides}

    monkeypatch.setattr(passes, "network_of", small_network)
    monkeypatch.setattr(passes, "in_turns", in_turns)
    monkeypatch.setattr(passes, "gigaflops", lambda vit: 10.0)
    return ran


def test_shares_and_speeds(table, monkeypatch, capsys):
    monkeypatch.setattr(precision, "slow_on", lambda *_: "")
    found = passes.compare_passes("m", ("fp32", "bf16"), 2)
    assert [len(sides) for sides in table] == [6, 6]
    eighth = found["8"]
    assert eighth["bf16"]["speedup"] == pytest.approx(2.5)
    assert eighth["bf16"]["over_timm"] == pytest.approx(16 / 15)
    assert eighth["bf16"]["share"] == pytest.approx(80 / 0.32 / (2 * 2048**3 / 1e9 / 0.02))
    assert found["1"]["fp32"]["share"] == pytest.approx(eighth["fp32"]["share"] / 8)
    printed = words(capsys.readouterr().out)
    assert "ours, bf16 60.0 ms a photo (40.0 to 80.0), 2.50 × timm's fp32 in speed" in printed
    assert "bf16: 1.07 × the time of timm's weights in bf16, 29% of this machine's 2048³ product" in printed


def test_a_product_that_takes_minutes_is_not_measured(table, monkeypatch, capsys):
    monkeypatch.setattr(precision, "slow_on", lambda device, name: "No fast bf16." if name == "bf16" else "")
    found = passes.compare_passes("m", ("fp32", "bf16"), 2)
    assert "product, bf16" not in table[0]
    assert ("share" in found["1"]["fp32"], "share" in found["1"]["bf16"]) == (True, False)
    assert capsys.readouterr().out.startswith("No fast bf16. So no product is measured beside it.\n")


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_product_is_of_the_precision(name, dtype):
    made = passes.product(name, 16)()
    assert (made.shape, made.dtype) == ((16, 16), dtype)
    assert passes.product_gigaflops(16) == 2 * 16**3 / 1e9
