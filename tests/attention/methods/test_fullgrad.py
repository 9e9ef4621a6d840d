"""FullGrad+: its shares add up to the logit at every layer, in every family, where those of the plain gradient do not."""

import dataclasses

import pytest
import torch
from timm.layers import SimpleNorm
from torch import nn

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.attention.methods import libra
from vitdemo.attention.methods.ablation import without_heads
from vitdemo.attention.methods.fullgrad import fullgrad
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import trace
from vitdemo.core.inference.trace_cache import run_trace

TARGET = 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_shares_are_the_logit_at_every_layer(kind, engine):
    vit, tensor = small_vit(kind), images(1, *size_of(kind, 3, 5))[0]
    found = fullgrad(vit, engine, tensor, TARGET)
    logit = float(vit.logits(tensor[None])[0, TARGET])
    assert found.logit == pytest.approx(logit, abs=1e-5)
    assert found.sums.tolist() == pytest.approx([logit] * 3, abs=1e-5)
    assert found.tokens.abs().sum() > 0.01


def test_without_some_heads(engine):
    vit, tensor = without_heads(small_vit(), [(1, 0), (3, 2)]), images()[0]
    logit = float(vit.logits(tensor[None])[0, TARGET])
    assert fullgrad(vit, engine, tensor, TARGET).sums.tolist() == pytest.approx([logit] * 3, abs=1e-5)


def test_against_a_forward_pass_written_out(engine):
    """Of a plain ViT, in double precision: every constant factor is detached by hand, every bias is a sum of its own."""
    vit, tensor = small_vit(), images()[0]
    module, inner, biases = vit.module.double(), [], []

    def add(x, bias, layer):
        x = x + bias.detach()
        x.retain_grad()
        biases.append((layer, bias.detach(), x))
        return x

    def norm(each, x, layer):
        scale = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + each.eps).detach()
        return add((x - x.mean(-1, keepdim=True)) / scale * each.weight, each.bias, layer)

    x = module._pos_embed(module.patch_embed(tensor[None].double())).detach().requires_grad_()
    for number, block in enumerate(module.blocks):
        x.retain_grad()
        inner.append(x)
        queries, keys, values = add(norm(block.norm1, x, number) @ block.attn.qkv.weight.T, block.attn.qkv.bias, number).split(48, -1)
        queries, keys, values = (each.view(17, 3, 16).transpose(0, 1) for each in (queries, keys, values))
        attention = (queries @ keys.transpose(1, 2) / 4).softmax(-1).detach()
        heads = (attention @ values).transpose(0, 1).reshape(1, 17, 48)
        x = x + add(heads @ block.attn.proj.weight.T, block.attn.proj.bias, number)
        hidden = add(norm(block.norm2, x, number) @ block.mlp.fc1.weight.T, block.mlp.fc1.bias, number)
        hidden = hidden * ((1 + torch.erf(hidden / 2**0.5)) / 2).detach()
        x = x + add(hidden @ block.mlp.fc2.weight.T, block.mlp.fc2.bias, number)
    logit = norm(module.norm, x, 2)[0, 0] @ module.head.weight[TARGET] + module.head.bias[TARGET]
    logit.backward()
    shares = torch.stack([(each.detach() * each.grad)[0].sum(-1) for each in inner])
    for layer, bias, out in biases:
        shares[layer] += (bias * out.grad)[0].sum(-1)

    vit = small_vit()
    heats = fullgrad(vit, engine, tensor, TARGET).heats(trace(vit, tensor))
    assert torch.allclose(heats.double(), shares[:, 1:].cumsum(0).view(3, 4, 4), atol=1e-5)
    assert torch.allclose(
        fullgrad(vit, engine, tensor, TARGET).heats(trace(vit, tensor), start_layer=2).double(),
        shares[1:, 1:].cumsum(0).view(2, 4, 4),
        atol=1e-5,
    )


def test_a_layer_without_a_rule_is_said(engine):
    vit = small_vit()
    for block in vit.module.blocks:
        block.mlp.act = nn.Mish()
    with pytest.raises(UserError) as refused:
        fullgrad(vit, engine, 3 * images()[0], TARGET)
    assert str(refused.value).startswith("plain has a layer for which Libra has no rule, so its shares miss the logit by ")


@pytest.fixture(scope="module")
def every_rule():
    """Models in which every function of which Libra has a rule is called."""
    plain, gated, inside = (small_vit(kind) for kind in ("plain", "gated MLP, RMS norms", "norms inside"))
    for block in gated.module.blocks:
        block.mlp.act = nn.SiLU()
    for block in inside.module.blocks:
        block.norm2 = SimpleNorm(48).requires_grad_(False)
        block.attn.gate = nn.Linear(48, 48).requires_grad_(False)
    return plain, gated, inside


@pytest.mark.parametrize("rule", libra.RULES)
def test_every_rule_is_needed(rule, every_rule, engine, monkeypatch):
    assert max(worst(vit, engine) for vit in every_rule) < 1e-5
    monkeypatch.delitem(libra.RULES, rule)
    assert max(worst(vit, engine) for vit in every_rule) > 1e-3


def worst(vit, engine) -> float:
    try:
        found = fullgrad(vit, engine, images()[0], TARGET)
    except UserError:
        return float("inf")
    return float((found.sums - found.logit).abs().max())


def test_questions_that_have_no_answer(vit, engine):
    with pytest.raises(UserError, match="There is no class 8"):
        fullgrad(vit, engine, images()[0], 8)
    with pytest.raises(UserError, match="gives features, not classes"):
        fullgrad(dataclasses.replace(vit, labels=()), engine, images()[0], 0)


def test_twenty_real_photos(real_pets, real_tiny, engine):
    for make in list(real_pets.values())[::4][:20]:
        tensor = make()
        logits = engine.logits(real_tiny, tensor[None])[0][0]
        found = fullgrad(real_tiny, engine, tensor, int(logits.argmax()))
        assert found.sums.tolist() == pytest.approx([float(logits.max())] * 12, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "target", "place", "most", "total"),
    [("cat_Abyssinian_13", 285, (2, 11), 23.202, 237.71), ("dog_english_cocker_spaniel_166", 219, (5, 6), 15.444, 279.14)],
)
def test_known_answers(name, target, place, most, total, real_pet, real_tiny, engine):
    tensor = real_pet(name)
    heat = fullgrad(real_tiny, engine, tensor, target).heats(run_trace(real_tiny, engine, tensor))[-1]
    assert divmod(int(heat.argmax()), 14) == place
    assert [float(heat.max()), float(heat.sum())] == pytest.approx([most, total], rel=1e-3)
