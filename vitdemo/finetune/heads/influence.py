"""Which training photos speak for an answer, and which against it (TracIn, Pruthi et al. 2020, arXiv:2002.08484), in closed form.

The gradient of one photo's cross-entropy in a linear head is (p − y)fᵀ, and p − y for the bias. So the influence of photo i on the loss of
answer q is ⟨pᵢ − yᵢ, p_q − y_q⟩ · (⟨fᵢ, f_q⟩ + 1), by matrices alone.
"""

from collections.abc import Iterable, Sequence

import torch

from vitdemo.finetune.heads.logistic import standardise

SHOWN = 3  # photos named for and against an answer


def influence(features: torch.Tensor, errors: torch.Tensor, asked: torch.Tensor, asked_errors: torch.Tensor) -> torch.Tensor:
    """Return the influence of every training photo on every answer, (answers, photos).

    Positive: a gradient step on the photo lowers the answer's loss, so it speaks for the answer; negative: it speaks against it.

    Args:
        features: (photos, width), the head's inputs.
        errors: (photos, classes), probabilities minus the one-hot true class.
        asked: (answers, width), the head's inputs for the photos that the answers are about.
        asked_errors: (answers, classes), probabilities minus the one-hot class of the answer.
    """
    return (asked_errors @ errors.T) * (asked @ features.T + 1)


def explain(
    probabilities: torch.Tensor,
    asked: torch.Tensor,
    known: torch.Tensor,
    known_probabilities: torch.Tensor,
    targets: torch.Tensor,
    names: Sequence[tuple[str, str]],
    itself: Iterable[int | None],
) -> list[dict]:
    """Name the training photos that spoke for and against each predicted class, and against its runner-up.

    Args:
        probabilities: (answers, classes) of the photos to explain.
        asked: (answers, width), their features.
        known: (photos, width), the training photos' features.
        known_probabilities: (photos, classes), what the head says of them.
        targets: (photos,) their class indices.
        names: (photo, label) of each training photo.
        itself: for each answer the index of its photo among the training photos, which is left out; None where it is not there.

    Returns: for each answer the lists `for`, `against` and `against_runner_up` of {photo, label, influence}, strongest first.
    """
    mean, scale = standardise(known)  # as the head learned them
    features, questions = (known - mean) / scale, (asked - mean) / scale
    errors = known_probabilities - torch.nn.functional.one_hot(targets, probabilities.shape[1])
    leading = probabilities.topk(2).indices  # (answers, 2): the predicted class and its runner-up
    found = []
    for place in range(2):
        wanted = torch.nn.functional.one_hot(leading[:, place], probabilities.shape[1])
        found.append(influence(features, errors, questions, probabilities - wanted))
    for row, own in enumerate(itself):
        if own is not None:
            for values in found:
                values[row, own] = 0
    return [
        {"for": _strongest(answer, names), "against": _strongest(-answer, names), "against_runner_up": _strongest(-runner_up, names)}
        for answer, runner_up in zip(*found, strict=True)
    ]


def _strongest(values: torch.Tensor, names: Sequence[tuple[str, str]]) -> list[dict]:
    """The photos with the largest positive values."""
    largest = values.topk(min(SHOWN, len(values)))
    return [
        {"photo": names[index][0], "label": names[index][1], "influence": value}
        for value, index in zip(largest.values.tolist(), largest.indices.tolist(), strict=True)
        if value > 0
    ]
