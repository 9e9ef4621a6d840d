"""The ledger of votes: the logit in parts, each part against what the model's own modules give."""

import dataclasses

import pytest
import torch
from torch import nn

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.attention.methods.ablation import without_heads
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.attention.methods.votes import Ledger, ledger
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import Trace
from vitdemo.core.inference.trace_cache import run_trace

TARGET, RIVAL = 5, 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_votes_are_the_logit(kind, engine):
    vit, tensor = small_vit(kind), images(1, *size_of(kind, 3, 5))[0]
    found = run_trace(vit, engine, tensor)
    one, other, pair = (ledger(vit, engine, found, *classes) for classes in ((TARGET,), (RIVAL,), (TARGET, RIVAL)))
    assert one.total == pytest.approx(float(found.logits[TARGET]), abs=1e-5)
    assert pair.total == pytest.approx(float(found.logits[TARGET] - found.logits[RIVAL]), abs=1e-5)
    for part in ("keys", "biases", "mlps"):
        assert torch.allclose(getattr(pair, part), getattr(one, part) - getattr(other, part), atol=1e-6)
    assert one.heads.shape == (3, 3)
    assert one.heads.abs().min() > 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "parallel"])
def test_an_mlp_has_the_vote_of_what_it_writes(kind, engine):
    """The vote of an MLP is what the heads leave over, so each head's vote is held against its module here as well."""
    vit, tensor = small_vit(kind), images(1, *size_of(kind, 3, 5))[0]
    found, written = run_trace(vit, engine, tensor), []
    for block in vit.module.blocks:
        last = block.norm2 if kind == "norms after" else block.ls2 if isinstance(getattr(block, "ls2", None), nn.Module) else block.mlp
        last.register_forward_hook(lambda module, inputs, output: written.append(output[0]))
    vit.module(tensor[None])
    votes = ledger(vit, engine, found, TARGET)
    for layer in range(3):  # with the deviation of the last norm held, a small step along a part's output is worth its vote
        assert float(votes.mlps[layer]) == pytest.approx(read(vit, found, written[layer]), rel=1e-3, abs=2e-6)


def read(vit, found: Trace, part: torch.Tensor) -> float:
    """What the head reads in a part of the last tokens, in double precision, by a forward pass in which the norms' deviations are fixed."""
    module = small_vit(vit.name).module.double()
    tokens = found.tokens[-1].double()[None]
    fixed: list[torch.Tensor] = []

    def norm(each, x, again):
        centre = x.mean(-1, keepdim=True) if isinstance(each, nn.LayerNorm) else 0
        if not again:
            fixed.append(((x - centre).pow(2).mean(-1, keepdim=True) + each.eps).sqrt())
        out = (x - centre) / (fixed.pop(0) if again else fixed[-1]) * each.weight
        return out if getattr(each, "bias", None) is None else out + each.bias

    def logit(x, again):
        for each in (part for part in module.modules() if isinstance(part, nn.LayerNorm) or type(part).__name__ == "RmsNorm"):
            each.forward = lambda x, each=each: norm(each, x, again)
        if module.attn_pool is not None:  # attention, and the gate of the pooling's MLP, are fixed as well
            return pooled(module, x, again, gates)
        return module.forward_head(module.norm(x))[0, TARGET]

    gates: list[torch.Tensor] = []
    with torch.no_grad():
        before = logit(tokens, False)
        return float(logit(tokens + part.double()[None], True) - before)


def pooled(module, x, again: bool, kept: list[torch.Tensor]) -> torch.Tensor:
    pool, x = module.attn_pool, module.norm(x)
    keys, values = pool.kv(x)[0].view(x.shape[1], 2, pool.num_heads, -1).permute(1, 2, 0, 3)
    queries = pool.q(pool.latent[0]).view(1, pool.num_heads, -1).transpose(0, 1)
    if not again:
        kept.append((queries @ keys.transpose(1, 2) * pool.scale).softmax(-1))
    x = pool.proj((kept[0] @ values).transpose(0, 1).reshape(1, 1, -1))
    hidden = pool.mlp.fc1(pool.norm(x))
    if not again:
        kept.append((1 + torch.erf(hidden / 2**0.5)) / 2)
    return module.head(module.fc_norm((x + pool.mlp.fc2(hidden * kept[1]))[:, 0]))[0, TARGET]


def by_formula(vit, found: Trace, target: int) -> torch.Tensor:
    """(layers, heads, tokens): A[h, 0, j] · ⟨V[h, j], W_Oᵀu⟩ of a plain ViT, in double precision, with V from the tokens."""
    module = vit.module
    tokens = torch.cat((found.embedding[None], found.tokens)).double()
    weights = module.head.weight[target].double() * module.norm.weight.double()
    u = (weights - weights.mean()) / (tokens[-1, 0].var(unbiased=False) + module.norm.eps).sqrt()
    votes = []
    for layer, block in enumerate(module.blocks):
        x, qkv, out = tokens[layer], block.attn.qkv, block.attn.proj.weight.double()
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + block.norm1.eps).sqrt()
        x = x * block.norm1.weight.double() + block.norm1.bias.double()
        values = (x @ qkv.weight.double().T + qkv.bias.double())[:, -found.tokens.shape[-1] :].unflatten(1, (found.heads, -1))  # (N, H, d)
        votes.append(
            found.attention[layer, :, 0].double() * torch.einsum("nhd,hd->hn", values, (out.T @ u).unflatten(0, (found.heads, -1)))
        )
    return torch.stack(votes)


def test_votes_of_a_plain_vit_by_the_formula(engine):
    vit, tensor = small_vit(), images()[0]
    found = run_trace(vit, engine, tensor)
    votes, expected = ledger(vit, engine, found, TARGET), by_formula(vit, found, TARGET)
    assert torch.allclose(votes.keys.double(), expected, atol=1e-6)
    assert torch.allclose(votes.patches(found).double(), expected.sum((0, 1))[1:].view(4, 4), atol=1e-6)
    assert torch.allclose(votes.patches(found, last=2).double(), expected[1:].sum((0, 1))[1:].view(4, 4), atol=1e-6)
    assert torch.equal(votes.heats(found)[-1], votes.patches(found))
    assert torch.equal(votes.heats(found, start_layer=2)[-1], votes.patches(found, last=2))


def test_a_head_that_is_off_has_no_vote(engine):
    vit = without_heads(small_vit(), [(2, 1)])
    found = run_trace(vit, engine, images()[0])
    votes = ledger(vit, engine, found, TARGET)
    assert votes.heads[1, 1] == 0
    assert (votes.heads != 0).sum() == 8
    assert votes.total == pytest.approx(float(found.logits[TARGET]), abs=1e-5)


def test_questions_that_have_no_answer(vit, engine):
    found = run_trace(vit, engine, images(1, 224, 224)[0])
    for classes, said in (((8,), "There is no class 8"), ((0, -1), "There is no class -1")):
        with pytest.raises(UserError, match=said):
            ledger(vit, engine, found, *classes)
    with pytest.raises(UserError, match="gives features, not classes"):
        ledger(dataclasses.replace(vit, labels=()), engine, found, 0)
    with pytest.raises(UserError, match="There is no layer 4"):
        ledger(vit, engine, found, 0).heats(found, start_layer=4)


def test_heads_behind_a_gate_are_refused(engine):
    gated = small_vit()
    found = run_trace(gated, engine, images()[0])
    gated.module.blocks[1].attn.gate = nn.Linear(48, 48)
    with pytest.raises(UserError, match="The heads of this model pass a gate"):
        ledger(gated, engine, found, 0)


def test_twenty_real_photos(real_pets, real_tiny, engine):
    for make in list(real_pets.values())[::4][:20]:
        found = run_trace(real_tiny, engine, make())
        assert ledger(real_tiny, engine, found, int(found.logits.argmax())).total == pytest.approx(float(found.logits.max()), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "target", "place", "most", "total", "of_cls", "top"),
    [
        ("cat_Abyssinian_13", 285, (3, 10), 1.3230, 16.474, -0.5255, {(10, 0): 2.8013, (10, 1): 2.1993, (11, 0): 1.7547}),
        ("dog_english_cocker_spaniel_166", 219, (5, 5), 0.45482, 17.448, 1.0413, {(10, 0): 2.7624, (12, 0): 2.4285, (11, 0): 2.2384}),
    ],
)
def test_known_answers(name, target, place, most, total, of_cls, top, real_pet, real_tiny, engine):
    found = run_trace(real_tiny, engine, real_pet(name))
    votes = ledger(real_tiny, engine, found, target)
    heat, heads = votes.patches(found), votes.heads.flatten().topk(3)
    assert divmod(int(heat.argmax()), 14) == place
    assert [float(heat.max()), float(heat.sum()), float(votes.keys[:, :, 0].sum())] == pytest.approx([most, total, of_cls], rel=1e-3)
    assert [(index // 3 + 1, index % 3) for index in heads.indices.tolist()] == list(top)
    assert heads.values.tolist() == pytest.approx(list(top.values()), rel=1e-3)


def test_a_known_pair(real_pet, real_tiny, engine):
    found = run_trace(real_tiny, engine, real_pet("cat_Abyssinian_13"))
    assert ledger(real_tiny, engine, found, 285, 281).total == pytest.approx(3.1827, abs=1e-4)
    assert isinstance(ledger(real_tiny, engine, found, 285), Ledger)


def test_a_vote_is_not_what_libra_gives_the_attention(real_pet, real_tiny, engine):
    """The gradient of the last block's attention includes what the last MLP does with it; the votes do not."""
    tensor = real_pet("cat_Abyssinian_13")
    found = run_trace(real_tiny, engine, tensor)
    slope = attention_gradient(real_tiny, engine, tensor, 285)
    assert float((found.attention * slope)[-1, :, 0].sum()) == pytest.approx(2.267, abs=2e-3)
    assert float(ledger(real_tiny, engine, found, 285).keys[-1].sum()) == pytest.approx(4.701, abs=2e-3)
