"""A training step against torch's own arithmetic, and a run that is interrupted."""

import math

import pytest
import timm
import torch
from torch import nn

from vitdemo.core.training.trainer import Trainer, TrainerConfig


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))


def batches(count: int, size: int = 4):
    make = torch.Generator().manual_seed(1)
    return [(torch.randn(size, 3, 2, 2, generator=make), torch.randint(0, 3, (size,), generator=make)) for _ in range(count)]


def test_one_update_is_torch_s_adamw():
    ours, theirs, recipe = network(), network(), TrainerConfig(steps=10, lr=1e-2, clip=None, weight_decay=0.0)
    (images, targets), *_ = batches(1)
    update = Trainer(ours, recipe, nn.CrossEntropyLoss()).take(images, targets)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.0)
    loss = nn.CrossEntropyLoss()(theirs(images), targets)
    loss.backward()
    optimizer.step()
    assert (update.step, update.lr) == (1, 1e-2)
    assert update.loss == pytest.approx(loss.item(), abs=1e-6)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_accumulated_batches_are_one_large_batch():
    one, two = network(), network()
    pieces = batches(4)
    trainer = Trainer(one, TrainerConfig(steps=5, lr=1e-2, accumulate=4), nn.CrossEntropyLoss())
    updates = [trainer.take(*piece) for piece in pieces]
    assert [each is None for each in updates] == [True, True, True, False]
    whole = torch.cat([images for images, _ in pieces]), torch.cat([targets for _, targets in pieces])
    single = Trainer(two, TrainerConfig(steps=5, lr=1e-2), nn.CrossEntropyLoss()).take(*whole)
    assert updates[3].loss == pytest.approx(single.loss, abs=1e-6)
    for mine, other in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-5)


def test_the_rate_rises_and_falls_along_a_cosine():
    trainer = Trainer(network(), TrainerConfig(steps=20, lr=1.0, warmup=5), nn.CrossEntropyLoss())
    rates = [trainer.take(*piece).lr for piece in batches(20)]
    expected = [step / 5 if step < 5 else (1 + math.cos(math.pi * step / 20)) / 2 for step in range(20)]
    assert rates == pytest.approx(expected, abs=1e-6)


def test_layer_decay_holds_from_the_first_step():
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, depth=3, embed_dim=48, num_heads=3)
    trainer = Trainer(model, TrainerConfig(steps=5, lr=1.0, layer_decay=0.5), nn.CrossEntropyLoss())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(each)]: group["lr"] for group in trainer.optimizer.param_groups for each in group["params"]}
    assert rates["head.weight"] == 1.0
    assert rates["blocks.2.attn.qkv.weight"] == pytest.approx(0.5)
    assert rates["blocks.0.attn.qkv.weight"] == pytest.approx(0.125)
    assert rates["patch_embed.proj.weight"] == pytest.approx(0.0625)


def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path):
    recipe, pieces = TrainerConfig(steps=8, lr=1e-2, warmup=2, ema=0.9), batches(8)
    whole = Trainer(network(), recipe, nn.CrossEntropyLoss())
    for piece in pieces:
        whole.take(*piece)
    first = Trainer(network(), recipe, nn.CrossEntropyLoss())
    for piece in pieces[:5]:
        first.take(*piece)
    first.save(tmp_path / "run.safetensors", seen=20)
    second = Trainer(network(), recipe, nn.CrossEntropyLoss())
    assert second.load(tmp_path / "run.safetensors") == {"seen": 20}
    assert second.step == 5
    for piece in pieces[5:]:
        second.take(*piece)
    for part in ("model", "best"):
        for mine, other in zip(getattr(second, part).parameters(), getattr(whole, part).parameters(), strict=True):
            assert torch.equal(mine, other)


def test_a_diverging_loss_is_noticed():
    trainer = Trainer(network(), TrainerConfig(steps=3, lr=1e-2), lambda logits, targets: logits.sum() * float("nan"))
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        trainer.take(*batches(1)[0])
