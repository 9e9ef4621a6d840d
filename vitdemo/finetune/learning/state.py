"""How far a fine-tuning is: what it needs, beside the trainer's own state, to go on."""

import math
from dataclasses import dataclass, field

from vitdemo.finetune.scores import ClassifierScores


@dataclass
class State:
    """How far a run is; all of it is in last.safetensors.

    Attributes:
        stage, epoch: `head` or `blocks`, and the epochs of it that are over.
        best: macro-F1, validation loss, stage and epoch of the weights to use.
        head: the best head of stage 1, weight and bias.
        history: an event for every epoch.
        waited: epochs of the blocks since the best one.
        seconds: spent so far.
        ended: why the blocks ended early, in words.
    """

    stage: str = "head"
    epoch: int = 0
    best: dict = field(default_factory=lambda: {"macro_f1": -1.0, "loss": math.inf, "stage": "", "epoch": 0})
    head: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    waited: int = 0
    seconds: float = 0.0
    ended: str = ""

    def better(self, scores: ClassifierScores, stage: str, epoch: int) -> bool:
        """Whether this epoch is the best so far, and note it: the higher macro-F1, of equals the lower loss."""
        if (scores.macro_f1, -scores.loss) <= (self.best["macro_f1"], -self.best["loss"]):
            return False
        self.best = {"macro_f1": scores.macro_f1, "loss": scores.loss, "stage": stage, "epoch": epoch}
        return True
