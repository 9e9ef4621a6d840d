"""The faithfulness bench on two photos, of which one has a mask that is known."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import noise
from vitdemo.bench import faithfulness
from vitdemo.cli import main
from vitdemo.core import config
from vitdemo.core.models import loader

METHODS = {"random", "centre prior", "last-layer CLS", "rollout", "gradient rollout", "relevance"}


@pytest.fixture
def photos(shared, tmp_path):
    """A photo whose animal is all of it, and one without a mask."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for index in (0, 1):
        noise(32, 24, index).resize((320, 240), Image.Resampling.BICUBIC).save(tmp_path / "images" / f"{index}.jpg")
    Image.fromarray(np.full((240, 320), 255, np.uint8)).save(tmp_path / "masks" / "0.png")
    return tmp_path


def test_figures_of_every_method(photos, vit, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loader, "load", lambda *_: vit)  # a faster one
    monkeypatch.setattr(faithfulness, "SEEDS", 2)
    monkeypatch.setattr(config, "ASSETS", tmp_path / "none")
    assert main(["bench", "faithfulness", "--photos", str(photos), "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())["faithfulness"]["pets"]
    assert set(figures) == METHODS
    for each in figures.values():
        assert each["hit"] == 1
        assert each["mass"] == pytest.approx(1)
        assert 0 < each["overlap"] < 1
        assert all(0 <= each[area] <= 1 for area in ("deletion_area", "insertion_area"))
    printed = capsys.readouterr().out
    assert "The demo model is not in assets/demo, so its drawn pictures are left out.\n" in printed
    assert f"{figures['relevance']['deletion_area']:.3f}" in printed


def test_the_demo_models_half(vit, monkeypatch):
    monkeypatch.setattr(faithfulness, "DRAWN", 3)
    monkeypatch.setattr(faithfulness, "ERASED", 2)
    monkeypatch.setattr(faithfulness, "SEEDS", 1)
    found = faithfulness._measure("drawn", vit, list(faithfulness._drawn()))
    assert set(found) == METHODS
    assert all(math.isfinite(number) for each in found.values() for number in each.values())


def test_photos_that_are_not_there(tmp_path, capsys):
    assert main(["bench", "faithfulness", "--photos", str(tmp_path / "none")]) == 1
    assert (
        f"{tmp_path / 'none'} is not there: set VITDEMO_SHARED, or give --photos a folder with images/ and masks/."
        in capsys.readouterr().err
    )
