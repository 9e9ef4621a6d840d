"""Libra's backward rules: each against its formula, and what they must not change, the forward pass."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.attention.methods.libra import Libra, keep_attention
from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCalls
from vitdemo.core.inference.trace_cache import run_trace


def slopes(layer, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The gradients of an uneven sum of the layer's result by the inputs."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    out = layer(*leaves)
    return torch.autograd.grad((out * torch.linspace(-1, 2, out.numel()).view(out.shape)).sum(), leaves)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def weighted_norm() -> nn.LayerNorm:
    norm = nn.LayerNorm(8, eps=1e-6).requires_grad_(False)
    norm.weight.copy_(normal(8, seed=1))
    norm.bias.copy_(normal(8, seed=2))
    return norm


def by_hand(norm: nn.LayerNorm):
    """The norm with its deviation, and not its mean, taken as a constant."""

    def layer(x):
        scale = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + norm.eps).detach()
        inner = (x - x.mean(-1, keepdim=True)) / scale
        return inner * norm.weight + norm.bias if norm.elementwise_affine else inner

    return layer


NORM = weighted_norm()


@pytest.mark.parametrize(
    ("layer", "rule"),
    [
        (NORM, by_hand(NORM)),
        (lambda x: functional.layer_norm(x, (8,), eps=1e-6), by_hand(nn.LayerNorm(8, eps=1e-6, elementwise_affine=False))),
        (lambda x: functional.rms_norm(x, (8,), eps=1e-6), lambda x: x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt().detach()),
        (functional.gelu, lambda x: x * ((1 + torch.erf(x / 2**0.5)) / 2).detach()),
        (
            lambda x: functional.gelu(x, approximate="tanh"),
            lambda x: x * ((1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2).detach(),
        ),
        (functional.silu, lambda x: x * torch.sigmoid(x).detach()),
        (lambda x: x * torch.sigmoid(1.702 * x), lambda x: x * torch.sigmoid(1.702 * x).detach()),
    ],
)
def test_a_layer_of_one_input(layer, rule):
    x = normal(4, 8)
    with Libra():
        ours, out = slopes(layer, x), layer(x)
    assert torch.allclose(out, layer(x), atol=1e-6)
    assert torch.allclose(ours[0], slopes(rule, x)[0], atol=1e-5)
    assert not torch.allclose(ours[0], slopes(layer, x)[0], atol=1e-2), "the plain gradient is another"


def test_a_product_shares_its_gradient():
    one, other, constant = normal(4, 8), normal(4, 8, seed=1), normal(8, seed=2)
    with Libra():
        ours, of_constant = slopes(lambda a, b: a * b, one, other), slopes(lambda a: a * constant, one)
    plain = slopes(lambda a, b: a * b, one, other)
    assert all(torch.allclose(2 * half, whole) for half, whole in zip(ours, plain, strict=True))
    assert torch.equal(of_constant[0], slopes(lambda a: a * constant, one)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_pass_stays(kind):
    vit, batch = small_vit(kind), images(2, *size_of(kind, 3, 5))
    with Libra(), AttentionCalls(vit, keep_attention):
        ours = vit.module(batch)
    assert torch.allclose(ours, vit.module(batch), atol=1e-5)


def test_an_unknown_gradient(vit, engine):
    with pytest.raises(UserError, match="There is no gradient “lrp”: choose libra or plain"):
        attention_gradient(vit, engine, images()[0], 0, "lrp")


@pytest.mark.parametrize(
    ("name", "target", "place", "most", "total"),
    [("cat_Abyssinian_13", 285, (3, 10), 0.40340, 4.9909), ("dog_english_cocker_spaniel_166", 219, (5, 6), 0.16400, 5.0277)],
)
def test_relevance_of_real_photos(name, target, place, most, total, real_pet, real_tiny, engine):
    tensor = real_pet(name)
    heat = maps.relevance(run_trace(real_tiny, engine, tensor), attention_gradient(real_tiny, engine, tensor, target))
    assert divmod(int(heat.argmax()), 14) == place
    assert [float(heat.max()), float(heat.sum())] == pytest.approx([most, total], rel=1e-3)
