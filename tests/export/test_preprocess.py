"""The bundle's own preprocessing, which has neither torch nor timm, gives timm's numbers to the bit."""

import importlib.util
import io
import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from tests.support.heic import TURNED
from tests.support.pictures import noise
from tests.support.profiles import ADOBE_RGB, of_press, of_screen
from tests.support.tiffs import write_grey
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.preprocessing import Preprocessing
from vitdemo.export.bundle import write_decoding
from vitdemo.export.report import TEMPLATES

BASE = Preprocessing((48, 48), 0.9, "center", "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KINDS = [
    BASE,
    replace(BASE, crop_pct=1.0, interpolation="bilinear", mean=(0.5, 0.5, 0.5)),
    replace(BASE, crop_mode="squash", interpolation="lanczos"),
    replace(BASE, crop_mode="border", size=(48, 64)),
    replace(BASE, size=(32, 64), crop_pct=0.875),
    replace(BASE, crop_mode="border", crop_pct=0.95),
    replace(BASE, resize=(57, 57)),
    replace(BASE, crop_mode="squash", resize=(60, 52)),
]
SIZES = [(48, 48), (100, 60), (60, 101), (33, 200), (333, 250), (20, 15)]


@pytest.fixture(autouse=True)
def own_decoding(tmp_path, monkeypatch):
    """The bundle's copy of the files that decode, found as it is in a bundle: beside preprocess.py."""
    write_decoding(tmp_path / "decoding")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "decoding"]:
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "decoding"]:
        del sys.modules[name]


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


@pytest.mark.parametrize("icc", ["ignore", "convert"])
def test_every_kind_of_photo_as_the_app_opens_it(tmp_path, settings, icc):
    recipe = replace(BASE, icc=icc)
    ours = module(recipe, tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(90, 60).save(tmp_path / "turned.jpg", exif=exif)
    transparent = noise(90, 60).convert("RGBA")
    transparent.putalpha(noise(90, 60, 1).convert("L"))
    transparent.save(tmp_path / "transparent.png")
    noise(90, 60).convert("L").save(tmp_path / "grey.png")
    noise(90, 60).convert("P").save(tmp_path / "palette.gif")
    values = np.linspace(0, 1.02, 90 * 60).reshape(60, 90)
    write_grey(tmp_path / "float.tif", values.astype(np.float32))
    write_grey(tmp_path / "negative.tif", (values * 60000).astype(np.uint16), white_is_zero=True)
    write_grey(tmp_path / "12.tif", (values * 4000).astype(np.uint16), tags={281: 4095})
    noise(90, 60).save(tmp_path / "whole.jpg")
    (tmp_path / "endless.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-2])
    (tmp_path / "text.png").write_bytes(broken_text((tmp_path / "grey.png").read_bytes()))
    (tmp_path / "phone.heic").write_bytes(TURNED.read_bytes())
    noise(90, 60).save(tmp_path / "adobe.jpg", icc_profile=of_screen("Adobe", ADOBE_RGB, 2.2))
    noise(90, 60).convert("CMYK").save(tmp_path / "press.tif", icc_profile=of_press("Newspaper", (127, 128, 128)))
    opened_by_pillow = ("turned.jpg", "transparent.png", "grey.png", "palette.gif", "float.tif", "negative.tif", "12.tif", "adobe.jpg")
    for name in (*opened_by_pillow, "endless.jpg", "text.png", "press.tif", "phone.heic"):
        expected = recipe(open_photo(tmp_path / name, settings).image).numpy()
        np.testing.assert_array_equal(ours.preprocess((tmp_path / name).read_bytes()), expected, err_msg=name)
        if name in opened_by_pillow:
            with Image.open(tmp_path / name) as photo:
                np.testing.assert_array_equal(ours.preprocess(photo), expected, err_msg=name)


def broken_text(png: bytes) -> bytes:
    """A PNG with a text chunk whose checksum is wrong."""
    return png[:33] + b"\0\0\0\3tEXta\0b" + bytes(4) + png[33:]


def jpeg_cut_off() -> bytes:
    noise(90, 60).save(file := io.BytesIO(), "JPEG")
    return file.getvalue()[:-300]


def test_what_it_refuses(tmp_path):
    ours = module(BASE, tmp_path)
    with pytest.raises(ValueError, match="too long and narrow"):
        ours.preprocess(noise(1, 5000))
    with pytest.raises(OSError, match="truncated"):
        ours.preprocess(jpeg_cut_off())
    with pytest.raises(UnidentifiedImageError):
        ours.preprocess(b"%!PS-Adobe-3.0 EPSF-3.0")
