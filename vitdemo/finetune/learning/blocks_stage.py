"""Stage 2: train the blocks, and keep an epoch of them only where a paired test says that it is better than the head alone."""

import math
import time
from collections.abc import Iterator
from typing import Any

from vitdemo.finetune.data.dataset import VALIDATION
from vitdemo.finetune.heads import head
from vitdemo.finetune.learning.blocks import Blocks
from vitdemo.finetune.learning.outcome import Asked
from vitdemo.finetune.learning.run import Run
from vitdemo.finetune.recipe import Recipe
from vitdemo.finetune.scores import PairedTest, compare, score

COLLAPSED = 0.5  # share of the head's macro-F1 below which the blocks may have collapsed, forgetting what the model knew
DEFAULT = Recipe()


def learn_blocks(run: Run) -> Iterator[dict]:
    """Run the stage, and yield its events as `finetune` does. Bundle and report are written after each epoch that is the best so far.

    Raises: UserError where the folder can't be written.
    """
    recipe, state, outcome = run.recipe, run.state, run.outcome
    train, validation = outcome.train, outcome.validation
    targets, wanted = outcome.targets(train), outcome.targets(validation)
    stage = Blocks(run.reader.vit, state.start, train, targets.tolist(), recipe, run.weights(targets))
    if state.epoch:
        stage.trainer.load(run.last)
    heads = head.answer(state.start, run.reader.cache.of(validation))
    head_f1 = score(heads, wanted).macro_f1
    while state.epoch < recipe.epochs and not state.ended:
        begin = time.monotonic()
        progress: dict[str, Any] = {"loss": math.inf}
        try:
            for progress in stage.epoch(state.epoch, run.settings):
                yield {"kind": "step", "stage": "blocks", "epoch": state.epoch + 1, "of": recipe.epochs} | progress
        except FloatingPointError:
            progress = {"loss": math.inf}
        loss, speed = progress["loss"], len(train) / (time.monotonic() - begin)
        if loss > _hopeless(len(outcome.data.classes)):
            state.ended = f"Training diverged at a learning rate of {recipe.lr:g}: choose a lower one ({DEFAULT.lr:g} is usual)."
            break
        logits = stage.answers(validation, run.engine, run.settings)
        scores = score(logits, wanted)
        state.epoch += 1
        state.waited += 1
        if state.better(scores, "blocks", state.epoch):
            state.waited = 0
            test = compare(logits.argmax(-1), heads.argmax(-1), wanted)
            if test.verdict > 0:
                state.kept = {"stage": "blocks", "epoch": state.epoch, "why": _why(test)}
                with run.write_errors():
                    run.write_bundle(stage.trainer.best)
                    outcome.write(Asked(VALIDATION, validation, wanted, logits))
            elif state.kept["stage"] == "head":
                state.kept |= {"why": _why(test)}
        yield run.record_epoch("blocks", recipe.epochs, loss, scores, validation, logits, progress["rates"], speed, len(train))
        if scores.macro_f1 < COLLAPSED * head_f1 and loss > 0.8 * math.log(len(outcome.data.classes)):
            state.ended = f"At a rate of {recipe.lr:g} the model forgot what it knew: choose a lower one ({DEFAULT.lr:g} is usual)."
        elif recipe.patience and state.waited >= recipe.patience:
            state.ended = f"Ended after {state.epoch} epochs: the last {state.waited} were no better."
        with run.write_errors():
            stage.trainer.save(run.last, state=run.state_so_far())
    if state.ended:
        yield {"kind": "note", "text": state.ended}


def _why(test: PairedTest) -> str:
    """Why the head or the blocks are kept, by the paired test of the blocks against the head."""
    counts = f"On the validation photos, only the blocks are right on {test.won}, and only the head on {test.lost}"
    outcome = {1: "the blocks are better", 0: "a tie, which goes to the head", -1: "the head is better"}[test.verdict]
    return f"{counts} (McNemar's test, p = {test.p:.2g}): {outcome}."


def _hopeless(classes: int) -> float:
    """Return the mean loss of an epoch that only a diverging run reaches: twice that of uniform guessing, plus 1."""
    return 2 * math.log(classes) + 1
