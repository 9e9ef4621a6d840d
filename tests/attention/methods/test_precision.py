"""Methods on a model in bf16: its rows sum to 1, and what needs gradients is computed in fp32 with the rounded weights."""

import pytest
import torch

from tests.support.small_vits import KINDS, images, in_precision, small_vit
from vitdemo.attention.methods.ablation import without_heads
from vitdemo.attention.methods.fullgrad import fullgrad
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.attention.methods.heads import logit_lens
from vitdemo.attention.methods.votes import ledger
from vitdemo.core.inference.trace_cache import run_trace
from vitdemo.core.models.precision import unrounded


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(params=["plain", "no CLS, attention pooling", "query and key norms", "parallel", "gated MLP, RMS norms"])
def pair(request):
    exact = small_vit(request.param)
    height = {**{"img_size": 64}, **KINDS[request.param][1]}["img_size"]
    return exact, in_precision(exact, "bf16"), images(1, height, height)[0]


def test_traces_are_close_and_rows_sum_to_1(pair, engine):
    exact, lower, tensor = pair
    expected, found = run_trace(exact, engine, tensor), run_trace(lower, engine, tensor)
    assert float((found.attention.sum(-1) - 1).abs().max()) < 1e-6
    for name in ("attention", "values", "tokens", "logits"):
        assert getattr(found, name).dtype == torch.float32
        assert 0 < error(getattr(found, name), getattr(expected, name)) < 0.06
    assert error(logit_lens(found, lower, engine)[-1], found.logits) < 0.02


def test_gradients_are_those_of_the_rounded_weights_in_fp32(pair, engine):
    exact, lower, tensor = pair
    found = attention_gradient(lower, engine, tensor, 3)
    assert torch.equal(found, attention_gradient(unrounded(lower), engine, tensor, 3))
    assert 0 < error(found, attention_gradient(exact, engine, tensor, 3)) < 0.06


def test_shares_and_votes_add_up(pair, engine):
    _, lower, tensor = pair
    with torch.inference_mode():
        logit = float(unrounded(lower).logits(tensor[None])[0, 3])
    shares = fullgrad(lower, engine, tensor, 3)
    assert shares.logit == pytest.approx(logit, abs=1e-5)
    assert torch.allclose(shares.sums, torch.tensor(logit), atol=1e-4)
    trace = run_trace(lower, engine, tensor)
    assert ledger(lower, engine, trace, 3).total == pytest.approx(float(trace.logits[3]), abs=0.02 * float(trace.logits.abs().max()))


def test_heads_are_off_in_gradients_too(pair, engine):
    exact, lower, tensor = pair
    heads = [(1, 0), (2, 2)]
    off, expected = without_heads(lower, heads), without_heads(exact, heads)
    assert not torch.equal(engine.logits(off, tensor[None])[0], engine.logits(lower, tensor[None])[0])
    assert error(attention_gradient(off, engine, tensor, 3), attention_gradient(expected, engine, tensor, 3)) < 0.06
    with torch.inference_mode():
        logit = float(unrounded(off).logits(tensor[None])[0, 3])
        assert float(unrounded(lower).logits(tensor[None])[0, 3]) != logit
    assert fullgrad(off, engine, tensor, 3).logit == pytest.approx(logit, abs=1e-5)
