"""The head as a convex problem: multinomial logistic regression on cached features, solved exactly, judged by cross-validation.

Minimised is C · Σ wᵢ · cross-entropyᵢ + ½‖W‖², the intercept free, over standardised features x (`standardise`), with C = c / mean‖x‖²: the
strength c means the same for the features of any model. The solution lies in the span of the features, so their principal coordinates
replace them exactly. All folds of the cross-validation are one problem with a mask each. Nothing here is random but the folds, which are
always the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

MOST = 200_000_000  # rows × classes × width up to which the head is solved exactly: minutes on two cores
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)  # c, from strong regularisation to weak
STRENGTH = 3.0  # where a class has too few photos to choose by cross-validation
FOLDS, REPEATS = 5, 2
FEWEST = 3  # photos of the smallest class from which the strength is chosen by cross-validation
SHARES = (0.25, 0.5, 0.75)  # of the photos, for the learning curve
FLOOR = 0.1  # share of the mean variance that is added to each feature's variance: few photos say little of it
CLEAR = 2  # standard errors by which another strength must be better than the default: some 95 %
HOTTEST = 6.0  # largest absolute logarithm of a temperature


def standardise(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and scale, (width,) each, that make features (N, width) alike: (features - mean) / scale has a mean square length of 1.

    Each feature is divided by its standard deviation, to whose square a share of the mean variance is added.
    """
    mean, variance = features.mean(0), features.var(0, correction=0)
    scale = (variance + FLOOR * variance.mean()).clamp(min=1e-24).sqrt()
    return mean, scale * (variance / scale**2).sum().clamp(min=1e-24).sqrt()


@dataclass(frozen=True, eq=False)
class Problem:
    """Labelled features in principal coordinates.

    Attributes:
        inputs: (N, rank) float64, of the standardised features.
        basis: (rank, width), takes a weight back to the features as they were.
        mean: (width,), the features' mean.
        targets: (N,) class indices.
        weights: (N,) how much each row counts.
        classes: number of classes.
    """

    inputs: torch.Tensor
    basis: torch.Tensor
    mean: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    classes: int

    @classmethod
    def of(cls, features: torch.Tensor, targets: torch.Tensor, classes: int, weights: torch.Tensor) -> "Problem":
        """Pose the problem for features (N, width)."""
        mean, scale = standardise(features.double())
        standard = (features - mean) / scale
        if len(standard) < standard.shape[1]:
            left, lengths, right = torch.linalg.svd(standard, full_matrices=False)
        else:  # the eigenvectors of a small matrix: the same coordinates, faster for many rows
            squares, vectors = torch.linalg.eigh(standard.T @ standard)
            right, lengths = vectors.T, squares.clamp(min=0).sqrt()
            left = None
        keep = lengths > lengths.max() * 1e-7
        inputs = left[:, keep] * lengths[keep] if left is not None else standard @ right[keep].T
        basis = right[keep] / scale
        return cls(inputs, basis, mean, targets, weights.double(), classes)

    def solve(self, strength: float, masks: torch.Tensor, start: torch.Tensor | None = None, *, tolerance: float = 1e-6) -> torch.Tensor:
        """Solve one regression for each mask.

        Args:
            masks: (F, N) 1 for the rows that count.
            start: what an earlier call returned.
            tolerance: largest gradient that is left, per row that counts.

        Returns: (F, rank + 1, classes): weights, and the intercepts in the last row.
        """
        counted = masks.double() * self.weights  # (F, N)
        with_ones = torch.cat([self.inputs, torch.ones(len(self.inputs), 1, dtype=torch.float64)], 1)  # (N, rank + 1)
        penalty = torch.full((with_ones.shape[1], 1), 1 / strength, dtype=torch.float64)
        penalty[-1] = 0
        # near the curvature in each coordinate: L-BFGS then needs few steps
        steep = (with_ones.square().T @ counted.T).T[..., None] / self.classes  # (F, rank + 1, 1)
        scale = (steep + penalty).rsqrt()
        shape = (len(masks), with_ones.shape[1], self.classes)
        free = (torch.zeros(shape, dtype=torch.float64) if start is None else start / scale).requires_grad_(True)
        hits = torch.nn.functional.one_hot(self.targets, self.classes).double()  # (N, classes)
        optimizer = torch.optim.LBFGS(
            [free], max_iter=500, history_size=20, tolerance_grad=tolerance, tolerance_change=1e-12, line_search_fn="strong_wolfe"
        )

        def closure() -> torch.Tensor:
            with torch.no_grad():
                solution = free * scale
                logs = (with_ones @ solution).log_softmax(-1)  # (F, N, classes)
                wrong = (logs.exp() - hits) * counted[..., None]
                free.grad = (with_ones.T @ wrong + penalty * solution) * scale
                return -(logs * hits).sum(-1).mul(counted).sum() + (penalty * solution.square()).sum() / 2

        optimizer.step(closure)
        return (free * scale).detach()

    def logits(self, solutions: torch.Tensor) -> torch.Tensor:
        """Apply solutions (F, rank + 1, classes) to all rows: (F, N, classes)."""
        return self.inputs @ solutions[:, :-1] + solutions[:, -1:]

    def head(self, solution: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return weight (classes, width) and bias (classes,) of a solution, for the features as they were."""
        weight = solution[:-1].T @ self.basis
        return {"weight": weight.float(), "bias": (solution[-1] - weight @ self.mean).float()}


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What the photos say of a head that was fitted without them.

    Attributes:
        logits: (photos, classes), calibrated: each photo's from the head of the folds that it is not in.
        folds: (photos,) the fold of each.
        strength: the c that was chosen, or STRENGTH where there are too few photos to choose.
        chosen: whether it was chosen.
        curve: (share of the photos, (photos, classes) logits of heads fitted to that share) pairs, not calibrated; the last share is 1.
    """

    logits: torch.Tensor
    folds: torch.Tensor
    strength: float
    chosen: bool
    curve: tuple[tuple[float, torch.Tensor], ...]

    def as_json(self) -> dict:
        """Return the attributes as a dict for a checkpoint; `CrossValidation(**…)` reads it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class ExactHead:
    """The head fitted to all photos, and what its cross-validation says; None where a class has a single photo.

    Attributes:
        head: weight (classes, width) and bias (classes,), float32, calibrated.
    """

    head: dict[str, torch.Tensor]
    checked: CrossValidation | None


def fit_head(inputs: torch.Tensor, targets: torch.Tensor, classes: int, weights: torch.Tensor | None = None, views: int = 0) -> ExactHead:
    """Fit the head, and cross-validate it.

    Args:
        inputs: (photos × (1 + views), width): the photos' features, then those of each further view, in the same order.
        targets: (photos,) class indices.
        weights: (classes,) how much the photos of each class count; None for all alike.
        views: varied copies of each photo, which share its fold; together they count as one photo.
    """
    rows = targets.repeat(1 + views)
    counted = torch.ones(len(rows)) if weights is None else weights[rows]
    problem = Problem.of(inputs, rows, classes, counted / (1 + views))
    everything = torch.ones(1, len(rows))
    smallest = int(torch.bincount(targets, minlength=classes).min())
    if smallest < 2:
        return ExactHead(problem.head(problem.solve(STRENGTH, everything)[0]), None)
    strengths = STRENGTHS if smallest >= FEWEST else (STRENGTH,)
    folds = [assign_folds(targets, repeat) for repeat in range(REPEATS)]
    masks = torch.cat([_training_masks(fold) for fold in folds])
    found, solution = [], None
    for strength in strengths:
        solution = problem.solve(strength, masks.repeat(1, 1 + views), solution, tolerance=1e-3)
        found.append(torch.stack(_out_of_fold(problem.logits(solution), folds)))  # (repeats, photos, classes)
    best = choose([_calibrated_losses(logits, targets) for logits in found]) if len(found) > 1 else 0
    heat = temperature(found[best].flatten(0, 1), targets.repeat(REPEATS))
    learned = _learning_curve(problem, strengths[best], folds[0], targets, views)
    curve = (*((share, logits.float()) for share, logits in learned), (1.0, found[best][0].float()))
    checked = CrossValidation((heat * found[best][0]).float(), folds[0], strengths[best], len(strengths) > 1, curve)
    head = problem.head(heat * problem.solve(strengths[best], everything)[0])
    return ExactHead(head, checked)


def assign_folds(targets: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Divide photos into folds, class by class (stratified): (photos,) → (photos,) the number of each photo's fold."""
    count = max(2, min(FOLDS, int(torch.bincount(targets).median())))
    shuffled = torch.from_numpy(np.random.default_rng(seed).permutation(len(targets)))
    order = shuffled[targets[shuffled].argsort(stable=True)]
    folds = torch.empty_like(targets)
    folds[order] = torch.arange(len(targets)) % count
    return folds


def temperature(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the factor of logits (N, classes) that makes probabilities of them (Guo et al. 2017, arXiv:1706.04599).

    The targets are smoothed as Platt (1999) does, by one photo more of each kind: a few right answers are no certainty.
    """
    count, classes = logits.shape
    certain = (count + 1) / (count + 2)
    wanted = torch.full_like(logits, (1 - certain) / max(1, classes - 1)).scatter_(1, targets[:, None], certain)
    low, high = -HOTTEST, HOTTEST
    for _ in range(40):  # the loss is convex in the factor: bisect its slope
        middle = (low + high) / 2
        slope = (((math.exp(middle) * logits).softmax(-1) - wanted) * logits).sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(low)


def choose(losses: Sequence[torch.Tensor]) -> int:
    """Choose among STRENGTHS by their losses (N,) on the same photos: the nearest to STRENGTH within two standard errors of the best.

    With few photos the best is often the best by chance; the default has to be clearly worse to be left.
    """
    best = min(range(len(losses)), key=lambda index: float(losses[index].mean()))
    differences = [each - losses[best] for each in losses]
    ties = [index for index, worse in enumerate(differences) if index == best or worse.mean() <= CLEAR * worse.std() / len(worse) ** 0.5]
    return min(ties, key=lambda index: abs(math.log(STRENGTHS[index] / STRENGTH)))


def _calibrated_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(repeats, photos, classes) → (photos,) cross-entropy at the best temperature, the mean of the repeats."""
    heat = temperature(logits.flatten(0, 1), targets.repeat(len(logits)))
    losses = [torch.nn.functional.cross_entropy(heat * each, targets, reduction="none") for each in logits]
    return torch.stack(losses).mean(0)


def _training_masks(folds: torch.Tensor) -> torch.Tensor:
    """(folds, photos): 1 where a photo is not in the fold."""
    return (folds[None] != torch.arange(int(folds.max()) + 1)[:, None]).double()


def _out_of_fold(logits: torch.Tensor, folds: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Take each photo's own logits from those of every fold's head, (folds of all repeats, rows, classes): a (photos, classes) a repeat."""
    taken, first = [], 0
    for fold in folds:
        taken.append(logits[first + fold, torch.arange(len(fold))])
        first += int(fold.max()) + 1
    return taken


def _learning_curve(
    problem: Problem, strength: float, folds: torch.Tensor, targets: torch.Tensor, views: int
) -> list[tuple[float, torch.Tensor]]:
    """Fit to a share of each fold's training photos, at least one of each class: (share, out-of-fold logits) pairs."""
    whole = _training_masks(folds)
    order = torch.from_numpy(np.random.default_rng(len(targets)).permutation(len(targets)))
    parts = []
    for share in SHARES:
        mask = torch.zeros_like(whole)
        for row, kept in zip(mask, whole, strict=True):
            for label in range(problem.classes):
                own = order[(targets[order] == label) & (kept[order] > 0)]
                row[own[: max(1, round(share * len(own)))]] = 1
        parts.append(mask)
    logits = problem.logits(problem.solve(strength, torch.cat(parts).repeat(1, 1 + views), tolerance=1e-3))
    return list(zip(SHARES, _out_of_fold(logits, [folds] * len(SHARES)), strict=True))
