"""Artefacts: long tokens are found where they are longest, their attention is counted, and a map can do without them."""

import dataclasses
from collections import Counter

import pytest
import torch

from tests.support.small_vits import KINDS, images, size_of, small_vit
from vitdemo.attention.methods.artefacts import Artefacts, artefact_note, cls_shares, find_artefacts, patch_share, without_artefacts
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import Trace
from vitdemo.core.inference.trace_cache import run_trace
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.search import find_items


@pytest.fixture(params=KINDS)
def even(request, engine) -> Trace:
    """A trace whose tokens all have length 1."""
    found = run_trace(small_vit(request.param), engine, images(1, *size_of(request.param, 3, 5))[0])
    return dataclasses.replace(found, tokens=torch.ones_like(found.tokens) / found.tokens.shape[-1] ** 0.5)


def test_long_tokens_are_found_where_they_are_longest(even):
    assert find_artefacts(even).places == []
    tokens = even.tokens.clone()
    tokens[:, : even.prefix] *= 100  # prefix tokens are no patches
    tokens[0, even.prefix + 4] *= 2.1
    tokens[1, [even.prefix + 7, even.prefix + 14]] *= torch.tensor([[30.0], [2.1]])
    tokens[1, even.prefix + 3] *= 1.9
    tokens[2, even.prefix + 3] *= 29
    found = find_artefacts(dataclasses.replace(even, tokens=tokens))
    assert (found.layer, found.places) == (2, [(1, 2), (2, 4)])
    assert not found.at_corners
    assert Artefacts(1, torch.eye(2, dtype=torch.bool)).at_corners


def test_their_share_of_attention(even):
    mask = torch.zeros(even.grid, dtype=torch.bool)
    mask[0, 1] = mask[2, 4] = True
    found, places = Artefacts(2, mask), [even.prefix + 1, even.prefix + 14]
    for layer in (1, 2, 3):
        rows = even.attention[layer - 1]
        expected = ((torch.eye(len(even.readout))[0] if even.has_cls else even.readout) @ rows.mean(0))[places].sum()
        assert float(cls_shares(even, found)[layer - 1]) == pytest.approx(float(expected), abs=1e-6)
        assert patch_share(even, found, layer, (1, 0)) == pytest.approx(float(rows.mean(0)[even.prefix + 5, places].sum()), abs=1e-6)
        assert patch_share(even, found, layer, (1, 0), 2) == pytest.approx(float(rows[2, even.prefix + 5, places].sum()), abs=1e-6)
    with pytest.raises(UserError, match="There is no patch in row 3"):
        patch_share(even, found, 1, (3, 0))


def test_a_map_without_them():
    heat = torch.arange(12.0).view(3, 4)
    mask = torch.zeros(3, 4, dtype=torch.bool)
    assert torch.equal(without_artefacts(heat, Artefacts(1, mask)), heat)
    mask[0, 0] = mask[0, 1] = mask[2, 3] = True
    expected = heat.clone()
    expected[0, 0], expected[0, 1], expected[2, 3] = 4, (2 + 5) / 2, (7 + 10) / 2
    assert torch.equal(without_artefacts(heat, Artefacts(1, mask)), expected)
    assert torch.equal(without_artefacts(torch.stack((heat, -heat)), Artefacts(1, mask)), torch.stack((expected, -expected)))
    assert torch.equal(without_artefacts(heat, Artefacts(1, torch.ones(3, 4, dtype=torch.bool))), heat)


@pytest.mark.parametrize(
    ("places", "share", "note"),
    [
        ([], 0.5, ""),
        ([(0, 0)], 0.034, "1 corner patch holds 3 % of CLS's attention: a known artefact."),
        ([(0, 0), (0, 3), (2, 0), (2, 3)], 0.69, "4 corner patches hold 69 % of CLS's attention: a known artefact."),
        ([(0, 0), (1, 1)], 0.3, "2 patches hold 30 % of CLS's attention: a known artefact."),
    ],
)
def test_notes(places, share, note):
    mask = torch.zeros(3, 4, dtype=torch.bool)
    for place in places:
        mask[place] = True
    assert artefact_note(Artefacts(1, mask), share, "CLS's") == note


def test_the_real_model_has_them_in_the_corners(real_tiny, shared, engine, settings):
    counted: Counter = Counter()
    shares = []
    paths = [item.path for item in find_items([shared / "data" / "imagenet_val"])][::5]
    for path in paths:
        traced = run_trace(real_tiny, engine, real_tiny.preprocessing(open_photo(path, settings).image))
        found = find_artefacts(traced)
        assert found.layer >= 8
        counted.update(found.places)
        shares.append(cls_shares(traced, found))
    corners = [counted[place] for place in ((0, 0), (0, 13), (13, 0), (13, 13))]
    assert min(corners) >= 0.9 * len(paths)
    assert sum(corners) >= 0.95 * counted.total()
    mean = torch.stack(shares).mean(0)
    assert 0.2 < float(mean[8:].min()) <= float(mean[8:].max()) < 0.35
    assert float(mean[:6].max()) < 0.1
