"""The GPU's bench, on the CPU with a small model: everything but CUDA's own memory and clock."""

from statistics import median

import pytest
import torch

from vitdemo.bench import gpu
from vitdemo.bench.models import gigaflops, vit_of


@pytest.fixture
def small(small_network, monkeypatch):
    monkeypatch.setattr(gpu, "network_of", lambda model: small_network(model).requires_grad_(True))
    monkeypatch.setattr(gpu, "SIDE", 16)
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: network)


def test_without_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.run() == {}
    assert capsys.readouterr().out == gpu.NO_GPU + "\n"


def test_a_gpu_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(gpu, "measure", lambda *given: {"given": given})
    assert gpu.run(runs=3) == {"given": ("cuda", 3, gpu.BATCH, gpu.STEP_BATCH)}
    assert capsys.readouterr().out.startswith("a GPU, torch ")


def test_all_is_measured_on_any_device(small, capsys):
    before = torch.get_float32_matmul_precision()
    found = gpu.measure("cpu", 2, 3, 2)
    assert torch.get_float32_matmul_precision() == before
    assert [*found["embed"]["seconds"]] == ["fp32", "tf32", "bf16", "bf16, compiled", "product"]
    assert [*found["trace"]] == ["pass fp32", "trace fp32", "pass bf16", "trace bf16"]
    assert [*found["step"]] == ["fp32", "tf32", "bf16"]
    assert all(len(step["seconds"]) == 2 and step["photos"] == 2 and step["peak_mb"] is None for step in found["step"].values())
    lines = capsys.readouterr().out.splitlines()
    assert sum("photos/s" in line for line in lines) == 4
    assert sum(line.startswith("  step ") for line in lines) == 3
    embed, work = found["embed"], gigaflops(vit_of("m"))
    assert embed["product_gigaflops"] == pytest.approx(2 * 16**3 / 1e9 / median(embed["seconds"]["product"]))
    rates = [
        3 * work / lower / (2 * 16**3 / 1e9 / product)
        for lower, product in zip(*map(embed["seconds"].get, ("bf16", "product")), strict=True)
    ]
    assert embed["share"] == pytest.approx(median(rates))


def test_without_a_compiler(small, monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("no Triton")

    monkeypatch.setattr(torch, "compile", fail)
    assert "bf16, compiled" not in gpu._embed("cpu", 1, 2)["seconds"]
    assert "torch.compile is left out: no Triton" in capsys.readouterr().out


@pytest.mark.parametrize(("on", "inside"), [(True, "high"), (False, "highest")])
def test_tf32_is_on_only_inside(on, inside):
    before = torch.get_float32_matmul_precision()
    with gpu._tf32(on):
        assert torch.get_float32_matmul_precision() == inside
    assert torch.get_float32_matmul_precision() == before
