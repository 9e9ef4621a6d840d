"""The bundle's own preprocessing, which has neither torch nor timm, gives timm's numbers to the bit."""

import importlib.util
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import noise
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.preprocessing import Preprocessing
from vitdemo.export.report import TEMPLATES

BASE = Preprocessing((48, 48), 0.9, "center", "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KINDS = [
    BASE,
    replace(BASE, crop_pct=1.0, interpolation="bilinear", mean=(0.5, 0.5, 0.5)),
    replace(BASE, crop_mode="squash", interpolation="lanczos"),
    replace(BASE, crop_mode="border", size=(48, 64)),
    replace(BASE, size=(32, 64), crop_pct=0.875),
    replace(BASE, crop_mode="border", crop_pct=0.95),
]
SIZES = [(48, 48), (100, 60), (60, 101), (33, 200), (333, 250), (20, 15)]


def module(preprocessing: Preprocessing, folder, input: str = "float32"):
    (folder / "preprocessing.json").write_text(json.dumps(asdict(preprocessing) | {"input": input}), "utf-8")
    (folder / "preprocess.py").write_bytes((TEMPLATES / "preprocess.py").read_bytes())
    spec = importlib.util.spec_from_file_location("bundle_preprocess", folder / "preprocess.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("preprocessing", KINDS)
def test_the_same_numbers(preprocessing, tmp_path):
    ours = module(preprocessing, tmp_path)
    for number, size in enumerate(SIZES):
        photo = noise(*size, number)
        np.testing.assert_array_equal(ours.preprocess(photo), preprocessing(photo).numpy(), err_msg=f"{size}")


def test_pixels_for_a_graph_that_normalises(tmp_path):
    found = module(BASE, tmp_path, "uint8").preprocess(noise(100, 60))
    np.testing.assert_array_equal(found, np.asarray(BASE.crop(noise(100, 60))))
    assert found.dtype == np.uint8


def test_turned_transparent_and_grey_photos_as_the_app_opens_them(tmp_path, settings):
    ours = module(BASE, tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(90, 60).save(tmp_path / "turned.jpg", exif=exif)
    transparent = noise(90, 60).convert("RGBA")
    transparent.putalpha(noise(90, 60, 1).convert("L"))
    transparent.save(tmp_path / "transparent.png")
    noise(90, 60).convert("L").save(tmp_path / "grey.png")
    noise(90, 60).convert("P").save(tmp_path / "palette.gif")
    for name in ("turned.jpg", "transparent.png", "grey.png", "palette.gif"):
        with Image.open(tmp_path / name) as photo:
            np.testing.assert_array_equal(ours.preprocess(photo), BASE(open_photo(tmp_path / name, settings).image).numpy(), err_msg=name)


def test_what_it_refuses(tmp_path):
    ours = module(BASE, tmp_path)
    with pytest.raises(ValueError, match="too long and narrow"):
        ours.preprocess(noise(1, 5000))
    with pytest.raises(ValueError, match="more than 8 bits"):
        ours.preprocess(Image.fromarray(np.zeros((9, 9), np.uint16)))
