"""Is a photo like the training data? The distance against numpy's own arithmetic, and the file it is kept in."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.covariance import ledoit_wolf_shrinkage

from vitdemo.core.errors import UserError
from vitdemo.core.models.ood import FILE_NAME, OodDetector

WIDTH, CLASSES = 6, 3


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Features of three stretched, tilted clouds, and their classes."""
    make = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=make) * 5
    stretch = torch.randn(WIDTH, WIDTH, generator=make)
    targets = torch.arange(900) % CLASSES
    return centres[targets] + torch.randn(900, WIDTH, generator=make) @ stretch, targets


def test_distance_is_mahalanobis(data):
    features, targets = data
    detector = OodDetector.fit(features, targets, features, 0.9)
    x, y = features.double().numpy(), targets.numpy()
    means = np.stack([x[y == label].mean(0) for label in range(CLASSES)])
    spread = x - means[y]
    covariance = spread.T @ spread / (len(x) - CLASSES)
    contrasts = np.concatenate([linalg.helmert((y == label).sum()) @ x[y == label] for label in range(CLASSES)])
    assert contrasts.T @ contrasts == pytest.approx(spread.T @ spread)
    shrinkage = max(1e-3, ledoit_wolf_shrinkage(contrasts, assume_centered=True))
    covariance = (1 - shrinkage) * covariance + shrinkage * np.eye(WIDTH) * np.diag(covariance).mean()
    difference = x[:, None] - means[None]
    expected = np.sqrt(np.einsum("ncw,wv,ncv->nc", difference, np.linalg.inv(covariance), difference)).min(1)
    assert detector.distance(features).numpy() == pytest.approx(expected, rel=1e-3)


def test_the_limit_keeps_the_share_asked_for(data):
    features, targets = data
    detector = OodDetector.fit(features, targets, features[:400], 0.9)
    assert (detector.distance(features[:400]) <= detector.limit).float().mean().item() == pytest.approx(0.9, abs=0.005)
    assert (detector.distance(features * 0 + 100) > detector.limit).all()


@pytest.mark.parametrize(("each", "classes", "found"), [(10, 4, 0.95), (5, 10, 0.95), (3, 10, 0.5)])
def test_few_photos_of_a_class_are_enough(each, classes, found):
    """Clouds of a hundred numbers that vary in few directions, as features do: others of these classes lie within the limit, and of a
    class that was not learned so many beyond it, in the mean of five draws."""
    known, strange = [], []
    for draw in range(5):
        make = torch.Generator().manual_seed(draw)
        stretch = 5 / torch.arange(1.0, 101)
        centres = (1.2 if each < 10 else 3.6) * stretch * torch.randn(classes + 1, 100, generator=make)

        def cloud(targets, centres=centres, stretch=stretch, make=make):
            return centres[targets] + 0.8 * stretch * torch.randn(len(targets), 100, generator=make)

        targets = torch.arange(each * classes) % classes
        detector = OodDetector.cross_validated(cloud(targets), targets, torch.arange(len(targets)) // classes % 5, 0.95)
        known.append((detector.distance(cloud(torch.arange(400) % classes)) > detector.limit).float().mean())
        strange.append((detector.distance(cloud(torch.full((100,), classes))) > detector.limit).float().mean())
    assert torch.stack(known).mean() < 0.1
    assert torch.stack(strange).mean() > found


def test_saved_and_loaded(data, tmp_path):
    features, targets = data
    detector = OodDetector.fit(features, targets, features, 0.9)
    assert OodDetector.load(tmp_path) is None
    detector.save(tmp_path)
    again = OodDetector.load(tmp_path)
    assert torch.equal(again.distance(features), detector.distance(features))
    assert again.limit == pytest.approx(detector.limit)
    (tmp_path / FILE_NAME).write_bytes(b"something else")
    with pytest.raises(UserError, match="export the model again, or remove that file"):
        OodDetector.load(tmp_path)


def test_a_bundle_with_statistics_says_what_it_does_not_know(bundle, tmp_path, engine, settings):
    """Through the real model: statistics of one kind of picture, then that kind and another."""
    import shutil

    from tests.support.pictures import noise
    from vitdemo.classify.photo import classify
    from vitdemo.core.models import loader

    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    plain = loader.load(f"local-dir:{folder}", settings, torch.device("cpu"), lambda _: None)
    known = torch.stack([plain.preprocessing(noise(224, 224, seed)) for seed in range(24)])
    with torch.inference_mode():
        logits, features = plain.logits_and_features(known)
        assert torch.equal(logits, plain.logits(known))
        assert torch.equal(plain.module.head(features), logits)
    OodDetector.fit(features, torch.zeros(24, dtype=torch.long), features, 1.0).save(folder)
    vit = loader.load(f"local-dir:{folder}", settings, torch.device("cpu"), lambda _: None)
    assert classify(noise(224, 224, 3), vit, engine).unfamiliar is False
    assert classify(noise(2, 2).resize((224, 224)), vit, engine).unfamiliar is True
    assert classify(noise(224, 224), plain, engine).unfamiliar is None
    replace(vit.ood, refuses=True).save(folder)
    strict = loader.load(f"local-dir:{folder}", settings, torch.device("cpu"), lambda _: None)
    assert classify(noise(224, 224, 3), strict, engine).predictions == classify(noise(224, 224, 3), plain, engine).predictions
    refused = classify(noise(2, 2).resize((224, 224)), strict, engine)
    assert (refused.predictions, refused.unfamiliar) == ([], True)
