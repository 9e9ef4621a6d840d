"""A question's map is the one that the science gives, and a question that makes no sense gets one sentence."""

import pytest
import torch

from tests.support.small_vits import images, small_vit
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.fullgrad import fullgrad
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.attention.methods.votes import ledger
from vitdemo.attention.question import Question, heat, heats, title
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import trace


@pytest.fixture(scope="module")
def asked(engine):
    """A small model, its input, and what a question needs: the trace of it, the model, the engine and the input."""
    vit, tensor = small_vit(), images()[0]
    return vit, tensor, (trace(vit, tensor), vit, engine, tensor)


def test_every_method_gives_its_map_at_every_layer(asked, engine):
    vit, tensor, given = asked
    traced = given[0]
    slope = attention_gradient(vit, engine, tensor, 3)
    plain = attention_gradient(vit, engine, tensor, 3, "plain")
    other = attention_gradient(vit, engine, tensor, 5)
    wanted = {
        Question("cls", head=1): lambda layer: maps.cls_map(traced, layer=layer, head=1),
        Question("cls", head="max"): lambda layer: maps.cls_map(traced, layer=layer, head="max"),
        Question("rollout"): lambda layer: maps.rollout(traced, layer=layer),
        Question("relevance", target=3): lambda layer: maps.relevance(traced, slope, layer=layer),
        Question("gradient-rollout", target=3): lambda layer: maps.gradient_rollout(traced, slope, layer=layer),
        Question("relevance", target=3, gradient="plain"): lambda layer: maps.relevance(traced, plain, layer=layer),
        Question("gradient-rollout", target=3, gradient="plain"): lambda layer: maps.gradient_rollout(traced, plain, layer=layer),
        Question("votes", target=3): lambda layer: ledger(vit, engine, traced, 3).heats(traced)[layer - 1],
        Question("votes", target=3, other=5): lambda layer: ledger(vit, engine, traced, 3, 5).heats(traced)[layer - 1],
        Question("fullgrad", target=3): lambda layer: fullgrad(vit, engine, tensor, 3).heats(traced)[layer - 1],
        Question("looks-at", patch=(1, 2)): lambda layer: maps.looks_at(traced, layer, (1, 2)),
        Question("looked-at-by", patch=(1, 2), head=0): lambda layer: maps.looked_at_by(traced, layer, (1, 2), 0),
        Question("relevance", target=3, other=5): lambda layer: (
            maps.relevance(traced, slope, layer=layer) - maps.relevance(traced, other, layer=layer)
        ),
    }
    for question, expected in wanted.items():
        found = heats(question, *given)
        assert (found.min() < 0) == question.signed, question
        assert found.shape == (3, *traced.grid)
        for layer in (1, 2, 3):
            torch.testing.assert_close(found[layer - 1], expected(layer), rtol=0, atol=1e-6)


def test_layers_are_counted_from_the_start_layer(asked):
    _, _, given = asked
    question = Question("rollout", layer=2, start_layer=2)
    assert len(heats(question, *given)) == 2
    torch.testing.assert_close(heat(question, *given), maps.rollout(given[0], start_layer=2, layer=2))
    with pytest.raises(UserError, match="before the start layer"):
        heats(Question("rollout", layer=1, start_layer=2), *given)


def test_the_top_class_is_meant_where_none_is_named(asked):
    vit, _, given = asked
    traced = given[0]
    top = int(traced.logits.argmax())
    torch.testing.assert_close(heats(Question("relevance"), *given), heats(Question("relevance", target=top), *given), rtol=0, atol=0)
    assert vit.labels[top].name.split(",")[0] in title(Question("relevance"), traced, vit)


@pytest.mark.parametrize(
    ("asked_for", "said"),
    [
        ({"method": "magic"}, "no method"),
        ({"gradient": "lrp"}, "There is no gradient “lrp”: choose libra or plain"),
        ({"method": "looks-at"}, "needs a patch"),
        ({"method": "looks-at", "patch": [1]}, "row and a column"),
        ({"layer": 1.5}, "layer must be a whole number"),
        ({"layer": float("nan")}, "layer must be a whole number"),
        ({"target": "cat"}, "target must be a whole number"),
        ({"head": "sideways"}, "head must be a whole number"),
        ({"head": True}, "head must be a whole number"),
        ({"discard": "much"}, "discard must be a number"),
        ({"target": 1e999}, "target must be a whole number"),
        ({"head": "9" * 5000}, "head must be a whole number"),
        ({"discard": 10**400}, "discard must be a number, at least 0 and less than 1"),
        ({"discard": float("nan")}, "discard must be a number, at least 0 and less than 1"),
    ],
)
def test_what_makes_no_sense(asked_for, said):
    with pytest.raises(UserError, match=said):
        Question.parse(asked_for)


def test_what_is_not_there(asked):
    _, _, given = asked
    with pytest.raises(UserError, match="There is no layer 1000"):  # more than a float holds
        heats(Question.parse({"layer": 10**400}), *given)
    for question in (Question(layer=4), Question("cls", head=9), Question("relevance", target=99), Question("looks-at", patch=(9, 0))):
        with pytest.raises(UserError, match="There is no"):
            heats(question, *given)
    with pytest.raises(UserError, match="all heads as one"):
        heats(Question("rollout", head=2), *given)


def test_titles(asked):
    vit, _, (traced, *_) = asked
    assert title(Question("cls", layer=2, head=1), traced, vit) == "CLS attention, layer 2, head 1"
    assert title(Question("rollout", start_layer=2), traced, vit) == "Rollout, layers 2 to 3, mean of 3 heads"
    assert title(Question("looked-at-by", patch=(0, 1), layer=1), traced, vit) == (
        "What the patch in row 1, column 2 is looked at by, layer 1, mean of 3 heads"
    )
    names = [label.name.split(",")[0] for label in vit.labels]
    assert title(Question("relevance", target=1, other=2), traced, vit) == f"Relevance for {names[1]} minus {names[2]}, layers 1 to 3"
    assert (
        title(Question("relevance", target=1, gradient="plain"), traced, vit)
        == f"Relevance by the plain gradient for {names[1]}, layers 1 to 3"
    )
    assert title(Question("votes", target=1, start_layer=2), traced, vit) == f"Patch votes for {names[1]}, layers 2 to 3"
    assert title(Question("fullgrad", target=1), traced, vit) == f"FullGrad+ for {names[1]}, layers 1 to 3"


@pytest.mark.parametrize("method", ["relevance", "votes"])
def test_a_class_is_not_its_own_rival(asked, method):
    *_, given = asked
    top = int(given[0].logits.argmax())
    for target in (top, None):
        with pytest.raises(UserError, match=r"are the same, and would cancel out: choose two classes\."):
            heats(Question(method, target=target, other=top), *given)
