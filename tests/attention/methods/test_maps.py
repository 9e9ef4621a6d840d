"""The maps against the papers' formulas, written out in numpy, on every kind of small ViT and on the real ViT-Tiny."""

import copy

import numpy as np
import pytest
import torch

from tests.support.pictures import noise
from tests.support.small_vits import KINDS, images, size_of, small_vit, unfused_vit
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import trace
from vitdemo.core.inference.trace_cache import run_trace

TARGET = 5


@pytest.fixture(scope="module", params=[*KINDS, "the real ViT-Tiny"])
def case(request, engine):
    """A trace with the gradient for one class: of a wide input of a small ViT, or of the real one."""
    if request.param == "the real ViT-Tiny":
        vit = request.getfixturevalue("real_tiny")
        tensor = vit.preprocessing(noise(300, 200))
    else:
        vit = small_vit(request.param)
        tensor = images(1, *size_of(request.param, 3, 5))[0]
    return run_trace(vit, engine, tensor), attention_gradient(vit, engine, tensor, TARGET)


@pytest.fixture(scope="module")
def small(engine):
    return run_trace(small_vit(), engine, images()[0])


def grid(found, values: np.ndarray) -> np.ndarray:
    """(tokens,) → (rows, columns), by hand."""
    rows, columns = found.grid
    return np.array([[values[found.prefix + row * columns + column] for column in range(columns)] for row in range(rows)])


def close(ours: torch.Tensor, expected: np.ndarray) -> bool:
    assert ours.shape == expected.shape
    assert ours.dtype == torch.float32
    return np.allclose(ours.numpy(), expected, atol=1e-6 * np.abs(expected).max(), rtol=1e-4)


def asking(found) -> np.ndarray:
    return np.eye(len(found.readout))[0] if found.has_cls else found.readout.double().numpy()


def test_cls_attention(case):
    found, _ = case
    attention, asks = found.attention.double().numpy(), asking(found)
    ours = maps.cls_attention(found)
    assert ours.shape == (found.layers, found.heads, *found.grid)
    for layer in range(found.layers):
        rows = np.array([asks @ attention[layer, head] for head in range(found.heads)])
        for head in range(found.heads):
            assert close(ours[layer, head], grid(found, rows[head]))
            assert close(maps.cls_map(found, layer=layer + 1, head=head), grid(found, rows[head]))
        for name, fuse in (("mean", np.mean), ("max", np.max), ("min", np.min)):
            assert close(maps.cls_map(found, layer=layer + 1, head=name), grid(found, fuse(rows, axis=0)))


def rolled_out(found, fuse, discard: float, start: int, last: int) -> np.ndarray:
    """Abnar & Zuidema: A = 0.5 W + 0.5 I, rows normalised, A_last ··· A_start."""
    product = np.eye(len(found.readout))
    for attention in found.attention.double().numpy()[start - 1 : last]:
        fused = fuse(attention, axis=0)
        links = sorted(
            (fused[query, key], query, key) for query in range(found.prefix, len(fused)) for key in range(found.prefix, len(fused))
        )
        for _, query, key in links[: int(discard * len(links))]:
            fused[query, key] = 0
        mixed = 0.5 * fused + 0.5 * np.eye(len(fused))
        product = np.diag(1 / mixed.sum(1)) @ mixed @ product
    return grid(found, found.readout.double().numpy() @ product)


def test_rollout(case, subtests):
    for fusion, discard, start, last in [
        ("mean", 0, 1, 3),
        ("max", 0, 1, 3),
        ("min", 0.3, 1, 3),
        ("mean", 0.9, 2, 3),
        ("max", 0.5, 1, 2),
        ("mean", 0, 3, 3),
    ]:
        with subtests.test(fusion=fusion, discard=discard, start=start, last=last):
            found, _ = case
            expected = rolled_out(found, {"mean": np.mean, "max": np.max, "min": np.min}[fusion], discard, start, last)
            assert close(maps.rollout(found, fusion=fusion, discard=discard, start_layer=start, layer=last), expected)
            every = maps.rollouts(found, fusion=fusion, discard=discard, start_layer=start)
            assert len(every) == found.layers - start + 1
            assert close(every[last - start], expected)
            assert (every >= 0).all()


def test_rollout_of_all_layers_is_the_default(case):
    found, _ = case
    assert torch.equal(maps.rollout(found), maps.rollouts(found)[-1])
    assert torch.equal(maps.rollout(found), maps.rollout(found, fusion="mean", discard=0, start_layer=1, layer=found.layers))


def test_rollout_keeps_what_concerns_the_prefix(small):
    fused = torch.arange(1.0, 290).view(17, 17)
    kept = maps.keep_strongest(fused, 1, 0.75)
    assert torch.equal(kept[0], fused[0])
    assert torch.equal(kept[:, 0], fused[:, 0])
    assert (kept[1:, 1:] == 0).sum() == 192 == 0.75 * 256
    assert kept[1:, 1:][kept[1:, 1:] > 0].min() > fused[1:, 1:][kept[1:, 1:] == 0].max()
    assert fused[1, 1] > 0, "the argument is left as it was"


def test_relevance(case):
    """Chefer, Gur & Wolf: R ← R + E_h[(∇A ∘ A)⁺] R."""
    found, gradient = case
    for start in (1, 2):
        total, expected = np.eye(len(found.readout)), []
        pairs = zip(found.attention.double().numpy(), gradient.double().numpy(), strict=True)
        for attention, slope in list(pairs)[start - 1 :]:
            total = total + np.maximum(slope * attention, 0).mean(0) @ total
            expected.append(grid(found, found.readout.double().numpy() @ total))
        ours = maps.relevances(found, gradient, start_layer=start)
        assert all(close(one, other) for one, other in zip(ours, expected, strict=True))
        assert torch.equal(maps.relevance(found, gradient, start_layer=start), ours[-1])
        assert torch.equal(maps.relevance(found, gradient, start_layer=start, layer=2), ours[2 - start])


def test_gradient_rollout(case):
    found, gradient = case
    product, expected = np.eye(len(found.readout)), []
    for attention, slope in zip(found.attention.double().numpy(), gradient.double().numpy(), strict=True):
        step = np.maximum((attention * slope).mean(0), 0) + np.eye(len(product))
        product = step / step.sum(1, keepdims=True) @ product
        expected.append(grid(found, found.readout.double().numpy() @ product))
    ours = maps.gradient_rollouts(found, gradient)
    assert all(close(one, other) for one, other in zip(ours, expected, strict=True))
    assert torch.equal(maps.gradient_rollout(found, gradient, layer=2), ours[1])
    assert maps.gradient_rollout(found, gradient, start_layer=3).shape == found.grid


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_timms_unfused_model(kind, engine):
    vit, tensor = small_vit(kind), images(1, *size_of(kind, 3, 5), seed=1)[0]
    unfused, shown = unfused_vit(kind), []
    for name, each in unfused.named_modules():
        if name.endswith("attn_drop"):
            each.register_forward_hook(lambda module, inputs, output: shown.append(output))
    expected = torch.autograd.grad(unfused(tensor[None])[0, TARGET], shown)
    ours = attention_gradient(vit, engine, tensor, TARGET, "plain")
    assert torch.allclose(ours, torch.cat(expected), atol=1e-5 * ours.abs().max(), rtol=1e-4)
    assert not any(each.requires_grad for each in vit.module.parameters())


def test_a_gradient_tells_what_a_change_of_attention_does(engine):
    """Against finite differences: one attention weight of the last layer is moved, and the rest of the model computed by hand."""
    vit, tensor = small_vit(), images()[0]
    gradient = attention_gradient(vit, engine, tensor, TARGET, "plain")[-1]  # (H, N, N)
    found, block, module = trace(vit, tensor), vit.module.blocks[-1], vit.module

    def logit(attention: torch.Tensor) -> float:
        tokens = found.tokens[-2].double()[None]
        queries_keys_values = _double(block.attn.qkv)(_double(block.norm1)(tokens))
        values = queries_keys_values[0, :, 96:].view(17, 3, 16).transpose(0, 1)  # (H, N, d)
        tokens = tokens + _double(block.attn.proj)((attention @ values).transpose(0, 1).reshape(1, 17, 48))
        tokens = tokens + _double(block.mlp)(_double(block.norm2)(tokens))
        return float(_double(module.head)(_double(module.norm)(tokens)[:, 0])[0, TARGET])

    for head, query, key in ((0, 0, 3), (1, 0, 16), (2, 0, 0), (0, 5, 5)):
        moved = [found.attention[-1].double().clone() for _ in range(2)]
        moved[0][head, query, key] += 1e-4
        moved[1][head, query, key] -= 1e-4
        assert (logit(moved[0]) - logit(moved[1])) / 2e-4 == pytest.approx(float(gradient[head, query, key]), rel=1e-3, abs=1e-6)


def _double(module: torch.nn.Module) -> torch.nn.Module:
    return copy.deepcopy(module).double()


def test_rows_and_columns_of_a_patch(case):
    found, _ = case
    attention = found.attention.numpy()
    token = found.prefix + 2 * found.grid[1] + 1
    for head in range(found.heads):
        assert close(maps.looks_at(found, 2, (2, 1), head), grid(found, attention[1, head, token]))
        assert close(maps.looked_at_by(found, 2, (2, 1), head), grid(found, attention[1, head, :, token]))
    assert close(maps.looks_at(found, 1, (2, 1)), grid(found, attention[0].mean(0)[token]))
    assert close(maps.looked_at_by(found, 1, (2, 1), "max"), grid(found, attention[0].max(0)[:, token]))


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda found: maps.cls_map(found, layer=0), "There is no layer 0: choose one from 1 to 3."),
        (lambda found: maps.cls_map(found, layer=4), "There is no layer 4: choose one from 1 to 3."),
        (lambda found: maps.cls_map(found, layer=1, head=3), "There is no head 3: choose one from 0 to 2, or mean, max, min."),
        (lambda found: maps.looks_at(found, 1, (0, 0), -1), "There is no head -1: choose one from 0 to 2, or mean, max, min."),
        (lambda found: maps.rollout(found, fusion="sum"), "Heads can't be fused by “sum”: choose mean, max, min."),
        (
            lambda found: maps.rollout(found, discard=1),
            "The share of links to discard must be at least 0 and less than 1; 1 was asked for.",
        ),
        (
            lambda found: maps.rollout(found, discard=float("nan")),
            "The share of links to discard must be at least 0 and less than 1; nan was",
        ),
        (lambda found: maps.rollout(found, start_layer=4), "There is no layer 4: choose one from 1 to 3."),
        (
            lambda found: maps.rollout(found, start_layer=3, layer=2),
            "Layer 2 comes before the start layer 3: choose an earlier start layer",
        ),
        (
            lambda found: maps.looked_at_by(found, 1, (4, 0)),
            "There is no patch in row 4, column 0: choose a row from 0 to 3, a column from",
        ),
        (lambda found: maps.looks_at(found, 1, (0, -1)), "There is no patch in row 0, column -1: choose a row"),
    ],
)
def test_what_does_not_exist_is_said(small, ask, said):
    with pytest.raises(UserError) as refused:
        ask(small)
    assert str(refused.value).startswith(said)
