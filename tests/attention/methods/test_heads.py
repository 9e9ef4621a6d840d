"""What is told of heads, layers and patches, against brute force and against timm's own head."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.support.pictures import noise
from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.attention.methods import heads, maps
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace_cache import run_trace


@pytest.fixture(scope="module", params=KINDS)
def case(request, engine):
    vit = small_vit(request.param)
    return vit, run_trace(vit, engine, images(1, *size_of(request.param, 3, 5))[0])


def even(found):
    """The same trace, if every token looked at all tokens alike."""
    return dataclasses.replace(found, attention=torch.full_like(found.attention, 1 / found.attention.shape[-1]))


def test_entropy(case):
    found = case[1]
    attention = found.attention.double().numpy()
    expected = [[np.mean([-sum(a * math.log(a) for a in row if a > 0) for row in head]) for head in layer] for layer in attention]
    assert np.allclose(heads.entropy(found).numpy(), expected, atol=1e-5)
    assert np.allclose(heads.entropy(even(found)).numpy(), math.log(attention.shape[-1]), atol=1e-5)
    alone = dataclasses.replace(found, attention=torch.eye(attention.shape[-1]).expand(found.attention.shape))
    assert (heads.entropy(alone) == 0).all()


def test_distance(case):
    found = case[1]
    width, height = found.patch
    places = [(row * height, column * width) for row in range(found.grid[0]) for column in range(found.grid[1])]
    for layer in range(found.layers):
        for head in range(found.heads):
            rows = []
            for query, here in enumerate(places):
                shares = found.attention[layer, head, found.prefix + query, found.prefix :].double().numpy()
                rows.append(sum(share * math.dist(here, there) for share, there in zip(shares / shares.sum(), places, strict=True)))
            assert float(heads.distance(found)[layer, head]) == pytest.approx(np.mean(rows), rel=1e-5)
    assert torch.allclose(heads.distance(even(found)), torch.tensor(np.mean([[math.dist(a, b) for a in places] for b in places])).float())


def test_logit_lens(case, engine):
    vit, found = case
    lens = heads.logit_lens(found, vit, engine)
    assert lens.shape == (3, 8)
    assert torch.allclose(lens[-1], found.logits, atol=1e-5)
    with torch.inference_mode():
        for layer in range(3):
            assert torch.allclose(lens[layer], vit.module.forward_head(vit.module.norm(found.tokens[layer][None]))[0], atol=1e-5)


def test_the_lens_as_a_table(case, engine):
    vit, found = case
    table = heads.lens_table(found, vit, engine, top=3)
    assert [row.layer for row in table] == [1, 2, 3]
    for row, logits in zip(table, heads.logit_lens(found, vit, engine), strict=True):
        order = sorted(enumerate(logits.softmax(-1).tolist()), key=lambda pair: -pair[1])
        assert [index for index, _ in row.classes] == [index for index, _ in order[:3]]
        assert [share for _, share in row.classes] == pytest.approx([share for _, share in order[:3]])
    assert len(heads.lens_table(found, vit, engine, top=99)[0].classes) == 8


def test_logit_lens_needs_classes(case, engine):
    vit, found = case
    with pytest.raises(UserError, match="gives features, not classes, so it decides nothing layer by layer: choose a model with classes"):
        heads.logit_lens(found, dataclasses.replace(vit, labels=()), engine)


def test_levels(case):
    found = case[1]
    for head in ("mean", 1):
        levels = heads.head_levels(found, head)
        expected = torch.stack([maps.layer_attention(found, layer, head) for layer in (1, 2, 3)])
        assert (levels.levels.dtype, levels.levels.shape) == (torch.uint16, expected.shape)
        error = (levels.low + levels.levels.float() * levels.scale - expected).abs()
        assert (error <= levels.scale * 0.51).all()
    assert (heads.to_levels(torch.ones(2, 3)).levels.float() == 0).all()
    many = torch.rand(2, heads.FINE + 1)
    levels = heads.to_levels(many)
    assert levels.levels.dtype == torch.uint8
    assert ((levels.low + levels.levels * levels.scale - many).abs() <= levels.scale * 0.51).all()


def test_norms(case):
    found = case[1]
    for layer in (None, 1, 3):
        assert torch.equal(heads.norms(found, layer).flatten(), found.tokens[(layer or 3) - 1, found.prefix :].norm(dim=-1))
    with pytest.raises(UserError, match="There is no layer 4: choose one from 1 to 3"):
        heads.norms(found, 4)


def test_the_real_models_lens_ends_in_its_answer(real_tiny, engine):
    found = run_trace(real_tiny, engine, real_tiny.preprocessing(noise(300, 200)))
    lens = heads.logit_lens(found, real_tiny, engine)
    assert torch.allclose(lens[-1], found.logits, atol=1e-4)
    expected = real_tiny.module.head(real_tiny.module.norm(found.tokens[4, 0]))
    assert torch.allclose(lens[4], expected, atol=1e-4)
