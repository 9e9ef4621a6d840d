"""Vectors are timm's own, whatever kind of ViT they come from."""

import pytest
import torch

from tests.support.small_vits import KINDS, PREFIX, images, size_of, small_vit
from vitdemo.core.errors import UserError
from vitdemo.embeddings.vectors.extract import FINAL, all_layers, check_layer, check_pool, layers_of, patch_tokens, pools_of

NO_CLS = {kind for kind in KINDS if kind.startswith("no CLS") or kind == "norms after"}


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_of_all_layers_are_timms(kind, engine):
    vit, batch = small_vit(kind), images(3, *size_of(kind, 4, 4))
    (logits, vectors), _ = engine.forward(all_layers(vit), batch)
    prefix = PREFIX.get(kind, 1)
    pools = ("mean",) if kind in NO_CLS else ("cls", "mean")
    assert pools_of(vit) == pools
    assert vectors.shape == (3, 4, len(pools), vit.module.embed_dim)
    with torch.inference_mode():
        torch.testing.assert_close(logits, vit.module(batch))
        final = vit.module.forward_features(batch)
        blocks = vit.module.get_intermediate_layers(batch, n=[0, 1, 2])
    for number, patches in enumerate([*blocks, final[:, prefix:]]):
        torch.testing.assert_close(vectors[:, number, -1], patches.mean(1))
    if len(pools) == 2:
        first = vit.module.get_intermediate_layers(batch, n=[0, 1, 2], return_prefix_tokens=True)
        for number, cls in enumerate([*(tokens[:, 0] for _, tokens in first), final[:, 0]]):
            torch.testing.assert_close(vectors[:, number, 0], cls)


@pytest.mark.parametrize("kind", KINDS)
def test_patch_tokens_are_timms(kind, engine):
    vit, batch = small_vit(kind), images(2, *size_of(kind, 4, 4))
    with torch.inference_mode():
        expected = vit.module.get_intermediate_layers(batch, n=[1])[0]
        final = vit.module.forward_features(batch)[:, PREFIX.get(kind, 1) :]
    torch.testing.assert_close(patch_tokens(vit, engine, batch, 2), expected.unflatten(1, (4, 4)))
    torch.testing.assert_close(patch_tokens(vit, engine, batch, FINAL), final.unflatten(1, (4, 4)))


def test_the_plain_pass_is_not_changed(engine):
    vit, batch = small_vit(), images(2)
    before, _ = engine.logits(vit, batch)
    engine.forward(all_layers(vit), batch)
    after, _ = engine.logits(vit, batch)
    assert torch.equal(before, after)


def test_layers_by_number_and_by_name():
    vit = small_vit()
    assert layers_of(vit) == (1, 2, 3, "final")
    assert [check_layer(vit, each) for each in (1, "3", "final")] == [1, 3, "final"]


@pytest.mark.parametrize("layer", [0, 4, -1, "last", "", "1.5", None])
def test_a_layer_that_is_not_there(layer):
    with pytest.raises(UserError, match="has the layers 1 to 3 and “final”"):
        check_layer(small_vit(), layer)


def test_a_pooling_that_is_not_there():
    assert check_pool(small_vit(), "cls") == "cls"
    with pytest.raises(UserError, match="has no CLS token: choose the pooling “mean”"):
        check_pool(small_vit("no CLS, average"), "cls")
    with pytest.raises(UserError, match="“max” is neither"):
        check_pool(small_vit(), "max")
