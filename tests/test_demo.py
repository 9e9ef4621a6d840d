"""The demo model that ships with the app: what its card says of it is so."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from vitdemo.classify.gallery import classify_gallery
from vitdemo.classify.scores import score
from vitdemo.core.config import ASSETS, DEMO_MODEL, Settings
from vitdemo.core.models import loader
from vitdemo.core.photos.search import find_items
from vitdemo.sketches.draw import LABELS, UNSEEN, write

FOLDER = ASSETS / "demo"


@pytest.fixture(scope="module")
def demo():
    return loader.load(DEMO_MODEL, Settings(model=DEMO_MODEL), torch.device("cpu"), lambda _: None)


def drawn(folder, count: int, seed: int):
    for _ in write(count, seed, folder):
        pass
    return find_items([folder / "images"])


def test_the_bundle():
    assert {each.name for each in FOLDER.iterdir()} == {"README.md", "config.json", "model.safetensors", "familiarity.safetensors"}
    assert sum(each.stat().st_size for each in FOLDER.iterdir()) < 12_000_000
    assert json.loads((FOLDER / "config.json").read_text("utf-8"))["label_names"] == list(LABELS)


def test_it_has_the_geometry_of_vit_b(demo):
    assert demo.preprocessing.geometry((224, 224), demo.patch).grid == (14, 14)
    assert (len(demo.module.blocks), demo.module.num_prefix_tokens, demo.module.num_classes) == (12, 1, 21)


@pytest.mark.slow
def test_it_knows_fresh_pictures(demo, engine, tmp_path):
    rows = list(classify_gallery(drawn(tmp_path, 210, 271_828), demo, engine, Settings()))
    found = score(rows, demo.labels)
    assert found.photos == 210
    assert found.top1 >= 0.97 * 210
    assert sum(row.unfamiliar for row in rows) <= 0.07 * 210


@pytest.mark.slow
def test_a_thousand_fresh_pictures(demo, engine, tmp_path):
    """The figures of the model card, with room for nothing."""
    rows = list(classify_gallery(drawn(tmp_path, 1000, 987_654), demo, engine, Settings()))
    found = score(rows, demo.labels)
    assert found.top1 >= 970
    assert found.calibration_error <= 0.03
    assert sum(row.unfamiliar for row in rows) <= 50


def test_real_photos_are_unlike_anything_it_was_trained_on(demo, engine, shared):
    rows = list(classify_gallery(find_items([shared / "data" / "pets" / "images"]), demo, engine, Settings()))
    assert sum(row.unfamiliar for row in rows) >= 0.9 * len(rows)


def test_unseen_classes_are_separable_from_five_pictures_each(demo):
    """From its CLS features, by ridge regression, in five draws of the five."""
    features, classes = [], []
    for index, name in enumerate(UNSEEN):
        for path in sorted((ASSETS / "examples" / "unseen" / name).iterdir()):
            tensor = demo.preprocessing(Image.open(path).convert("RGB"))[None]
            with torch.inference_mode():
                features.append(demo.logits_and_features(tensor)[1][0].numpy())
            classes.append(index)
    features, classes = np.array(features, np.float64), np.array(classes)
    hits = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(12)
        taught = np.concatenate([np.flatnonzero(classes == each)[order[:5]] for each in range(3)])
        asked = np.setdiff1d(np.arange(len(classes)), taught)
        hits.append(np.mean(linear(features[taught], classes[taught], features[asked]) == classes[asked]))
    assert np.mean(hits) >= 0.9


def linear(taught: np.ndarray, classes: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Ridge regression onto one column per class: a linear classifier."""
    mean, spread = taught.mean(0), taught.std(0) + 1e-6
    inputs, targets = (taught - mean) / spread, np.eye(classes.max() + 1)[classes]
    kernel = inputs @ inputs.T
    weights = inputs.T @ np.linalg.solve(kernel + 0.1 * np.trace(kernel) / len(kernel) * np.eye(len(kernel)), targets - targets.mean(0))
    return (((asked - mean) / spread) @ weights + targets.mean(0)).argmax(1)
