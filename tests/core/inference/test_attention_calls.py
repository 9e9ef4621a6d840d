"""Attention calls leave nothing behind, and threads that share a model do not see each other."""

import threading

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tests.support.small_vits import KINDS, images, size_of, small_vit, timms_attention, unfused_vit
from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCalls, step_by_step
from vitdemo.core.inference.trace import trace


def test_the_answer_takes_the_kernels_place():
    query, key, value = torch.randn(3, 2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    plain = scaled_dot_product_attention(query, key, value, mask, scale=0.3)
    seen = []
    with AttentionCalls(small_vit(), lambda call: (seen.append(call), call.run(2 * call.value))[1]):
        found = [scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.3) for _ in range(2)]
    assert torch.equal(scaled_dot_product_attention(query, key, value, mask, scale=0.3), plain)
    assert torch.equal(found[0], found[1])
    assert torch.allclose(found[0], 2 * plain, atol=1e-6)
    assert [call.number for call in seen] == [0, 1]
    assert torch.allclose(seen[0].map() @ value, plain, atol=1e-6)
    assert torch.equal(seen[0].of(1).map()[0], seen[0].map()[1])


def test_calls_within_calls():
    """The inner context changes the values, the outer one sees them changed."""
    query, vit, seen = torch.ones(1, 1, 2, 2), small_vit(), []
    with (
        AttentionCalls(vit, lambda call: (seen.append(call.value), call.run(call.value))[1]),
        AttentionCalls(vit, lambda call: call.run(3 * call.value)),
    ):
        found = scaled_dot_product_attention(query, query, query)
    assert torch.equal(seen[0], 3 * query)
    assert torch.equal(found, 3 * query)


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_is_timms_unfused_path_to_the_bit(kind):
    """Logits, maps, and the gradient of a logit by every map."""
    vit, unfused, batch = small_vit(kind), unfused_vit(kind).requires_grad_(False), images(2, *size_of(kind, 2, 3))
    maps, timms = [], []
    with AttentionCalls(vit, step_by_step(maps)):
        logits = vit.module(batch.clone().requires_grad_())
    drops = [part.attn_drop for block in unfused.blocks for part in block.modules() if hasattr(part, "attn_drop")]
    handles = [drop.register_forward_hook(lambda module, inputs, output: timms.append(output)) for drop in drops]
    expected = unfused(batch.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    assert torch.equal(logits, expected)
    assert torch.equal(torch.stack(maps[:3]), torch.stack(timms))
    assert torch.equal(torch.stack(maps[:3]), timms_attention(unfused, batch))
    for ours, theirs in zip(torch.autograd.grad(logits[0, 1], maps[:3]), torch.autograd.grad(expected[0, 1], timms), strict=True):
        assert torch.equal(ours, theirs)
        assert theirs.any()


def test_a_model_that_calls_twice_per_block():
    vit, query, answered = small_vit(), torch.ones(1, 1, 2, 2), []
    with AttentionCalls(vit, lambda call: (answered.append(call.number), call.run(call.value))[1]):
        for _ in range(3):
            scaled_dot_product_attention(query, query, query)
        with pytest.raises(UserError, match="The attention of plain is not one map per layer and head"):
            scaled_dot_product_attention(query, query, query)
    assert answered == [0, 1, 2]


def test_a_fault_ends_the_context():
    vit, batch = small_vit(), images()
    whole = trace(vit, batch[0])
    with pytest.raises(RuntimeError):
        trace(vit, batch[0, :2])
    with pytest.raises(ZeroDivisionError), AttentionCalls(vit, lambda call: 1 / 0):
        vit.module(batch)
    assert torch.equal(vit.module(batch)[0], whole.logits)


def test_threads_that_share_a_model_do_not_see_each_other():
    vit = small_vit()
    batches = [images(1, seed=seed) for seed in range(8)]
    expected = [trace(vit, batch[0]) for batch in batches]
    found: dict[int, object] = {}

    def work(index: int) -> None:
        for _ in range(5):
            if index % 2:
                with torch.inference_mode():
                    found[index] = vit.module(batches[index])
            else:
                found[index] = trace(vit, batches[index][0])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(batches))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    for index, each in enumerate(expected):
        if index % 2:
            assert torch.equal(found[index][0], each.logits)
        else:
            assert torch.equal(found[index].attention, each.attention)
