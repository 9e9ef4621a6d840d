"""What Trockman & Kolter describe of trained attention is there before the training."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from vitdemo.sketches.initialisation import initialise


@pytest.fixture(scope="module")
def begun():
    torch.manual_seed(0)
    vit = VisionTransformer(img_size=112, embed_dim=128, depth=2, num_heads=4, num_classes=21)
    initialise(vit)
    return vit


@torch.no_grad()
def test_queries_meet_their_own_keys_and_values_pass_on_negated(begun):
    for block in begun.blocks:
        queries, keys, values = block.attn.qkv.weight.chunk(3)
        for query, key in zip(queries.split(32), keys.split(32), strict=True):
            product = query.T @ key
            assert product.diagonal().mean() > 5 * (product - product.diagonal().diag()).abs().mean()
        passed = block.attn.proj.weight @ values
        assert passed.diagonal().mean() == pytest.approx(-0.4, abs=0.02)
        assert (passed + 0.4 * torch.eye(128)).std() == pytest.approx(0.4 / 128**0.5, rel=0.05)


@torch.no_grad()
def test_position_embeddings_know_who_is_near(begun):
    grid = begun.pos_embed[0, 1:]
    alike = torch.nn.functional.cosine_similarity(grid[24], grid, dim=-1).view(7, 7)  # 24 is the middle one
    assert alike[3, 3] > alike[3, 4] > alike[3, 6]
    assert alike[3, 3] > alike[4, 3] > alike[6, 3]
    assert begun.pos_embed[0, 0].abs().max() == 0
