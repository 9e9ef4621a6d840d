"""Which model reads which features, and when another readout is chosen."""

import pytest
import torch

from vitdemo.core.errors import UsageError
from vitdemo.finetune.data.features import features_of
from vitdemo.finetune.heads.readout import all_of, candidates, choose, read_from, widths


def test_the_model_itself_is_left_as_it_is(vit):
    assert read_from(vit, "final") == (vit, {})
    before = vit.module.global_pool, len(vit.module.blocks)
    for features, arguments in (("mean", {"global_pool": "avg", "fc_norm": False}), ("both", {}), ("1", {"depth": 1})):
        read, found = read_from(vit, features)
        assert found == arguments
        assert read.module is not vit.module
    assert (vit.module.global_pool, len(vit.module.blocks)) == before
    assert candidates(vit) == ["final", "mean", "both", "2"]


def test_one_pass_reads_what_all_models_read(vit):
    wanted, batch = candidates(vit), torch.randn(2, 3, *vit.preprocessing.size)
    with torch.inference_mode():
        parts = all_of(vit, wanted)(batch).split(widths(vit, wanted), 1)
        for features, found in zip(wanted, parts, strict=True):
            assert torch.allclose(found, features_of(read_from(vit, features)[0].module)(batch), atol=1e-5)


def test_a_model_with_a_pooling_of_its_own_keeps_it(vit):
    averaged, _ = read_from(vit, "mean")
    assert candidates(averaged) == ["final"]
    with pytest.raises(UsageError, match="leave --features at final"):
        read_from(averaged, "1")


def test_another_readout_has_to_be_clearly_better():
    noise = 0.1 * torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert choose([1 + noise, 1 - noise.abs().mean() + noise]) == 1
    assert choose([torch.ones(50), 0.999 + noise - noise.mean()]) == 0
