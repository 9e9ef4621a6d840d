"""A bundle is whole, right and where it was asked for, or it is not there at all."""

import errno
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.pictures import noise
from vitdemo.core.errors import UserError
from vitdemo.core.models.ood import OodDetector
from vitdemo.core.outputs import check_new_folder
from vitdemo.core.photos.gallery import spread_evenly
from vitdemo.core.photos.search import find_items
from vitdemo.export import bundle, formats, place
from vitdemo.export.bundle import NEVER_REFUSES, ExportStep, export
from vitdemo.export.plan import Plan
from vitdemo.export.report import Report

COMMON = {"README.md", "decoding", "known_answer", "labels.json", "preprocess.py", "preprocessing.json", "report.html", "report.json"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve pictures in folders that name classes of the small ViT."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        path = folder / ("cat", "boat", "hat")[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        noise(80, 60, number).save(path)
    return folder


def run(vit, engine, plan, output, settings, **more) -> tuple[list[ExportStep], Report]:
    *steps, report = export(vit, engine, plan, output, settings, **more)
    return steps, report


def execute(code: str, folder) -> str:
    """A Python snippet as it stands, in a process of its own, in the bundle's folder."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "safetensors", "torchscript", "pt2"])
def test_a_whole_bundle_whose_readme_runs(format, vit, engine, settings, photos, tmp_path):
    plan, output = Plan(format), tmp_path / "it's a “bundle” <b>"
    steps, report = run(vit, engine, plan, output, settings, photos=find_items([photos]))
    assert {"Asking the original", f"Writing {plan.file}", "Comparing", "Timing"} <= {step.phase for step in steps}
    assert {path.name for path in output.iterdir()} == COMMON | {plan.file} | ({"config.json"} if format == "safetensors" else set())
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    mine = report.shipped
    assert mine.agreement.largest < 1e-4
    assert (mine.agreement.agreement, mine.agreement.top5, mine.agreement.labelled) == (1, 1, 12)
    assert mine.bytes == (output / plan.file).stat().st_size
    assert json.loads((output / "report.json").read_text("utf-8"))["rows"][0]["agreement"]["photos"] == 12
    snippets = re.findall(r"```python\n(.*?)```", (output / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(snippets) == 1
    printed = execute(snippets[0], output)
    assert float(re.search(r"known answer: (\S+)", printed)[1]) < 1e-4
    answer = json.loads((output / "known_answer" / "answer.json").read_text("utf-8"))
    lines = [f"{each['probability']:6.1%}  {each['label']}" for each in answer["predictions"]]
    assert printed.splitlines()[1:] == lines


def test_the_known_answer_is_the_originals(vit, engine, settings, photos, tmp_path):
    import torch

    run(vit, engine, Plan("pt2", baked=True, extras=("features", "attention")), tmp_path / "b", settings, photos=find_items([photos]))
    pixels = np.load(tmp_path / "b" / "known_answer" / "input.npy")
    assert (pixels.dtype, pixels.shape[1:]) == (np.uint8, (*vit.preprocessing.size, 3))
    from PIL import Image

    with Image.open(tmp_path / "b" / "known_answer" / "photo.png") as photo, torch.inference_mode():
        expected = vit.module(vit.preprocessing(photo)[None])
    np.testing.assert_allclose(np.load(tmp_path / "b" / "known_answer" / "output.npy"), expected, atol=1e-4)
    extras = json.loads((tmp_path / "b" / "report.json").read_text("utf-8"))["extras"]
    assert extras.keys() == {"features", "attention"}
    assert all(difference < 1e-4 for difference in extras.values())


def test_int8_ships_one_of_the_recipes_and_shows_all(vit, engine, settings, photos, tmp_path):
    plan = Plan("onnx", "int8")
    _, report = run(vit, engine, plan, tmp_path / "b", settings, calibration=find_items([photos]))
    assert report.rows[0].name == "fp32"
    assert {row.name for row in report.rows[1:]} == {
        each.name for each in bundle.quantize.recipes(vnni=bundle.quantize.has_vnni(), calibrated=True)
    }
    assert report.shipped.name == report.recipe
    assert report.shipped.agreement.photos == 6  # the other half found the scales
    assert report.shipped.bytes < report.rows[0].bytes
    assert {path.name for path in (tmp_path / "b").iterdir()} == COMMON | {"model.onnx"}
    page = (tmp_path / "b" / "report.html").read_text("utf-8")
    assert all(row.name in page for row in report.rows)
    assert not re.search(r"(src|href)=|url\(|<script", page)  # it needs nothing from elsewhere


def test_a_model_that_refuses_is_said_to_do_so_here_alone(vit, engine, settings, photos, tmp_path):
    eye = torch.eye(vit.adapter.width)
    strict, lenient = (replace(vit, ood=OodDetector(eye.clone(), eye, 1.0, refuses)) for refuses in (True, False))
    assert NEVER_REFUSES in run(strict, engine, Plan("safetensors"), tmp_path / "strict", settings, photos=find_items([photos]))[1].warnings
    assert (
        NEVER_REFUSES
        not in run(lenient, engine, Plan("safetensors"), tmp_path / "lenient", settings, photos=find_items([photos]))[1].warnings
    )


def test_names_never_become_html(vit, engine, settings, photos, tmp_path):
    from dataclasses import replace

    odd = replace(vit, name="<img src=x onerror=alert(1)>")
    run(odd, engine, Plan("safetensors"), tmp_path / "b", settings, photos=find_items([photos]))
    for name in ("report.html", "README.md"):
        assert "<img" not in (tmp_path / "b" / name).read_text("utf-8")


def test_stop_leaves_nothing(vit, engine, settings, photos, tmp_path):
    steps = export(vit, engine, Plan("safetensors"), tmp_path / "b", settings, photos=find_items([photos]))
    assert next(step for step in steps if step.phase == "Timing")
    assert [path.name[:8] for path in tmp_path.iterdir()] == [".export-"]
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken(vit, engine, settings, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty, and nothing is overwritten"):
        next(export(vit, engine, Plan("safetensors"), tmp_path / "b", settings))
    with pytest.raises(UserError, match="is a file: give a folder"):
        check_new_folder(tmp_path / "b" / "mine.txt")


def test_two_exports_to_one_place(vit, engine, settings, photos, tmp_path):
    items = find_items([photos])
    first = export(vit, engine, Plan("safetensors"), tmp_path / "b", settings, photos=items)
    next(first)
    _, report = run(vit, engine, Plan("safetensors"), tmp_path / "b", settings, photos=items)
    with pytest.raises(UserError, match="was filled by something else meanwhile"):
        list(first)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert json.loads((tmp_path / "b" / "report.json").read_text("utf-8"))["torch_seconds"]["1"] == report.torch_seconds[1]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed")])
def test_a_disk_that_fills(error, vit, engine, settings, photos, tmp_path, monkeypatch):
    def fail(*_):
        if isinstance(error, RuntimeError):  # torch tells of a full disk by words of its own
            monkeypatch.setattr(place.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
        raise error

    monkeypatch.setattr(formats, "write", fail)
    with pytest.raises(UserError, match="is full, and nothing was kept"):
        run(vit, engine, Plan("onnx"), tmp_path / "b", settings, photos=find_items([photos]))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_too_little_room(vit, engine, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(place.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="has less room than this export needs"):
        next(export(vit, engine, Plan("onnx"), tmp_path / "b", settings))


def test_photos_find_scales_or_are_compared_on_never_both(settings, photos):
    items = find_items([photos])
    scales, rest = bundle._share_out(None, items, Plan("onnx", "int8"), settings)
    assert len(scales) == len(rest) == 6
    assert {each.path for each in scales}.isdisjoint(each.path for each in rest)
    assert bundle._share_out(None, items, Plan("onnx"), settings) == ([], items)
    assert len(spread_evenly(items, 5)) == 5
    assert {each.folder for each in spread_evenly(items, 3)} == {"cat", "boat", "hat"}
