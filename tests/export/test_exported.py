"""A bundle loaded as a Classifier gives its original's answers, whatever runs it."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from tests.support.apps import ROOT
from tests.support.pictures import noise
from vitdemo.core.errors import UserError
from vitdemo.core.photos.search import find_items
from vitdemo.export import exported
from vitdemo.export.bundle import export
from vitdemo.export.plan import Plan
from vitdemo.export.report import Report


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "cat"
    folder.mkdir()
    for number in range(3):
        noise(80, 60, number).save(folder / f"{number}.png")
    return find_items([folder])


@pytest.mark.parametrize(
    "plan",
    [
        Plan("safetensors"),
        Plan("onnx"),
        pytest.param(Plan("onnx", baked=True, extras=("features",)), marks=pytest.mark.slow),
        pytest.param(Plan("pt2", baked=True), marks=pytest.mark.slow),
        Plan("torchscript"),
    ],
    ids=lambda plan: f"{plan.format}{'-baked' if plan.baked else ''}",
)
def test_the_same_answers(plan, vit, engine, settings, photos, tmp_path):
    *_, report = export(vit, engine, plan, tmp_path / "b", settings, photos=photos)
    found = exported.load(tmp_path / "b")
    assert (found.name, found.labels, found.preprocessing) == (plan.file, vit.labels, vit.preprocessing)
    batch = torch.stack([vit.preprocessing(noise(320, 240, number)) for number in range(3)])
    with torch.inference_mode():
        expected = vit.module(batch)
    torch.testing.assert_close(found.logits(batch), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(engine.logits(found, batch)[0], expected, atol=1e-4, rtol=0)
    assert Report.read(tmp_path / "b") == report


def test_features_of_a_model_without_classes(vit, engine, settings, photos, tmp_path):
    bare = replace(vit, labels=())
    *_, report = export(bare, engine, Plan("safetensors"), tmp_path / "b", settings, photos=photos)
    assert exported.load(tmp_path / "b").labels == ()
    assert report.shipped.agreement.top5 is None


def test_a_bundle_that_is_broken_is_said_to_be(vit, engine, settings, photos, tmp_path):
    list(export(vit, engine, Plan("safetensors"), tmp_path / "b", settings, photos=photos))
    (tmp_path / "b" / "labels.json").write_text(json.dumps([{"odd": 1}]))
    with pytest.raises(UserError, match="export it again"):
        exported.load(tmp_path / "b")


def test_onnx_runtime_reports_nothing_to_its_maker(tmp_path):
    """Its official builds keep an id and a queue of events under the user's cache folder unless they are told not to."""
    script = "import vitdemo, onnxruntime; onnxruntime.SessionOptions(); onnxruntime.get_available_providers()"
    environ = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environ |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache")}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environ, check=True, timeout=120)
    assert list(tmp_path.rglob("*")) == []
