"""What the stages of a fine-tuning run share: where the run stands, and how that is written to its folder."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import torch
from safetensors import SafetensorError

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.vit import Vit
from vitdemo.finetune.data.dataset import Sample
from vitdemo.finetune.heads.head import balanced
from vitdemo.finetune.heads.reading import FeatureReader
from vitdemo.finetune.learning import bundle, report
from vitdemo.finetune.learning.outcome import Outcome
from vitdemo.finetune.learning.state import State
from vitdemo.finetune.recipe import Recipe
from vitdemo.finetune.scores import ClassifierScores

SHOWN_GUESSES = 8  # photos whose predictions are part of each epoch's event


class Run:
    """One fine-tuning run.

    Args:
        vit: the model to fine-tune.
        folder: of the run; it becomes a bundle.

    Attributes:
        reader: reads the photos' features.
        last: the file from which a later call resumes.
        state: where the run stands.
        outcome: the photos and what was learned from them, once the features have been read.
        begun: when the run began or went on, on the monotonic clock.
    """

    outcome: Outcome

    def __init__(self, vit: Vit, engine: Engine, recipe: Recipe, folder: Path, settings: Settings):
        self.engine, self.recipe, self.folder, self.settings = engine, recipe, folder, settings
        self.reader = FeatureReader(vit, engine, recipe, folder / "run", settings)
        self.last = folder / "run" / "last.safetensors"
        self.state = State()
        self.begun = time.monotonic()

    def weights(self, targets: torch.Tensor) -> torch.Tensor | None:
        """A weight for each class, where the recipe balances them."""
        return balanced(targets, len(self.outcome.data.classes)) if self.recipe.balance else None

    def write_bundle(self, module: torch.nn.Module) -> None:
        """Write these weights as the run's model."""
        bundle.write(module, self.outcome.data.classes, self.reader.vit.preprocessing, self.folder, self.reader.arguments)

    def record_epoch(
        self,
        stage: str,
        of: int,
        loss: float,
        scores: ClassifierScores,
        judged: Sequence[Sample],
        logits: torch.Tensor,
        rates: dict[str, float],
        speed: float,
        photos: int,
    ) -> dict:
        """Record a finished epoch in the history, and return its event."""
        state = self.state
        event = {
            "kind": "epoch",
            "stage": stage,
            "epoch": state.epoch,
            "of": of,
            "loss": loss,
            "validation_loss": scores.loss,
            "accuracy": scores.accuracy,
            "macro_f1": scores.macro_f1,
            "rates": rates,
            "photos_per_second": speed,
            "seconds_left": (of - state.epoch) * photos / speed,
            "best": stage == "head" or (state.best["stage"] == stage and state.best["epoch"] == state.epoch),
        }
        state.history.append(event)
        return event | {"guesses": report.guesses(self.outcome.data, judged, logits, _spread(len(judged), SHOWN_GUESSES))}

    def state_so_far(self) -> dict:
        """The state as a dict, with the training time up to now."""
        state = {field.name: getattr(self.state, field.name) for field in fields(State)}
        return state | {"seconds": self.outcome.seconds}

    @contextmanager
    def write_errors(self) -> Iterator[None]:
        """Turn a failed write into a UserError; the files already on the disk stay valid."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(
                f"{self.folder} can't be written ({why}): make room and start again with the same folder, it goes on after the last epoch."
            ) from None


def _spread(count: int, most: int) -> list[int]:
    """Return up to `most` evenly spaced indices below `count`."""
    return sorted({round(position) for position in torch.linspace(0, count - 1, min(count, most)).tolist()})
