"""The faithfulness bench on two photos, of which one has a mask that is known, and the card that it writes."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.bench.conftest import words
from tests.support.pictures import noise
from vitdemo.bench import faithfulness
from vitdemo.cli import main
from vitdemo.core import config

METHODS = {"random", "centre", *faithfulness.methods(3)}


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
    monkeypatch.setattr(config, "ASSETS", tmp_path / "none")
    assert main(["bench", "faithfulness", "--photos", str(photos), "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())["faithfulness"]
    assert set(figures) == {"pets"}, "there are no photos with classes for mosaics"
    assert (figures["pets"]["photos"], figures["pets"]["erased"], figures["pets"]["mosaics"]) == (2, 2, 0)
    assert set(figures["pets"]["rows"]) == METHODS
    for cells in figures["pets"]["rows"].values():
        assert cells["hit"]["value"] == 1
        assert cells["mass"]["value"] == pytest.approx(1)
        assert all(0 <= cells[area]["low"] <= cells[area]["value"] <= cells[area]["high"] <= 1 for area in ("deletion", "insertion"))
    printed = capsys.readouterr().out
    assert "The demo model is not in assets/demo, so its drawn pictures are left out.\n" in printed
    area = figures["pets"]["rows"]["relevance"]["deletion"]
    assert f" {area['value']:.3f} [{area['low']:.3f}, {area['high']:.3f}]" in printed


def test_all_parts_are_measured(photos, small_models, tmp_path, monkeypatch):
    vit, asked = small_models(tmp_path / "shared", faithfulness.TINY), []
    (tmp_path / "shared" / "data" / "imagenet_val" / "cat").mkdir(parents=True)
    noise(32, 24).save(tmp_path / "shared" / "data" / "imagenet_val" / "cat" / "0.png")
    monkeypatch.setattr(faithfulness, "DRAWN", 3)
    monkeypatch.setattr(faithfulness, "measure", lambda title, vit, subjects, **rest: asked.append((vit, subjects, rest)) or len(subjects))
    assert faithfulness.run(photos=photos) == {"pets": 2, "mosaics": 1, "drawn": 3}
    assert [rest for _, _, rest in asked] == [{"erase": 48}, {"mosaics": 25}, {"erase": 48, "mosaics": 25}]
    pets, mosaics, drawn = (subjects for _, subjects, _ in asked)
    assert [subject.shares is None for subject in pets] == [False, True]  # the second has no mask
    assert [subject.label for subject in mosaics] == [2], "the folder names the class cat"
    shares = drawn[0].shares((14, 14))
    assert shares.shape == (14, 14)
    assert 0 < float(shares.mean()) < 1
    assert drawn[0].make().shape == (3, *vit.preprocessing.size)


def test_photos_that_are_not_there(tmp_path, capsys):
    assert main(["bench", "faithfulness", "--photos", str(tmp_path / "none")]) == 1
    assert (
        f"{tmp_path / 'none'} is not there: set VITDEMO_SHARED, or give --photos a folder with images/ and masks/."
        in capsys.readouterr().err
    )


def test_the_card_gets_the_table(tmp_path, vit, monkeypatch, capsys):
    card = tmp_path / "README.md"
    card.write_text(f"before\n{faithfulness.BEGIN}\nold\n{faithfulness.END}\nafter\n", "utf-8")
    monkeypatch.setattr(faithfulness, "DRAWN", 2)
    faithfulness.write_card(card, vit)
    lines = card.read_text("utf-8").splitlines()
    assert (lines[:2], lines[-2:]) == (["before", faithfulness.BEGIN], [faithfulness.END, "after"])
    assert lines[2].startswith("Its maps against the exact masks, on 2 fresh pictures. ")
    assert lines[4].startswith("| map | hits |")
    assert {line.split(" | ")[0].removeprefix("| ") for line in lines[6:-2]} == METHODS
    assert f"{lines[7].split(' | ')[2].split(' ')[0]}" in words(capsys.readouterr().out)
