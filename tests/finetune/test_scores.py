"""Figures against scikit-learn's, and the interval against its equation."""

import pytest
import torch

from vitdemo.finetune.scores import as_rows, compare, interval, nearest, score


@pytest.fixture
def answers() -> tuple[torch.Tensor, torch.Tensor]:
    make = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 4, (200,), generator=make)  # of five classes the last is never asked
    return torch.randn(200, 5, generator=make) + 1.5 * torch.eye(5)[targets], targets


def test_against_scikit_learn(answers):
    metrics = pytest.importorskip("sklearn.metrics")
    logits, targets = answers
    found, taken = score(logits, targets), logits.argmax(-1)
    assert found.confusion.tolist() == metrics.confusion_matrix(targets, taken, labels=range(5)).tolist()
    assert found.accuracy == pytest.approx(metrics.accuracy_score(targets, taken))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(targets, taken, average="macro", zero_division=0))
    assert found.loss == pytest.approx(metrics.log_loss(targets, logits.double().softmax(-1), labels=range(5)), abs=1e-5)
    precision, recall, f1, photos = metrics.precision_recall_fscore_support(targets, taken, labels=range(5), zero_division=0)
    for index, row in enumerate(as_rows(found, "abcde")):
        assert row["label"] == "abcde"[index]
        assert (row["precision"] or 0, row["recall"] or 0, row["f1"]) == pytest.approx((precision[index], recall[index], f1[index]))
        assert row["photos"] == photos[index]
    assert as_rows(found, "abcde")[4]["recall"] is None


def test_neighbours_against_scikit_learn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    make = torch.Generator().manual_seed(1)
    known, labels, asked = torch.randn(60, 8, generator=make), torch.arange(60) % 2, torch.randn(40, 8, generator=make)
    theirs = neighbors.KNeighborsClassifier(5, metric="cosine").fit(known.numpy(), labels.numpy()).predict(asked.numpy())
    assert nearest(known, labels, asked, 2).tolist() == theirs.tolist()  # five votes for two classes are never even


@pytest.mark.parametrize(("right", "photos"), [(0, 5), (5, 5), (389, 400), (1, 2)])
def test_the_interval_solves_wilson_s_equation(right, photos):
    share = right / photos
    for bound in interval(right, photos):
        assert (bound - share) ** 2 == pytest.approx(1.959963984540054**2 * bound * (1 - bound) / photos, abs=1e-9)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (3, 3), (6, 0), (1, 9), (20, 7)])
def test_mcnemar_s_test_is_scipy_s_binomial(won, lost):
    stats = pytest.importorskip("scipy.stats")
    targets = torch.zeros(won + lost + 5, dtype=torch.long)
    first, second = targets.clone(), targets.clone()
    second[:won] = 1
    first[won : won + lost] = 1
    found = compare(first, second, targets)
    expected = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert (found.won, found.lost, found.p) == (won, lost, pytest.approx(expected))
    assert found.verdict == (0 if expected >= 0.05 else 1 if won > lost else -1)


def test_no_photos_no_knowledge():
    assert interval(0, 0) == (0.0, 1.0)
