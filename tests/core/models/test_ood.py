"""Is a photo like the training data? The distance against numpy's own arithmetic, and the file it is kept in."""

import numpy as np
import pytest
import torch

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
    shrinkage = max(1e-3, pytest.importorskip("sklearn.covariance").ledoit_wolf_shrinkage(spread, assume_centered=True))
    covariance = (1 - shrinkage) * covariance + shrinkage * np.eye(WIDTH) * np.diag(covariance).mean()
    difference = x[:, None] - means[None]
    expected = np.sqrt(np.einsum("ncw,wv,ncv->nc", difference, np.linalg.inv(covariance), difference)).min(1)
    assert detector.distance(features).numpy() == pytest.approx(expected, rel=1e-3)


def test_the_limit_keeps_the_share_asked_for(data):
    features, targets = data
    detector = OodDetector.fit(features, targets, features[:400], 0.9)
    assert (detector.distance(features[:400]) <= detector.limit).float().mean().item() == pytest.approx(0.9, abs=0.005)
    assert (detector.distance(features * 0 + 100) > detector.limit).all()


def test_few_features_of_many_numbers_are_enough():
    """Forty photos of four classes: others of these classes lie within the limit, those of a fifth class beyond it."""
    make = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(5, 100, generator=make)
    cloud = lambda targets: centres[targets] + torch.randn(len(targets), 100, generator=make)  # noqa: E731
    targets = torch.arange(40) % 4
    detector = OodDetector.cross_validated(cloud(targets), targets, torch.arange(40) // 8, 0.95)
    assert (detector.distance(cloud(torch.arange(400) % 4)) > detector.limit).float().mean() < 0.1
    assert (detector.distance(cloud(torch.full((100,), 4))) > detector.limit).float().mean() > 0.9


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
