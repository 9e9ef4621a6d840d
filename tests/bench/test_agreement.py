"""Agreement of a lower precision with fp32, on a small model."""

import pytest
import torch

from vitdemo.bench import agreement
from vitdemo.bench.models import vit_of


@pytest.fixture
def photos(five, small_network, tmp_path):
    return tmp_path


def test_what_is_printed_and_returned(photos, capsys):
    found = agreement.compare_answers(("fp32", "bf16"), photos)[str(photos)]["bf16"]
    assert 0 < found["probability"] < 0.05
    assert 0 < found["logits"] < 0.5
    assert 0.99 < found["lowest_cosine"] <= found["cosine"] < 1
    assert found["mapped"] == 5
    assert list(found["maps"]) == list(agreement.METHODS)
    assert all(0.8 < each <= 1 for each in found["maps"].values())
    printed = capsys.readouterr().out
    assert f"same first class {found['same']:.1%}" in printed
    assert f"cls {found['maps']['cls']:.4f}" in printed


def test_the_figures_are_those_of_the_models_own_outputs(photos):
    exact, lower = vit_of("m"), vit_of("m", "bf16")
    inputs = torch.randn(3, 3, *exact.preprocessing.size, generator=torch.Generator().manual_seed(0))
    found = agreement._compare(exact, lower, inputs)
    with torch.inference_mode():
        logits, other = exact.module(inputs), lower.module(inputs).float()
    assert found["logits"] == pytest.approx((logits - other).abs().max().item(), rel=0.05)
    assert found["same"] == pytest.approx((logits.argmax(-1) == other.argmax(-1)).float().mean().item())


def test_a_model_agrees_with_itself(photos):
    exact = vit_of("m")
    found = agreement._compare(exact, exact, torch.randn(2, 3, *exact.preprocessing.size))
    assert (found["same"], found["probability"], found["logits"]) == (1, 0, 0)
    assert found["maps"] == pytest.approx(dict.fromkeys(agreement.METHODS, 1.0))


def test_fp32_alone_has_nothing_to_agree_with(photos):
    assert agreement.compare_answers(("fp32",), photos) == {}


def test_both_shared_folders_are_compared(monkeypatch):
    monkeypatch.setattr(agreement, "photos_of", lambda folder, *shared: [folder, *shared])
    assert agreement._folders(None) == [("imagenet_val", [None, "imagenet_val"]), ("pets", [None, "pets", "images"])]
