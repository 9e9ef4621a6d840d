"""The bench of heads: its draws, its paired intervals, and each head on features that are easy to tell apart."""

import pytest
import torch

from tests.bench.conftest import words
from vitdemo.bench import heads


@pytest.fixture
def clouds():
    """Forty features of four classes, far apart."""
    make = torch.Generator().manual_seed(0)
    targets = torch.arange(40) % 4
    return 5 * torch.randn(4, 12, generator=make)[targets] + torch.randn(40, 12, generator=make), targets


def test_no_photo_is_learned_and_asked(clouds):
    _, targets = clouds
    known, asked = heads.drawn(targets, 3, 5, 0)
    assert torch.bincount(targets[known]).tolist() == [3] * 4
    assert torch.bincount(targets[asked]).tolist() == [5] * 4
    assert not set(known.tolist()) & set(asked.tolist())
    known, asked = heads.drawn(targets, 3, None, 1)
    assert sorted([*known.tolist(), *asked.tolist()]) == list(range(40))


def test_the_interval_is_student_s():
    stats = pytest.importorskip("scipy.stats")
    differences = [0.01, 0.02, -0.01, 0.0, 0.03, 0.01, 0.02, 0.0, 0.01, 0.05]
    mean, low, high = heads.interval_of(differences)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (low, high) == (pytest.approx(expected.low, abs=1e-5), pytest.approx(expected.high, abs=1e-5))
    assert mean == pytest.approx(0.014)


@pytest.mark.parametrize("name", heads.HEADS)
@pytest.mark.parametrize("count", [1, 5])
def test_every_head_tells_the_clouds_apart(name, count, clouds):
    inputs, targets = clouds
    known, asked = heads.drawn(targets, count, None, 0)
    taken = heads.HEADS[name](inputs[known], targets[known], inputs[asked], 0)
    assert (taken == targets[asked]).float().mean() > 0.85


def test_all_heads_are_asked_the_same(clouds, monkeypatch, capsys):
    asked = []
    half = lambda known, targets, inputs, draw: asked.append((draw, inputs)) or torch.arange(len(inputs)) % 2  # noqa: E731
    monkeypatch.setattr(heads, "HEADS", {"ours": half, "other": half})
    found = heads.compared(*clouds, 2)
    assert found["difference"]["other"] == (0, 0, 0)
    assert found["p"] == {}  # the draws differ
    assert found["accuracy"]["ours"] == found["accuracy"]["other"]
    assert [draw for draw, _ in asked] == [draw for draw in range(10) for _ in range(2)]
    assert torch.equal(asked[0][1], asked[1][1])
    assert "2 a class ours" in words(capsys.readouterr().out)


def test_all_photos_are_compared_by_mcnemar(clouds, monkeypatch, capsys):
    """Nine of forty answers are the other's own mistakes."""
    inputs, targets = clouds
    right = lambda known, taught, asked, draw: targets  # noqa: E731
    wrong = lambda known, taught, asked, draw: torch.where(torch.arange(40) < 9, (targets + 1) % 4, targets)  # noqa: E731
    monkeypatch.setattr(heads, "HEADS", {"ours": right, "other": wrong})
    found = heads.compared(inputs, targets, 10, (inputs, targets))
    assert found["p"] == {"other": pytest.approx(2 / 2**9)}
    assert "(+0.2250 to +0.2250, p = 0.0039)" in words(capsys.readouterr().out)


def test_honest_intervals_are_counted(clouds, monkeypatch):
    monkeypatch.setattr(heads, "INTERVALS", 3)
    found = heads.honest(*clouds, *clouds)
    assert found["of"] == 3
    assert found["held"] == 3
    assert found["ratio"] == pytest.approx(found["width"] / found["wilson"])
