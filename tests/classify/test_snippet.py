"""“Copy as Python” is run, and names the classes that were shown."""

from dataclasses import replace

import pytest
import timm
from PIL import Image

from tests.support.apps import TINY
from tests.support.pictures import noise
from tests.support.profiles import ADOBE_RGB, of_screen
from vitdemo.classify.photo import classify
from vitdemo.classify.snippet import snippet
from vitdemo.core.photos.photo import open_photo


def run(text: str, capsys) -> tuple[list[float], list[str]]:
    found = {}
    exec(text, found)
    return found["top"].values.tolist(), [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("changes", [{}, {"crop_pct": 0.8, "interpolation": "bilinear", "size": (96, 96)}, {"icc": "convert"}])
def test_it_gives_the_answer_shown(changes, vit, engine, bundle, settings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(bundle.parent)
    noise(90, 60).save(tmp_path / "a photo.png", icc_profile=of_screen("Adobe RGB", ADOBE_RGB, 2.2))
    preprocessing = replace(vit.preprocessing, **changes)
    photo = str(tmp_path / "a photo.png")
    probabilities, names = run(snippet(vit, preprocessing, photo=photo, bundle=True, top=4), capsys)
    shown = classify(open_photo(photo, settings).image, vit, engine, preprocessing=preprocessing, top=4)
    assert probabilities == pytest.approx([each.probability for each in shown.predictions], rel=1e-4)
    assert names == [each.label.name for each in shown.predictions]


def test_imagenets_names_are_timms(real_tiny, engine, tiny_checkpoint, shared, monkeypatch, capsys):
    monkeypatch.chdir(tiny_checkpoint.parent)
    photo = sorted((shared / "data" / "imagenet_val").rglob("*.JPEG"))[7]
    probabilities, names = run(snippet(real_tiny, real_tiny.preprocessing, photo=str(photo), checkpoint=tiny_checkpoint.name), capsys)
    info = timm.data.ImageNetInfo()
    with Image.open(photo) as image:
        shown = classify(image.convert("RGB"), real_tiny, engine).predictions
    assert probabilities == pytest.approx([each.probability for each in shown], rel=1e-4)
    assert names == [info.index_to_description(each.label.index) for each in shown]
    assert TINY in snippet(real_tiny, real_tiny.preprocessing)
