"""A head switched off is a head whose values are 0."""

import dataclasses

import pytest
import torch

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.attention.methods.ablation import moves, without_heads
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.core.errors import UserError
from vitdemo.core.inference.module_hooks import hooked
from vitdemo.core.inference.trace import trace

HEADS = [(1, 2), (3, 0), (3, 1)]


def logits_without(vit, heads, batch) -> torch.Tensor:
    """The logits where the heads' values are 0, in the model as it is."""

    def silence(attention, head):
        def hook(output):  # (B, N, 3 · heads · head_dim): queries, keys, values
            silenced = output.clone()
            silenced.unflatten(-1, (3, attention.num_heads, attention.head_dim))[..., 2, head, :] = 0
            return silenced

        return attention.qkv, hook

    with torch.inference_mode(), hooked([silence(vit.module.blocks[layer - 1].attn, head) for layer, head in heads]):
        return vit.module(batch)[0]


def test_logits_without_heads(subtests):
    for kind in [each for each in KINDS if each != "parallel"]:
        for heads in [[(2, 1)], HEADS, [(2, 1), (2, 1)], []]:
            with subtests.test(kind=kind, heads=heads):
                vit, tensor = small_vit(kind), images(1, *size_of(kind, 3, 4))
                before = logits_without(vit, [], tensor)
                found = without_heads(vit, heads).logits(tensor)[0]
                assert torch.allclose(found, logits_without(vit, heads, tensor), atol=1e-5)
                assert torch.equal(before, logits_without(vit, [], tensor)), "nothing is left behind"
                assert torch.equal(before, found) == (not heads)


def test_only_the_projections_are_copied():
    vit = small_vit()
    ours = dict(without_heads(vit, HEADS).module.named_parameters())
    copied = [name for name, theirs in vit.module.named_parameters() if ours[name] is not theirs]
    assert copied == ["blocks.0.attn.proj.weight", "blocks.2.attn.proj.weight"]


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


def test_models_that_do_not_allow_it():
    with pytest.raises(UserError, match="The heads of parallel can't be switched off one by one: choose another model"):
        without_heads(small_vit("parallel"), [(1, 0)])
    with pytest.raises(UserError, match="gives features, not classes, so no head moves its answer: choose a model with classes"):
        without_heads(dataclasses.replace(small_vit(), labels=()), [(1, 0)])
