"""A head switched off is a head whose values are 0."""

import dataclasses
import gc
import weakref
from dataclasses import replace

import pytest
import torch

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.attention.methods.ablation import falls, moves, without_heads
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import trace

HEADS = [(1, 2), (3, 0), (3, 1)]


def logits_without(vit, heads, batch) -> torch.Tensor:
    """The logits where the heads' values are 0, in the model as it is."""

    def silence(block, head):
        parallel = not hasattr(block, "attn")  # one projection holds queries, keys and values, in a parallel block behind the MLP's inputs
        attention = block if parallel else block.attn

        def hook(module, inputs, output):  # (B, N, … · heads · head_dim)
            silenced = output.clone()
            width = attention.num_heads * attention.head_dim
            silenced[..., -width:].unflatten(-1, (attention.num_heads, -1))[..., head, :] = 0
            return silenced

        return (attention.in_proj if parallel else attention.qkv).register_forward_hook(hook)

    handles = [silence(vit.module.blocks[layer - 1], head) for layer, head in heads]
    with torch.inference_mode():
        logits = vit.module(batch)[0]
    for handle in handles:
        handle.remove()
    return logits


def test_logits_without_heads(subtests):
    for kind in KINDS:
        for heads in [[(2, 1)], HEADS, [(2, 1), (2, 1)], []]:
            with subtests.test(kind=kind, heads=heads):
                vit, tensor = small_vit(kind), images(1, *size_of(kind, 3, 4))
                before = logits_without(vit, [], tensor)
                found = without_heads(vit, heads).logits(tensor)[0]
                assert torch.allclose(found, logits_without(vit, heads, tensor), atol=1e-5)
                assert torch.equal(before, logits_without(vit, [], tensor)), "nothing is left behind"
                assert torch.equal(before, found) == (not heads)


def test_heads_are_off_in_every_pass_of_the_copy_and_in_none_of_the_original():
    vit, batch = small_vit(), images()
    ablated = without_heads(vit, HEADS)
    with torch.inference_mode():
        expected, whole = logits_without(vit, HEADS, batch), vit.logits(batch)[0]
        logits, features = ablated.logits_and_features(batch)
        final, _ = ablated.module.forward_intermediates(batch, output_fmt="NLC")
        assert not torch.allclose(expected, whole, atol=1e-2)
        for found in (ablated.logits(batch)[0], logits[0], vit.module.head(features)[0], vit.module.forward_head(final)[0]):
            assert torch.allclose(found, expected, atol=1e-5)
        assert torch.equal(vit.logits(batch)[0], whole)
    assert all(ours is theirs for ours, theirs in zip(ablated.module.parameters(), vit.module.parameters(), strict=True))


def test_a_head_that_is_off_supports_nothing(engine):
    found = attention_gradient(without_heads(small_vit(), HEADS), engine, images()[0], 3)
    off = torch.zeros(3, 3, dtype=torch.bool)
    for layer, head in HEADS:
        off[layer - 1, head] = True
    assert torch.equal(found.abs().amax((2, 3)) == 0, off)


def test_what_became_of_the_top():
    vit = small_vit()
    before, after = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    found = moves(vit, before, after, top=2)
    before, after = before.softmax(-1), after.softmax(-1)
    leading = set(before.topk(2).indices.tolist()) | set(after.topk(2).indices.tolist())
    assert {each.label.index for each in found} == leading
    assert [each.before for each in found] == sorted((each.before for each in found), reverse=True)
    for each in found:
        assert (each.before, each.after) == (float(before[each.label.index]), float(after[each.label.index]))
    assert len(moves(vit, before, after, top=1000)) == 8


def test_the_real_model(real_tiny):
    tensor = images(1, 224, 224)
    found = without_heads(real_tiny, [(12, 2)]).logits(tensor)[0]
    assert torch.allclose(found, logits_without(real_tiny, [(12, 2)], tensor), atol=1e-4)
    assert not torch.allclose(found, real_tiny.logits(tensor)[0], atol=1e-2)


def test_what_comes_after_can_be_traced():
    vit, tensor = small_vit(), images()
    found, whole = trace(without_heads(vit, [(2, 1)]), tensor[0]), trace(vit, tensor[0])
    assert torch.equal(found.attention[:2], whole.attention[:2])  # up to the head's own layer nothing has changed
    assert not torch.allclose(found.attention[2], whole.attention[2], atol=1e-4)


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ([(0, 0)], "There is no layer 0: choose one from 1 to 3."),
        ([(4, 0)], "There is no layer 4: choose one from 1 to 3."),
        ([(1, 0), (3, 3)], "There is no head 3: choose one from 0 to 2."),
        ([(1, -1)], "There is no head -1: choose one from 0 to 2."),
    ],
)
def test_a_head_that_does_not_exist(heads, said):
    with pytest.raises(UserError) as refused:
        without_heads(small_vit(), heads)
    assert str(refused.value) == said


def test_a_model_without_classes():
    with pytest.raises(UserError, match="gives features, not classes, so no head moves its answer: choose a model with classes"):
        without_heads(dataclasses.replace(small_vit(), labels=()), [(1, 0)])


def test_a_model_without_some_heads_does_not_keep_the_whole_one(vit):
    own = replace(vit)
    copies = weakref.WeakKeyDictionary({own: without_heads(own, [(1, 0)])})  # as the page keeps them
    kept = weakref.ref(own)
    del own
    gc.collect()
    assert kept() is None
    assert not copies


def test_how_far_the_logit_falls_without_each_head(engine):
    vit, tensor = small_vit(), images()[0]
    found = dict(falls(vit, engine, tensor, 3, [(1, 0), (3, 2)]))
    whole = vit.logits(tensor[None])[0, 3]
    assert list(found) == [(1, 0), (3, 2)]
    for head, fall in found.items():
        assert fall == pytest.approx(float(whole - without_heads(vit, [head]).logits(tensor[None])[0, 3]), abs=1e-5)
        assert abs(fall) > 1e-4
    with pytest.raises(UserError, match="There is no class 9"):
        next(falls(vit, engine, tensor, 9, [(1, 0)]))
    with pytest.raises(UserError, match="There is no layer 4"):
        next(falls(vit, engine, tensor, 3, [(4, 0)]))
