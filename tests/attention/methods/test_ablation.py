"""A head switched off is a head whose columns of the output projection are 0."""

import copy
import dataclasses

import pytest
import torch

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.attention.methods.ablation import ablate, without_heads
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import trace

HEADS = [(1, 2), (3, 0), (3, 1)]


def without_columns(vit, heads) -> torch.nn.Module:
    module = copy.deepcopy(vit.module)
    for layer, head in heads:
        attention = module.blocks[layer - 1].attn
        attention.proj.weight[:, head * attention.head_dim : (head + 1) * attention.head_dim] = 0
    return module


def test_logits_without_heads(engine, subtests):
    for kind in [each for each in KINDS if each != "parallel"]:
        for heads in [[(2, 1)], HEADS, []]:
            with subtests.test(kind=kind, heads=heads):
                vit, tensor = small_vit(kind), images(1, *size_of(kind, 3, 4))[0]
                found = ablate(vit, engine, tensor, heads)
                with torch.inference_mode():
                    assert torch.equal(found.before, vit.module(tensor[None])[0])
                    assert torch.allclose(found.after, without_columns(vit, heads)(tensor[None])[0], atol=1e-5)
                    assert torch.equal(found.before, vit.module(tensor[None])[0]), "nothing is left behind"
                assert torch.equal(found.before, found.after) == (not heads)


def test_what_became_of_the_top(engine):
    vit = small_vit()
    found = ablate(vit, engine, images()[0], HEADS, top=2)
    before, after = found.before.softmax(-1), found.after.softmax(-1)
    leading = set(before.topk(2).indices.tolist()) | set(after.topk(2).indices.tolist())
    assert {each.label.index for each in found.moves} == leading
    assert [each.before for each in found.moves] == sorted((each.before for each in found.moves), reverse=True)
    for each in found.moves:
        assert (each.before, each.after) == (float(before[each.label.index]), float(after[each.label.index]))
    assert len(ablate(vit, engine, images()[0], HEADS, top=1000).moves) == 8


def test_the_real_model(real_tiny, engine):
    tensor = images(1, 224, 224)[0]
    found = ablate(real_tiny, engine, tensor, [(12, 2)])
    with torch.inference_mode():
        assert torch.allclose(found.after, without_columns(real_tiny, [(12, 2)])(tensor[None])[0], atol=1e-4)
    assert not torch.allclose(found.before, found.after, atol=1e-2)


def test_an_ablated_model_can_be_traced():
    vit = small_vit()
    with torch.inference_mode(), without_heads(vit, HEADS):
        found = trace(vit, images()[0])
        assert torch.equal(found.logits, vit.module(images())[0])
    assert not torch.equal(found.logits, trace(vit, images()[0]).logits)


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ([(0, 0)], "There is no layer 0: choose one from 1 to 3."),
        ([(4, 0)], "There is no layer 4: choose one from 1 to 3."),
        ([(1, 0), (3, 3)], "There is no head 3: choose one from 0 to 2."),
        ([(1, -1)], "There is no head -1: choose one from 0 to 2."),
    ],
)
def test_a_head_that_does_not_exist(heads, said, engine):
    with pytest.raises(UserError) as refused:
        ablate(small_vit(), engine, images()[0], heads)
    assert str(refused.value) == said


def test_models_that_do_not_allow_it(engine):
    with pytest.raises(UserError, match="The heads of parallel can't be switched off one by one: choose another model"):
        ablate(small_vit("parallel"), engine, images()[0], [(1, 0)])
    with pytest.raises(UserError, match="gives features, not classes, so no head moves its answer: choose a model with classes"):
        ablate(dataclasses.replace(small_vit(), labels=()), engine, images()[0], [(1, 0)])
