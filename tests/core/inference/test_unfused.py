"""The unfused twin: the same weights, the same answers, and the original as it was."""

import pytest
import torch

from tests.support.small_vits import KINDS, images, size_of, small_vit, timms_attention, unfused_vit
from vitdemo.core.inference.unfused import maps_of, unfused


@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_shares_the_weights_and_shows_its_attention(kind):
    vit, batch = small_vit(kind), images(2, *size_of(kind, 2, 3))
    twin = unfused(vit.module)
    assert [each.data_ptr() for each in twin.parameters()] == [each.data_ptr() for each in vit.module.parameters()]
    assert {each.fused_attn for each in twin.modules() if hasattr(each, "fused_attn")} == {False}
    assert {each.fused_attn for each in vit.module.modules() if hasattr(each, "fused_attn")} == {True}
    with torch.inference_mode():
        logits, maps = maps_of(twin, batch, kind)
        assert torch.allclose(logits, vit.module(batch), atol=1e-5)
    assert torch.allclose(torch.stack(maps), timms_attention(unfused_vit(kind), batch), atol=1e-6)
