"""Which model reads which features, and when another readout is chosen."""

import pytest
import torch

from vitdemo.core.errors import UsageError
from vitdemo.finetune.learning.readout import candidates, choose, read_from


def test_the_model_itself_is_left_as_it_is(vit):
    assert read_from(vit, "final") == (vit, {})
    before = vit.module.global_pool, len(vit.module.blocks)
    for features, arguments in (("mean", {"global_pool": "avg", "fc_norm": False}), ("1", {"depth": 1})):
        read, found = read_from(vit, features)
        assert found == arguments
        assert read.module is not vit.module
    assert (vit.module.global_pool, len(vit.module.blocks)) == before
    assert candidates(vit) == ["final", "mean", "2"]


def test_a_model_with_a_pooling_of_its_own_keeps_it(vit):
    averaged, _ = read_from(vit, "mean")
    assert candidates(averaged) == ["final"]
    with pytest.raises(UsageError, match="leave --features at final"):
        read_from(averaged, "1")


def test_another_readout_has_to_be_clearly_better():
    noise = 0.1 * torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert choose([1 + noise, 1 - noise.abs().mean() + noise]) == 1
    assert choose([torch.ones(50), 0.999 + noise - noise.mean()]) == 0
