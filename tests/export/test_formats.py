"""Every format, loaded back by its own runtime, beside timm's own model on the same numbers."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open

from tests.support.apps import ROOT
from tests.support.small_vits import small_vit, timms_attention, twice_vit, unfused_vit
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models import loader
from vitdemo.core.models.labels import labels_of
from vitdemo.core.models.vit import Vit
from vitdemo.export import formats, runtimes
from vitdemo.export.plan import Plan

EVERYTHING = ("features", "attention")


def written(vit, plan, folder) -> runtimes.Runner:
    return runtimes.open_model(formats.write(vit, plan, folder), plan, formats.output_names(vit.labels, plan))


def sized(kind: str = "plain") -> Vit:
    """A small ViT whose preprocessing asks for the size it was built for."""
    vit = small_vit(kind)
    return replace(vit, preprocessing=replace(vit.preprocessing, size=vit.module.patch_embed.img_size))


def numbers(count: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 3, *size), dtype=np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torchscript", "pt2"])
def test_all_outputs_at_any_batch(format, tmp_path):
    vit, unfused = sized("query and key norms"), unfused_vit("query and key norms")
    run = written(vit, Plan(format, extras=EVERYTHING), tmp_path)
    for count in (1, 3, 8):
        batch = numbers(count)
        found, tensor = run(batch), torch.from_numpy(batch)
        with torch.inference_mode():
            tokens = unfused.forward_features(tensor)
            expected = unfused.forward_head(tokens), unfused.forward_head(tokens, pre_logits=True)
        np.testing.assert_allclose(found["logits"], expected[0], atol=1e-5)
        np.testing.assert_allclose(found["features"], expected[1], atol=1e-5)
        np.testing.assert_allclose(found["attention"], timms_attention(unfused, tensor).transpose(0, 1), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torchscript", "pt2"])
def test_half_precision_with_the_preprocessing_inside(format, tmp_path):
    vit = sized()
    vit = replace(vit, preprocessing=replace(vit.preprocessing, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    found = written(vit, Plan(format, "fp16", baked=True), tmp_path)(pixels)["logits"]
    normalised = (pixels / 255 - np.array(vit.preprocessing.mean)) / np.array(vit.preprocessing.std)
    with torch.inference_mode():
        expected = vit.module(torch.from_numpy(normalised.transpose(0, 3, 1, 2)).float())
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert np.abs(found - expected.numpy()).max() > 0  # half precision it is
    half = {path.name: path.stat().st_size for path in tmp_path.iterdir()}[Plan(format).file]
    (tmp_path / "full").mkdir()
    assert half < 0.65 * formats.write(vit, Plan(format), tmp_path / "full").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("format", ["safetensors", "onnx", "torchscript", "pt2"])
def test_a_file_does_not_tell_where_it_was_made(format, tmp_path):
    path = formats.write(sized(), Plan(format), tmp_path)
    parts = [path.read_bytes()]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    for place in (str(ROOT), timm.__path__[0], torch.__path__[0]):
        assert not any(place.encode() in part for part in parts)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["registers", "no CLS, attention pooling", "parallel"])
def test_every_kind_of_vit_becomes_onnx(kind, tmp_path):
    vit = sized(kind)
    run, batch = written(vit, Plan("onnx"), tmp_path), numbers(2, vit.preprocessing.size)
    with torch.inference_mode():
        np.testing.assert_allclose(run(batch)["logits"], vit.module(torch.from_numpy(batch)), atol=1e-5)


@pytest.mark.slow
def test_a_model_without_classes_gives_features(tmp_path):
    vit = sized()
    vit.module.reset_classifier(0)
    vit = replace(vit, labels=labels_of(0, {}))
    plan = Plan("onnx", extras=("features",))
    assert formats.output_names(vit.labels, plan) == ("features",)
    batch = numbers(1)
    with torch.inference_mode():
        np.testing.assert_allclose(written(vit, plan, tmp_path)(batch)["features"], vit.module(torch.from_numpy(batch)), atol=1e-5)


def test_one_file_with_names(tmp_path):
    import onnx

    formats.write(sized(), Plan("onnx"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    graph = onnx.load(tmp_path / "model.onnx").graph
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    shape = graph.input[0].type.tensor_type.shape.dim
    assert graph.input[0].name == "image"
    assert (shape[0].dim_param, [each.dim_value for each in shape[1:]]) == ("batch", [3, 64, 64])
    assert not any(node.op_type == "Resize" for node in graph.node)  # the position embedding is not resampled at run time


def test_safetensors_are_the_same_bits_for_plain_timm(vit, tmp_path):
    path = formats.write(vit, Plan("safetensors"), tmp_path)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    ours = vit.module.state_dict()
    assert loaded.state_dict().keys() == ours.keys()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in loaded.state_dict().items())
    assert timm.data.resolve_model_data_config(loaded)["input_size"] == (3, *vit.preprocessing.size)
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["label_names"] == [each.name for each in vit.labels]
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_safetensors_come_back_into_the_app(tmp_path):
    """The demo model, with its familiarity; and a model of ImageNet's classes, with their synsets."""
    demo = loader.load("demo", Settings(), torch.device("cpu"), lambda _: None)
    formats.write(demo, Plan("safetensors", "fp16"), tmp_path)
    again = loader.load(f"local-dir:{tmp_path}", Settings(), torch.device("cpu"), lambda _: None)
    assert again.labels == demo.labels
    assert again.preprocessing == demo.preprocessing
    assert again.ood.limit == demo.ood.limit
    assert torch.equal(again.module.head.weight, demo.module.head.weight)  # the bundled file is fp16 itself


def test_imagenets_labels_keep_their_synsets(tmp_path):
    module = timm.create_model("vit_tiny_patch16_224", depth=1, embed_dim=24, num_heads=1).eval()
    vit = replace(small_vit(), module=module, labels=labels_of(1000, {}))
    formats.write(vit, Plan("safetensors"), tmp_path)
    again = loader.load(f"local-dir:{tmp_path}", Settings(), torch.device("cpu"), lambda _: None)
    assert again.labels == vit.labels


def test_attention_that_can_not_be_read(tmp_path):
    for format in ("onnx", "torchscript", "pt2"):
        with pytest.raises(UserError) as refused:
            formats.write(twice_vit(), Plan(format, extras=("attention",)), tmp_path)
        assert str(refused.value).startswith("The attention of twice is not one map per layer and head")


def test_what_an_exporter_stumbles_over(tmp_path, monkeypatch):
    def fail(image):
        raise NotImplementedError("there is no such operator")

    vit = sized()
    monkeypatch.setattr(vit.module, "forward_features", fail)
    for format in ("onnx", "torchscript", "pt2"):
        with pytest.raises(UserError, match="choose another format or model"):
            formats.write(vit, Plan(format), tmp_path)


def test_a_model_too_large_for_one_onnx_file(tmp_path):
    with pytest.raises(UserError, match="larger than one ONNX file can be"):
        formats.write(replace(small_vit(), parameters=600_000_000), Plan("onnx"), tmp_path)
