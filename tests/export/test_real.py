"""The real ViT-Tiny on 200 ImageNet photos: what leaves this app is what came in."""

import os

import numpy as np
import pytest
import timm
import torch

from tests.support.apps import TINY
from vitdemo.core.config import Settings
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.preprocessing import Preprocessing
from vitdemo.core.photos.search import find_items
from vitdemo.export import formats, runtimes
from vitdemo.export.bundle import export
from vitdemo.export.plan import Plan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(shared, real_tiny) -> torch.Tensor:
    """(24, 3, 224, 224), of all classes."""
    items = find_items([shared / "data" / "imagenet_val"])[::9]
    return torch.stack([real_tiny.preprocessing(open_photo(item.path, Settings()).image) for item in items])


def test_onnx_is_exact_at_any_batch(real_tiny, photos, tmp_path):
    run = runtimes.open_onnx(formats.write(real_tiny, Plan("onnx"), tmp_path))
    for batch in (1, 3, 8):
        part = photos[:batch]
        with torch.inference_mode():
            expected = real_tiny.module(part).numpy()
        found = run(part.numpy())["logits"]
        assert np.abs(found - expected).max() <= 1e-4
        np.testing.assert_array_equal(np.argsort(-found)[:, :5], np.argsort(-expected)[:, :5])


def test_safetensors_load_with_plain_timm(real_tiny, photos, tiny_checkpoint, tmp_path):
    formats.write(real_tiny, Plan("safetensors"), tmp_path)
    overlay = {"file": str(tiny_checkpoint), "custom_load": False}
    original = timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    state = original.state_dict()
    assert all(torch.equal(each, state[name]) for name, each in loaded.state_dict().items())
    assert Preprocessing.of(loaded) == Preprocessing.of(original)
    with torch.inference_mode():
        assert torch.equal(loaded(photos[:4]), original(photos[:4]))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_reduced_precision_keeps_its_answers(precision, real_tiny, engine, shared, tmp_path):
    """The bundle as it is shipped by default, judged by a plain session on all 200 photos. How fast it is is for the bench to say."""
    import onnxruntime

    items = find_items([shared / "data" / "imagenet_val"])
    *_, report = export(real_tiny, engine, Plan("onnx", precision), tmp_path / "b", Settings(), photos=items)
    session = onnxruntime.InferenceSession(tmp_path / "b" / "model.onnx")
    synsets = {each.synset: each.index for each in real_tiny.labels}
    same = right = 0
    for item in items:
        tensor = real_tiny.preprocessing(open_photo(item.path, Settings()).image)[None]
        with torch.inference_mode():
            expected = int(real_tiny.module(tensor).argmax())
        found = int(session.run(["logits"], {"image": tensor.numpy()})[0].argmax())
        same += found == expected
        right += found == synsets[item.folder]
    size = os.path.getsize(tmp_path / "b" / "model.onnx")
    if precision == "fp16":
        assert same >= 0.99 * len(items)
        assert size < 13_000_000
    else:
        assert same >= 0.95 * len(items)
        assert abs(right / len(items) - 0.690) <= 0.015
        assert size <= 0.45 * 23_600_000
    assert report.shipped.agreement.agreement == pytest.approx(same / len(items), abs=0.015)  # batches round differently
    assert report.shipped.agreement.accuracy_before == 0.690
