"""The exact head against scikit-learn's logistic regression, and its cross-validation against heads fitted fold by fold."""

import numpy as np
import pytest
import torch

from vitdemo.finetune.heads import logistic
from vitdemo.finetune.heads.head import answer, balanced
from vitdemo.finetune.heads.logistic import Problem, assign_folds, choose, fit_head, temperature


def clusters(count: int, width: int, classes: int, distance: float = 2.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of `count` photos around class means."""
    make = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % classes
    means = distance * torch.randn(classes, width, generator=make)
    return 7 + means[targets] + 3 * torch.randn(count, width, generator=make), targets


@pytest.mark.parametrize(("count", "width"), [(24, 60), (90, 12)], ids=["fewer photos than numbers", "more"])
@pytest.mark.parametrize("strength", [0.1, 3.0, 100.0])
def test_it_is_scikit_learn_s(count, width, strength):
    linear_model = pytest.importorskip("sklearn.linear_model")
    inputs, targets = clusters(count, width, 3)
    weights = torch.tensor([1.0, 2.0, 0.5])[targets]
    problem = Problem.of(inputs, targets, 3, weights)
    found = problem.head(problem.solve(strength, torch.ones(1, count))[0])
    variance = inputs.double().numpy().var(0)
    standard = inputs.double().numpy() / np.sqrt(variance + 0.1 * variance.mean())
    theirs = linear_model.LogisticRegression(C=strength / standard.var(0).sum(), tol=1e-9, max_iter=10_000)
    theirs.fit(standard, targets.numpy(), sample_weight=weights.numpy())
    expected = theirs.predict_proba(standard)
    np.testing.assert_allclose(answer(found, inputs).softmax(-1), expected, atol=2e-4)


def test_all_folds_are_solved_as_each_alone():
    inputs, targets = clusters(40, 16, 4)
    folds = assign_folds(targets)
    whole = Problem.of(inputs, targets, 4, torch.ones(40))
    masks = (folds[None] != torch.arange(5)[:, None]).double()
    together = whole.logits(whole.solve(3.0, masks, tolerance=1e-7))
    for fold in range(5):
        alone = whole.logits(whole.solve(3.0, masks[fold : fold + 1], tolerance=1e-7))[0]
        assert torch.allclose(together[fold].softmax(-1), alone.softmax(-1), atol=1e-4)


@pytest.mark.parametrize("counts", [[5, 5, 5], [2, 9, 30], [2, 2, 2], [3, 4, 5]])
def test_no_fold_holds_a_class_s_every_photo(counts):
    targets = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    folds = assign_folds(targets)
    assert len(folds) == len(targets)
    for fold in range(int(folds.max()) + 1):
        assert set(targets[folds != fold].tolist()) == {0, 1, 2}
    sizes = torch.bincount(folds)
    assert sizes.max() - sizes.min() <= 1
    assert torch.equal(folds, assign_folds(targets))


def test_an_answer_out_of_fold_is_of_a_head_that_has_not_learned_the_photo():
    """A class that is a single point but for one photo: with it the head knows it, without it doesn't."""
    inputs, targets = clusters(30, 8, 3, distance=4.0)
    odd = 4
    inputs[odd] = inputs[targets == 0].mean(0)  # of class 1, in the middle of class 0
    fitted = fit_head(inputs, targets, 3)
    assert fitted.checked.logits[odd].argmax() == 0
    assert (fitted.checked.logits.argmax(-1) == targets).float().mean() > 0.9


def test_views_share_the_fold_of_their_photo_and_count_once():
    inputs, targets = clusters(30, 8, 3)
    alone, doubled = fit_head(inputs, targets, 3), fit_head(inputs.repeat(3, 1), targets, 3, views=2)
    assert torch.equal(alone.checked.folds, doubled.checked.folds)
    assert alone.checked.strength == doubled.checked.strength
    assert torch.allclose(alone.checked.logits, doubled.checked.logits, atol=0.05)
    assert torch.allclose(answer(alone.head, inputs), answer(doubled.head, inputs), atol=0.05)


def test_weights_make_rare_classes_count_alike():
    inputs, targets = clusters(60, 4, 2, distance=0.3)
    kept = (targets == 0) | (torch.arange(60) % 6 == 1)
    inputs, targets = inputs[kept], targets[kept]
    plain = answer(fit_head(inputs, targets, 2).head, inputs).argmax(-1)
    even = answer(fit_head(inputs, targets, 2, balanced(targets, 2)).head, inputs).argmax(-1)
    assert (even == 1).sum() > (plain == 1).sum()


def test_the_temperature_solves_its_equation():
    make = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(200, 4, generator=make).double(), torch.arange(200) % 4
    logits[torch.arange(200), targets] += 1.5
    heat = temperature(logits, targets)
    losses = [torch.nn.functional.cross_entropy(factor * logits, targets).item() for factor in (0.9 * heat, heat, 1.1 * heat)]
    assert losses[1] < losses[0]
    assert losses[1] < losses[2]
    assert temperature(5 * logits, targets) == pytest.approx(heat / 5, rel=1e-3)


def test_a_few_right_answers_are_no_certainty():
    logits, targets = torch.eye(3).repeat(2, 1).double(), torch.arange(6) % 3
    probability = (temperature(logits, targets) * logits).softmax(-1).max().item()
    assert probability == pytest.approx(7 / 8, abs=1e-3)


def test_the_default_strength_is_left_for_one_that_is_clearly_better_alone():
    noise = torch.randn(50, generator=torch.Generator().manual_seed(0))
    losses = [1 + 0.1 * noise * index for index in range(len(logistic.STRENGTHS))]
    default = logistic.STRENGTHS.index(logistic.STRENGTH)
    assert choose(losses) == default
    assert choose([each + (index != 6) for index, each in enumerate(losses)]) == 6


def test_too_few_photos_take_the_default():
    inputs, targets = clusters(6, 10, 3)
    fitted = fit_head(inputs, targets, 3)
    assert (fitted.checked.strength, fitted.checked.chosen) == (logistic.STRENGTH, False)
    assert fit_head(inputs[:3], targets[:3], 3).checked is None


def test_the_learning_curve_ends_with_all_photos():
    inputs, targets = clusters(60, 10, 3)
    fitted = fit_head(inputs, targets, 3)
    assert [share for share, _ in fitted.checked.curve] == [0.25, 0.5, 0.75, 1.0]
    assert torch.equal(fitted.checked.curve[-1][1].argmax(-1), fitted.checked.logits.argmax(-1))
    accuracies = [(logits.argmax(-1) == targets).float().mean().item() for _, logits in fitted.checked.curve]
    assert accuracies[-1] > accuracies[0]
