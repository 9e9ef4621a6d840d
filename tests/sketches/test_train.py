"""A whole training, far too short to learn: both stages, an interruption between them, and a bundle that loads."""

import json
import os
import subprocess
import sys

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from tests.support.apps import ROOT
from vitdemo.classify.photo import classify
from vitdemo.core.config import Settings
from vitdemo.core.models import loader
from vitdemo.core.training import checkpoint
from vitdemo.core.training.trainer import TrainerConfig
from vitdemo.sketches import train
from vitdemo.sketches.draw import LABELS, sketch
from vitdemo.sketches.train import Drawings, TokenLabelled, TrainingStage, temperature

BACKGROUND = len(LABELS)


def test_drawings_carry_their_labels_patch_by_patch():
    image, targets = next(iter(Drawings(224, seed=5)))
    assert image.shape == (3, 224, 224)
    assert targets.shape == (1 + 14 * 14,)
    drawn = sketch(LABELS[targets[0]], 5, 224)
    assert torch.equal(
        ((image + 1) * 127.5).round().byte(),
        torch.tensor(list(drawn.image.tobytes()), dtype=torch.uint8).view(224, 224, 3).permute(2, 0, 1),
    )
    for row, column in ((0, 0), (7, 7), (13, 4)):
        box = (16 * column, 16 * row, 16 * column + 16, 16 * row + 16)
        share = sum(drawn.mask.crop(box).tobytes()) / 255 / 256
        assert targets[1 + 14 * row + column] == (targets[0] if share > 1 / 3 else BACKGROUND)


def test_pictures_go_on_where_they_were_left():
    whole = iter(Drawings(112, seed=5))
    third = [next(whole) for _ in range(3)][2]
    again = next(iter(Drawings(112, seed=5, start=2)))
    assert torch.equal(third[0], again[0])
    assert torch.equal(third[1], again[1])


def test_temperature_finds_the_scale_that_was_put_in():
    make = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=make) * 2
    targets = torch.multinomial(logits.softmax(-1), 1, generator=make)[:, 0]
    assert temperature(logits * 3, targets) == pytest.approx(3, rel=0.05)


@pytest.mark.slow
def test_a_short_training_goes_on_and_ends_in_a_bundle(tmp_path, engine):
    command = [sys.executable, "-m", "vitdemo.sketches.train", "--work", tmp_path / "work", "--output", tmp_path / "demo", "--small", "128"]
    for large in ("32", "64"):
        subprocess.run([*command, "--large", large], cwd=ROOT, check=True, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "2"})
    vit = loader.load(f"local-dir:{tmp_path / 'demo'}", Settings(), torch.device("cpu"), lambda _: None)
    assert tuple(label.name for label in vit.labels) == LABELS
    assert (vit.preprocessing.size, vit.preprocessing.crop_pct, vit.preprocessing.mean) == ((224, 224), 1.0, (0.5, 0.5, 0.5))
    assert checkpoint.load(tmp_path / "work" / "large.safetensors")["step"] == 2
    assert classify(sketch("cat", 1).image, vit, engine).unfamiliar in (True, False)
    assert sum(each.stat().st_size for each in (tmp_path / "demo").iterdir()) < 12_000_000


@pytest.fixture
def tiny(monkeypatch) -> dict:
    """The training's shape, of one narrow layer."""
    shape = train.SHAPE | {"depth": 1, "embed_dim": 16, "num_heads": 2}
    monkeypatch.setattr(train, "SHAPE", shape)
    return shape


def stage(steps: int, size: int = 32, lr: float = 1e-3) -> TrainingStage:
    return TrainingStage("small", size, 3, TrainerConfig(steps, lr=lr))


def test_the_stages_share_out_the_pictures():
    small, large = train.stages(6400, 640)
    assert (small.name, small.size, small.batch, small.recipe.steps) == ("small", 112, 64, 100)
    assert (large.name, large.size, large.batch, large.recipe.steps) == ("large", 224, 32, 20)
    assert small.recipe.lr == 2 * large.recipe.lr == 2e-3


def test_pictures_and_patches_are_classified(tiny):
    model = TokenLabelled(VisionTransformer(img_size=32, **tiny)).eval()
    pictures, patches = model(torch.randn(3, 3, 32, 32))
    assert (pictures.shape, patches.shape) == ((3, len(LABELS)), (3, 4, len(LABELS) + 1))


def test_the_loss_is_the_pictures_and_half_of_the_patches():
    classes = len(LABELS)
    even = torch.zeros(2, classes), torch.zeros(2, 4, classes + 1)
    targets = torch.tensor([[1, 1, BACKGROUND, 1, 1], [0, BACKGROUND, 0, 0, 0]])
    expected = torch.log(torch.tensor(float(classes))) + 0.5 * torch.log(torch.tensor(classes + 1.0))
    assert train.token_loss(even, targets).item() == pytest.approx(expected.item(), rel=1e-5)
    sure = torch.nn.functional.one_hot(targets[:, 1:], classes + 1) * 50.0
    assert train.token_loss((even[0], sure), targets).item() == pytest.approx(torch.log(torch.tensor(float(classes))).item(), rel=1e-5)


def test_a_stage_goes_on_from_its_checkpoint(tiny, tmp_path, monkeypatch):
    starts = []

    class Noted(Drawings):
        def __init__(self, size: int, seed: int, start: int = 0):
            super().__init__(size, seed, start)
            starts.append((size, seed, start))

    monkeypatch.setattr(train, "Drawings", Noted)
    first = train.train(stage(1), tmp_path, None, 5, 0)
    assert checkpoint.load(tmp_path / "small.safetensors")["step"] == 1
    again = train.train(stage(1), tmp_path, None, 5, 0)  # it is at its end
    assert all(torch.equal(first["vit"][name], again["vit"][name]) for name in first["vit"])
    further = train.train(stage(3), tmp_path, None, 5, 0)
    assert starts == [(32, 5, 0), (32, 5, 3)]
    assert checkpoint.load(tmp_path / "small.safetensors")["step"] == 3
    assert not torch.equal(first["vit"]["head.weight"], further["vit"]["head.weight"])
    assert first["patch_head"]["weight"].shape == (len(LABELS) + 1, 16)


def test_a_stage_begins_from_other_weights_at_its_own_size(tiny, tmp_path):
    begin = train.train(stage(1), tmp_path, None, 5, 0)
    begin["patch_head"]["weight"].fill_(7.0)
    (tmp_path / "next").mkdir()
    found = train.train(stage(1, size=64, lr=1e-9), tmp_path / "next", begin, 5, 0)
    assert found["vit"]["pos_embed"].shape == (1, 17, 16)
    for part, name in (("vit", "head.weight"), ("vit", "blocks.0.attn.qkv.weight"), ("patch_head", "weight")):
        torch.testing.assert_close(found[part][name], begin[part][name])
    del begin["patch_head"]  # as a finished bundle has it
    (tmp_path / "other").mkdir()
    found = train.train(stage(1, size=64, lr=1e-9), tmp_path / "other", begin, 5, 0)
    assert found["patch_head"]["weight"].abs().max() < 1


def test_new_pictures_are_measured_in_whole_batches(tiny, monkeypatch):
    model = VisionTransformer(img_size=224, **tiny).eval()
    monkeypatch.setattr(train, "DataLoader", lambda drawings, batch, num_workers: torch.utils.data.DataLoader(Cut(drawings.seed), batch))
    logits, features, targets = train.measure(model, 9, 40)
    assert (logits.shape, features.shape, targets.shape) == ((64, len(LABELS)), (64, 16), (64,))
    torch.testing.assert_close(features @ model.head.weight.T + model.head.bias, logits)


class Cut(Drawings):
    """Drawings that are noise: they take no time."""

    def __init__(self, seed: int):
        super().__init__(224, seed)

    def __iter__(self):
        make = torch.Generator().manual_seed(self.seed)
        while True:
            yield torch.randn(3, 224, 224, generator=make), torch.randint(0, len(LABELS), (197,), generator=make)


def test_a_finished_model_is_calibrated(tiny, tmp_path, monkeypatch, capsys):
    from vitdemo.core.models.ood import OodDetector

    make = torch.Generator().manual_seed(0)
    targets = torch.arange(600) % len(LABELS)
    asked = []

    def measure(model, seed: int, count: int):
        asked.append((seed, count))
        features = torch.nn.functional.one_hot(targets, len(LABELS)).float() @ centres + 0.1 * torch.randn(600, 16, generator=make)
        logits = torch.nn.functional.one_hot(targets, len(LABELS)) * 3.0 + torch.randn(600, len(LABELS), generator=make)
        return logits, features, targets

    centres = torch.randn(len(LABELS), 16, generator=make)
    monkeypatch.setattr(train, "measure", measure)
    weights = {"vit": VisionTransformer(img_size=224, **tiny).state_dict()}
    logits, _, _ = measure(None, 0, 0)
    scale = temperature(logits, targets)
    make.manual_seed(0)
    torch.randn(len(LABELS), 16, generator=make)
    asked.clear()
    train.finish(weights, tmp_path / "demo", 5)
    assert asked == [(5 + train.FRESH, 2000), (5 + 2 * train.FRESH, 4000)]
    said = capsys.readouterr().out
    assert f"temperature {scale:.3f}" in said
    accuracy = (logits.argmax(-1) == targets).float().mean()
    assert f"accuracy on 600 fresh pictures {accuracy:.4f}" in said
    vit = loader.load(f"local-dir:{tmp_path / 'demo'}", Settings(), torch.device("cpu"), lambda _: None)
    assert tuple(label.name for label in vit.labels) == LABELS
    torch.testing.assert_close(vit.module.head.weight, weights["vit"]["head.weight"] / scale, atol=1e-3, rtol=1e-2)  # fp16
    assert isinstance(vit.ood, OodDetector)
    assert json.loads(said.splitlines()[-1]).keys() == {path.name for path in (tmp_path / "demo").iterdir()}


@pytest.mark.parametrize("from_bundle", [False, True])
def test_the_whole_program(from_bundle, tmp_path, monkeypatch):
    log = []

    def learn(stage: TrainingStage, work, begin, seed: int, workers: int) -> dict:
        log.append((stage.name, stage.recipe.steps, work, begin and begin["vit"]["a"].item(), seed, workers))
        return {"vit": {"a": torch.tensor(3.0)}}

    monkeypatch.setattr(train, "train", learn)
    monkeypatch.setattr(train, "weights_of", lambda folder: {"vit": {"a": torch.tensor(1.0)}})
    monkeypatch.setattr(train, "finish", lambda weights, folder, seed: log.append((weights["vit"]["a"].item(), folder, seed)))
    begin = ["--begin", str(tmp_path)] if from_bundle else []
    work, output = tmp_path / "deep" / "work", tmp_path / "out"
    flags = ["--work", str(work), "--output", str(output), "--small", "128", "--large", "96", "--seed", "4", "--workers", "0"]
    monkeypatch.setattr("sys.argv", ["train", *flags, *begin])
    train.main()
    assert work.is_dir()
    if from_bundle:  # the mean of before and after
        assert log == [("large", 3, work, 1.0, 4, 0), (2.0, output, 4)]
    else:
        assert log == [("small", 2, work, None, 4, 0), ("large", 3, work, 3.0, 4, 0), (3.0, output, 4)]


def test_a_finished_bundle_has_the_weights_to_begin_from(bundle):
    from safetensors.torch import load_file

    weights, saved = train.weights_of(bundle), load_file(bundle / "model.safetensors")
    assert weights.keys() == {"vit"}
    assert weights["vit"].keys() == saved.keys()
    assert all(torch.equal(weights["vit"][name], saved[name].float()) for name in saved)
