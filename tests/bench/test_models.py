"""The models of benches: the same one as timm makes it and as this app loads it, in each precision, with real weights where they are."""

import pytest
import torch

from tests.support.apps import TINY
from vitdemo.bench import models
from vitdemo.core import config
from vitdemo.core.errors import UserError


def test_weights_are_real_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "SHARED", tmp_path)
    assert (models.weights_of(TINY), models.weights_note(TINY)) == (None, " with random weights")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{TINY}.safetensors").touch()
    assert (models.weights_of(TINY), models.weights_note(TINY)) == (tmp_path / "weights" / f"{TINY}.safetensors", "")


def test_both_models_are_the_same_one(monkeypatch, tmp_path):
    monkeypatch.setattr(config, "SHARED", tmp_path)  # without weights: random ones
    network, vit = models.network_of(TINY), models.vit_of(TINY)
    image = torch.randn(1, 3, 224, 224)
    assert torch.equal(network(image), vit.module(image))
    assert (vit.name, len(vit.labels), vit.parameters) == (TINY, 1000, sum(each.numel() for each in network.parameters()))


def test_real_weights_are_loaded_where_they_are(monkeypatch, tmp_path):
    import timm

    made = []

    class Network:
        def eval(self) -> "Network":
            return self

        def to(self, dtype: torch.dtype) -> str:
            return f"network in {dtype}"

    monkeypatch.setattr(timm, "create_model", lambda name, **options: made.append((name, options)) or Network())
    monkeypatch.setattr(config, "SHARED", tmp_path)
    assert models.network_of(TINY) == "network in torch.float32"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{TINY}.safetensors").touch()
    models.network_of(TINY)
    file = {"file": str(tmp_path / "weights" / f"{TINY}.safetensors"), "custom_load": False}
    assert made == [(TINY, {"pretrained": False}), (TINY, {"pretrained": True, "pretrained_cfg_overlay": file})]


def test_a_vit_of_each_precision(small_network):
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        vit = models.vit_of("m", name)
        assert (vit.precision, vit.module.blocks[0].attn.qkv.weight.dtype) == (name, dtype)


def test_operations_of_a_pass(small_network):
    """Counted by hand: the patches, and in each block q, k and v, attention twice, the projection and the MLP; then the head."""
    vit = models.vit_of("m")
    width, tokens = vit.adapter.width, vit.adapter.tokens(vit.preprocessing.size)
    hidden = vit.module.blocks[0].mlp.fc1.out_features
    block = tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width
    patches = (tokens - vit.adapter.prefix) * 3 * vit.patch[0] * vit.patch[1] * width
    macs = patches + vit.adapter.layers * block + width * len(vit.labels)
    assert models.gigaflops(vit) == pytest.approx(2 * macs / 1e9, rel=1e-6)


def test_photos_are_those_given_or_shared(five, tmp_path, monkeypatch):
    assert [str(item.path) for item in models.photos_of(tmp_path)] == five
    monkeypatch.setattr(config, "SHARED", tmp_path / "none")
    with pytest.raises(UserError, match="set VITDEMO_SHARED, or give --photos DIR"):
        models.photos_of(None, "pets")
