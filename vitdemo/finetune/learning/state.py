"""The state of a fine-tuning: what it needs to resume, in addition to the trainer's own state."""

import math
from dataclasses import dataclass, field

from vitdemo.finetune.scores import ClassifierScores


@dataclass
class State:
    """The progress of a run; all of it is stored in last.safetensors.

    Attributes:
        stage, epoch: `head` or `blocks`, and the number of its finished epochs.
        best: macro-F1, validation loss, stage and epoch of the best weights so far.
        head: weight and bias of the head to use where the blocks are not.
        start: the head that the blocks begin with, which has not seen the validation photos.
        checked: what the head's cross-validation says, as `CrossValidation.as_json` has it; empty without one.
        kept: stage and epoch of the weights in the bundle, and why those.
        history: one event per epoch.
        waited: epochs of the blocks since their best one.
        seconds: training time so far.
        ended: the sentence on why the blocks ended early; empty otherwise.
    """

    stage: str = "head"
    epoch: int = 0
    best: dict = field(default_factory=lambda: {"macro_f1": -1.0, "loss": math.inf, "stage": "", "epoch": 0})
    head: dict = field(default_factory=dict)
    start: dict = field(default_factory=dict)
    checked: dict = field(default_factory=dict)
    kept: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    waited: int = 0
    seconds: float = 0.0
    ended: str = ""

    def better(self, scores: ClassifierScores, stage: str, epoch: int) -> bool:
        """Return whether this epoch is the best so far, and record it if so: the higher macro-F1 wins, then the lower loss."""
        assert scores.loss is not None  # these are scores of logits
        if (scores.macro_f1, -scores.loss) <= (self.best["macro_f1"], -self.best["loss"]):
            return False
        self.best = {"macro_f1": scores.macro_f1, "loss": scores.loss, "stage": stage, "epoch": epoch}
        return True
