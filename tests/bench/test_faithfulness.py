"""The faithfulness bench on two photos, of which one has a mask that is known."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.bench.conftest import words
from tests.support.pictures import noise
from vitdemo.bench import faithfulness
from vitdemo.cli import main
from vitdemo.core import config

METHODS = {"random", "centre prior", "last-layer CLS", "rollout", "gradient rollout", "relevance"}


@pytest.fixture
def photos(tmp_path):
    """A photo whose animal is all of it, and one without a mask."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for index in (0, 1):
        noise(32, 24, index).resize((320, 240), Image.Resampling.BICUBIC).save(tmp_path / "images" / f"{index}.jpg")
    Image.fromarray(np.full((240, 320), 255, np.uint8)).save(tmp_path / "masks" / "0.png")
    return tmp_path


def test_figures_of_every_method(photos, small_models, tmp_path, capsys, monkeypatch):
    small_models(tmp_path / "shared", faithfulness.TINY)
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


def test_both_halves_are_measured(photos, small_models, tmp_path, monkeypatch):
    vit, asked = small_models(tmp_path / "shared", faithfulness.TINY), []
    monkeypatch.setattr(faithfulness, "DRAWN", 3)
    monkeypatch.setattr(faithfulness, "_measure", lambda title, model, pairs: asked.append((title, model, pairs)) or {"pairs": len(pairs)})
    assert faithfulness.run(photos=photos) == {"pets": {"pairs": 2}, "drawn": {"pairs": 3}}
    (first, model, pairs), (second, _, drawn) = asked
    assert first == f"{faithfulness.TINY} on {photos}"
    assert second == "the demo model on 3 fresh drawn pictures"
    assert model is vit
    assert [mask is None for _, mask in pairs] == [False, True]  # the second has no mask
    assert [image.size for image, _ in drawn] == [mask.size for _, mask in drawn] == [(224, 224)] * 3


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


def test_the_means_are_of_known_maps(vit, monkeypatch, capsys):
    """Two methods with known agreements and curves, on five photos of which three are erased."""
    from vitdemo.attention.methods import faithfulness as methods

    shape = SimpleNamespace(shape=(2, 2))
    monkeypatch.setattr(faithfulness, "ERASED", 3)
    monkeypatch.setattr(faithfulness, "_maps", lambda vit, engine, image: (image, {"one": [shape], "two": [shape, shape]}, 7))
    monkeypatch.setattr(methods, "mask_shares", lambda mask, preprocessing, shape: mask)
    monkeypatch.setattr(methods, "agreement", lambda heat, shares: SimpleNamespace(hit=shares, overlap=shares / 2, mass=shares / 4))
    erased = []

    def curve(vit, engine, tensor, heat, target):
        erased.append((tensor, target))
        return SimpleNamespace(deletion_area=tensor, insertion_area=2 * tensor)

    monkeypatch.setattr(methods, "erase_curve", curve)
    pairs = [(0, None), (1, 1.0), (2, 0.0), (3, 0.5), (4, None)]
    found = faithfulness._measure("title", vit, pairs)
    means = {"hit": 0.5, "overlap": 0.25, "mass": 0.125, "deletion_area": 2.0, "insertion_area": 4.0}
    assert found == {"one": means, "two": means}
    assert erased == [(0, 7)] * 3 + [(2, 7)] * 3 + [(4, 7)] * 3
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("title: hits, overlap and mass on 5, deletion (lower is better) and insertion on 3")
    assert words(said[2]) == "one 0.500 0.250 0.125 2.000 4.000"


def test_the_mean_of_nothing_is_no_number():
    assert math.isnan(faithfulness._mean([]))
    assert faithfulness._mean(iter([1, 2, 6])) == 3


def test_every_method_gives_its_maps(vit, engine, monkeypatch):
    monkeypatch.setattr(faithfulness, "SEEDS", 3)
    tensor, maps, target = faithfulness._maps(vit, engine, noise(40, 30))
    assert set(maps) == METHODS
    assert {name: len(each) for name, each in maps.items()} == dict.fromkeys(METHODS, 1) | {"random": 3}
    assert {tuple(heat.shape) for each in maps.values() for heat in each} == {(14, 14)}
    assert not np.array_equal(maps["random"][0], maps["random"][1])
    assert target == int(vit.module(tensor[None]).argmax())
