"""What `auto` stands for in training."""

from types import SimpleNamespace

import pytest
import torch

from tests.support.small_vits import small_vit
from vitdemo.core.training import precision
from vitdemo.core.training.precision import autocast_speedup, training_precision
from vitdemo.finetune.heads.readout import BOTH, read_from


@pytest.fixture
def machine(monkeypatch):
    """machine(fast, speedup): what the processor says of bf16, and what is measured. Returns the models that were measured."""

    def machine(fast: bool | None, speedup: float = 0.0) -> list:
        measured: list = []
        monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
        monkeypatch.setattr(precision, "autocast_speedup", lambda vit: measured.append(vit) or speedup)
        return measured

    return machine


@pytest.mark.parametrize(
    ("fast", "speedup", "taken"), [(True, 2.0, "bf16"), (None, 1.1, "bf16"), (True, 1.05, "fp32"), (False, 2.0, "fp32")]
)
def test_bf16_is_taken_on_a_processor_where_it_is_faster(fast, speedup, taken, machine):
    measured, vit = machine(fast, speedup), small_vit()
    assert [training_precision(vit, "auto") for _ in range(2)] == [taken, taken]
    assert len(measured) == (fast is not False)  # once for a model, and not where the processor has no bf16
    assert training_precision(vit, "fp32") == "fp32"
    assert training_precision(vit, "fp16") == "fp16"


@pytest.mark.parametrize(("kind", "fast", "taken"), [("cuda", True, "bf16"), ("cuda", False, "fp16"), ("mps", None, "fp32")])
def test_a_gpu_is_not_measured(kind, fast, taken, machine):
    measured = machine(fast)
    assert training_precision(SimpleNamespace(device=torch.device(kind)), "auto") == taken
    assert not measured


def test_both_are_timed_and_the_model_stays_as_it_is():
    vit = small_vit()
    assert autocast_speedup(vit) > 0
    assert not any(each.requires_grad or each.grad is not None for each in vit.module.parameters())


def test_a_model_whose_head_is_still_to_come_is_timed():
    vit, _ = read_from(small_vit(), BOTH)
    assert vit.module.head.weight.is_meta
    assert autocast_speedup(vit) > 0
