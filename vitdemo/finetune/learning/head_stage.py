"""Stage 1: fit the head on the photos' features, and write the first bundle with its report."""

import math
import time
from collections.abc import Iterator, Sequence

import torch

from vitdemo.core.figures import percent
from vitdemo.core.training import checkpoint
from vitdemo.finetune.data.dataset import Sample
from vitdemo.finetune.data.features import FeatureCache
from vitdemo.finetune.heads import head, logistic
from vitdemo.finetune.learning.outcome import CROSS_VALIDATION
from vitdemo.finetune.learning.run import Run
from vitdemo.finetune.scores import score


def learn_head(run: Run) -> Iterator[dict]:
    """Run the stage, and yield its events as `finetune` does. Raises: UserError where the folder can't be written."""
    state, outcome, begin = run.state, run.outcome, time.monotonic()
    with run.write_errors():
        views = yield from run.reader.views(outcome.learned)
    if outcome.exact:
        yield {"kind": "note", "text": "Fitting the head, and checking it by cross-validation …"}
        fitted = _fit(run, outcome.learned, views)
        state.head, state.checked = fitted.head, fitted.checked.as_json() if fitted.checked else {}
        state.start = fitted.head if len(outcome.learned) == len(outcome.train) else _fit(run, outcome.train, views).head
    else:
        yield from _learn_in_minibatches(run, views)
    state.epoch = 1
    state.kept = {"stage": "head", "epoch": 1, "why": "Only the head was trained."}
    asked = outcome.asked(final=False)
    learned, kept = outcome.labelled(outcome.learned), outcome.labelled(outcome.validation) if outcome.validation else None
    loss = score(head.answer(state.head, learned.inputs), learned.targets).loss
    assert loss is not None  # these are scores of logits
    judged = outcome.learned if asked.about == CROSS_VALIDATION else outcome.validation
    if kept:
        state.better(score(head.answer(state.start, kept.inputs), kept.targets), "head", 1)
    speed = len(outcome.learned) / max(1e-9, time.monotonic() - begin)
    yield run.record_epoch("head", 1, loss, score(asked.logits, asked.targets), judged, asked.logits, {}, speed, len(outcome.learned))
    state.stage, state.epoch = "blocks", 0
    head.put(run.reader.vit.module, state.head)
    with run.write_errors():
        run.write_bundle(run.reader.vit.module)
        outcome.write(asked)
        checkpoint.save({"more": {"state": run.state_so_far()}}, run.last)


def _fit(run: Run, samples: Sequence[Sample], views: Sequence[FeatureCache]) -> logistic.ExactHead:
    targets = run.outcome.targets(samples)
    inputs = torch.cat([cache.of(samples) for cache in (run.reader.cache, *views)])
    return logistic.fit_head(inputs, targets, len(run.outcome.data.classes), run.weights(targets), len(views))


def _learn_in_minibatches(run: Run, views: Sequence[FeatureCache]) -> Iterator[dict]:
    """Train the head where there are too many photos to solve it, and keep its best epoch on the validation photos."""
    outcome, state = run.outcome, run.state
    kept = outcome.labelled(outcome.validation)
    many = f"{len(outcome.train):,} photos are too many to solve the head exactly"
    yield {"kind": "note", "text": f"{many}: it learns in {head.EPOCHS} passes, checked on the validation photos."}
    targets = outcome.targets(outcome.train)
    inputs = torch.cat([cache.of(outcome.train) for cache in (run.reader.cache, *views)])
    train = head.LabelledFeatures(inputs, targets.repeat(1 + len(views)))
    learner = head.MinibatchHead(train, len(outcome.data.classes), run.weights(targets), run.recipe.seed)
    best = math.inf
    for number in range(head.EPOCHS):
        learner.epoch(number)
        found = learner.folded()
        logits = head.answer(found, kept.inputs)
        heat = logistic.temperature(logits, kept.targets)
        scores = score(heat * logits, kept.targets)
        yield {"kind": "note", "text": f"Head, pass {number + 1} of {head.EPOCHS}: validation {percent(scores.accuracy)}"}
        if scores.loss is not None and scores.loss < best:
            best, state.head = scores.loss, {name: heat * value for name, value in found.items()}
    state.start = state.head
