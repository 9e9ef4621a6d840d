"""A whole training, far too short to learn: both stages, an interruption between them, and a bundle that loads."""

import os
import subprocess
import sys

import pytest
import torch

from tests.support.apps import ROOT
from vitdemo.classify.photo import classify
from vitdemo.core.config import Settings
from vitdemo.core.models import loader
from vitdemo.core.training import checkpoint
from vitdemo.sketches.draw import LABELS, sketch
from vitdemo.sketches.train import Drawings, temperature

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
