"""Which class a person means, and what is said where there is none of the kind."""

import contextlib
import dataclasses

import pytest
import torch

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.attention.methods.gradients import attention_gradient, check_target, find_target
from vitdemo.attention.methods.libra import Libra
from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCalls, step_by_step
from vitdemo.core.inference.trace_cache import run_trace
from vitdemo.core.models.labels import Label

NAMES = ("tabby, tabby cat", "crane", "Crane", "Egyptian cat", "tub, vat", "bathtub, tub", "007", "n01234567 x")


@pytest.fixture(scope="module")
def vit():
    return dataclasses.replace(small_vit(), labels=tuple(Label(index, name, f"n0{index}") for index, name in enumerate(NAMES)))


@pytest.mark.parametrize(
    ("words", "index"),
    [
        *(("3", 3), (" 0 ", 0), ("007", 7), ("n04", 4), ("tabby, tabby cat", 0), ("Tabby", 0)),
        *(("TABBY CAT", 0), ("egyptian cat", 3), ("vat", 4), ("bathtub", 5)),
        *(("crane", 1), ("Crane", 2)),
    ],
)
def test_a_class_by_index_synset_or_name(vit, words, index):
    assert find_target(vit, words) == index


def test_a_name_in_either_of_unicodes_forms(vit):
    coffee = dataclasses.replace(vit, labels=(Label(0, "tea"), Label(1, "cafe\u0301")))
    assert [find_target(coffee, words) for words in ("caf\u00e9", "cafe\u0301", "CAF\u00c9")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("8", "There is no class 8: choose one from 0 to 7."),
        ("-1", "There is no class -1: choose one from 0 to 7."),
        ("CRANE", "“CRANE” names classes 1 and 2: give the index of the one you mean."),
        ("tub", "“tub” names classes 4 and 5: give the index of the one you mean."),
        ("taby", "plain has no class “taby” (perhaps tabby, tabby cat?): give a name or an index from 0 to 7."),
        ("cat", "plain has no class “cat” (perhaps tabby cat, egyptian cat?): give a name or an index from 0 to 7."),
        ("", "plain has no class “”: give a name or an index from 0 to 7."),
        ("³", "plain has no class “³”: give a name or an index from 0 to 7."),
    ],
)
def test_a_class_that_is_none(vit, words, said):
    with pytest.raises(UserError) as refused:
        find_target(vit, words)
    assert str(refused.value) == said


def test_a_model_without_classes(vit, engine):
    backbone = dataclasses.replace(vit, labels=())
    sentence = "plain gives features, not classes: choose the method cls or rollout, or a model with classes."
    for ask in (lambda: check_target(backbone, 0), lambda: find_target(backbone, "tabby"), lambda: find_target(backbone, "0")):
        with pytest.raises(UserError) as refused:
            ask()
        assert str(refused.value) == sentence
    with pytest.raises(UserError, match="gives features"):
        attention_gradient(backbone, engine, images()[0], 0)


@pytest.mark.parametrize("target", [-1, 8])
def test_a_class_out_of_range(vit, engine, target):
    with pytest.raises(UserError, match=f"There is no class {target}: choose one from 0 to 7"):
        attention_gradient(vit, engine, images()[0], target)


@pytest.mark.parametrize("gradient", ["plain", "libra"])
@pytest.mark.parametrize("kind", KINDS)
def test_attention_times_gradient_is_values_times_the_gradient_of_the_heads(kind, gradient, engine):
    """Σ_h (A∘∇A)[h, i, j] = ⟨A[·, i, j] · V[·, j], ∇T[i]⟩, for the heads' outputs T = A · V."""
    vit, tensor, outputs = small_vit(kind), images(1, *size_of(kind, 3, 5))[0], []

    def answer(call):
        outputs.append(step_by_step([], constant=gradient == "libra")(call))
        return outputs[-1]

    with Libra() if gradient == "libra" else contextlib.nullcontext(), AttentionCalls(vit, answer):
        logit = vit.module(tensor[None].clone().requires_grad_())[0, 5]
    slopes = torch.cat(torch.autograd.grad(logit, outputs[:3]))  # (L, H, N, d)
    found = run_trace(vit, engine, tensor)
    ours = (found.attention * attention_gradient(vit, engine, tensor, 5, gradient)).sum(1)  # (L, N, N)
    expected = torch.einsum("lhij,lhjd,lhid->lij", found.attention, found.values, slopes)
    assert torch.allclose(ours, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
