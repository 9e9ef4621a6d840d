"""Names for everything that a photo's numbers depend on beside the photo."""

import copy
from dataclasses import replace

import torch

from tests.support.small_vits import small_vit
from vitdemo.core.models.fingerprint import fingerprint, key_of


def test_the_key_follows_weights_architecture_preprocessing_and_precision():
    vit = small_vit()
    key = key_of(vit, vit.preprocessing)
    assert key == key_of(small_vit(), vit.preprocessing)
    other_weights = replace(vit, module=copy.deepcopy(vit.module))
    with torch.no_grad():
        other_weights.module.blocks[1].mlp.fc1.bias[0] += 1e-6
    keys = {
        key,
        key_of(other_weights, vit.preprocessing),
        key_of(small_vit(seed=1), vit.preprocessing),
        key_of(small_vit("CLS, average"), vit.preprocessing),
        key_of(vit, replace(vit.preprocessing, crop_pct=0.5)),
        key_of(replace(vit, precision="bf16"), vit.preprocessing),
        key_of(vit, vit.preprocessing, draft=True),
    }
    assert len(keys) == 7


def test_heads_are_part_of_a_model():
    vit = small_vit()
    other = replace(vit, module=copy.deepcopy(vit.module))
    other.module.blocks[0].attn.num_heads = 4
    assert fingerprint(vit) != fingerprint(other)
