"""How to fine-tune: every setting with its default and meaning, and three named presets.

Published starting points: LP-FT (Kumar et al. 2022, arXiv:2202.10054) for training the head first, BEiT and MAE for layer-wise rates.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from vitdemo.core.errors import UsageError

AUGMENTS = ("none", "light", "standard", "strong")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
UPDATE = 32  # photos per update where the recipe leaves it open


@dataclass(frozen=True)
class _Parser:
    """The parser of a setting's text; it raises ValueError or KeyError for an invalid one.

    Attributes:
        parse: the function that it calls.
        wanted: the valid values, for an error message.
        words: all valid values, where they are a few words.
    """

    parse: Callable[[str], Any]
    wanted: str
    words: tuple[str, ...] | None = None

    def __call__(self, text: str) -> Any:
        return self.parse(text)


def _number(kind: type, low: float, high: float) -> _Parser:
    def parse(text: str) -> float:
        if not low <= (number := kind(text)) <= high:
            raise ValueError
        return number

    return _Parser(parse, f"a {'whole ' if kind is int else ''}number from {low:g} to {high:g}")


def _word(*words: str) -> _Parser:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return _Parser(parse, "one of " + ", ".join(words), words)


def _parse_unfreeze(text: str) -> str:
    if text not in ("head", "gradual", "all") and not 1 <= int(text) <= 100:
        raise ValueError
    return text


def _parse_switch(text: str) -> bool:
    return {"1": True, "true": True, "0": False, "false": False}[text.lower()]


_unfreeze = _Parser(_parse_unfreeze, "head, gradual, all or a number of blocks")
_switch = _Parser(_parse_switch, "1 or 0")


def _setting(default: Any, parse: _Parser, meaning: str) -> Any:
    return field(default=default, metadata={"parse": parse, "meaning": meaning})


@dataclass(frozen=True)
class Recipe:
    """The settings of a fine-tuning. The command's flags and the page's input fields are generated from these fields."""

    unfreeze: str = _setting("head", _unfreeze, "what learns: head, the last N blocks, gradual (a block at a time from the top), or all")
    head_epochs: int = _setting(60, _number(int, 1, 1000), "passes over the features for the head, which comes first always")
    epochs: int = _setting(10, _number(int, 1, 1000), "passes over the photos for the blocks, after the head")
    head_lr: float = _setting(0.003, _number(float, 1e-7, 100), "the head's peak learning rate")
    lr: float = _setting(1e-4, _number(float, 1e-7, 100), "the blocks' peak learning rate, of the topmost layer")
    layer_decay: float = _setting(0.75, _number(float, 0.1, 1), "each layer's rate as a share of the one above it")
    weight_decay: float = _setting(0.05, _number(float, 0, 1), "how strongly weights are drawn to zero")
    warmup: float = _setting(0.1, _number(float, 0, 0.9), "share of the updates in which the rate rises")
    batch_size: int = _setting(0, _number(int, 0, 4096), "photos at a time; 0 takes 8 on a CPU and 32 on a GPU")
    accumulate: int = _setting(0, _number(int, 0, 1024), "batches that make one update; 0 makes it 32 photos")
    clip: float = _setting(1.0, _number(float, 0, 1000), "largest norm of the gradients; 0 for no limit")
    label_smoothing: float = _setting(0.1, _number(float, 0, 0.9), "how much of the certainty is taken from the true class")
    balance: bool = _setting(True, _switch, "photos of rare classes count more, so that classes count alike")
    augment: str = _setting("light", _word(*AUGMENTS), "how far photos are varied while blocks learn: crops, mirroring, colours")
    views: int = _setting(0, _number(int, 0, 20), "varied copies of each photo for the head, beside the photo itself")
    drop_path: float = _setting(0.1, _number(float, 0, 0.9), "how often the last block is skipped in training, earlier ones less")
    ema: float = _setting(0.0, _number(float, 0, 0.99999), "decay of averaged weights, which are steadier; 0 for none")
    patience: int = _setting(5, _number(int, 0, 1000), "epochs of the blocks without a better macro-F1 before it ends; 0 goes to the end")
    precision: str = _setting("auto", _word(*PRECISIONS), "auto is bf16 or fp16 on a GPU and fp32 on a CPU")
    checkpointing: bool = _setting(False, _switch, "computes parts twice to need less memory")
    validation: float = _setting(0.2, _number(float, 0.05, 0.5), "share of each class kept for checking, where no split is given")
    seed: int = _setting(0, _number(int, 0, 2**31 - 1), "the same seed repeats the run")

    @classmethod
    def read(cls, texts: Mapping[str, object], base: "Recipe | None" = None, *, title: str = "--{}") -> "Recipe":
        """Parse settings into a recipe.

        Args:
            texts: field name → value as text.
            base: the recipe that the other values come from; the defaults if None.
            title: how an error message names a field: as a flag by default; a page passes its own pattern.

        Raises: UsageError naming the first setting that is unknown or has an invalid value.
        """
        values = {}
        parsers = {setting.name: setting.metadata["parse"] for setting in fields(cls)}
        for name, text in texts.items():
            if name not in parsers:
                raise UsageError(f"There is no setting “{str(name)[:40]}” for fine-tuning.")
            try:
                values[name] = parsers[name](str(text).strip())
            except (ValueError, KeyError):
                label = title.format(name.replace("_", "-" if title.startswith("-") else " "))
                raise UsageError(f"{label} is “{str(text)[:40]}”, but it must be {parsers[name].wanted}.") from None
        return replace(base or cls(), **values)

    def as_json(self) -> dict:
        """Return the settings as a dict for JSON."""
        return asdict(self)

    @property
    def blocks(self) -> bool:
        """Whether transformer blocks learn as well as the head."""
        return self.unfreeze != "head"


@dataclass(frozen=True)
class Preset:
    """A recipe with a title and a description for people."""

    title: str
    meaning: str
    recipe: Recipe


PRESETS = {
    "quick": Preset("Head only (fast)", "a new head on features computed once: seconds", Recipe()),
    "careful": Preset(
        "Last 4 blocks",
        "the head, then the last four blocks, with light augmentation and averaged weights: minutes",
        Recipe(unfreeze="4", epochs=10, ema=0.99),
    ),
    "everything": Preset(
        "Full fine-tuning",
        "all layers, unfrozen from the top, with strong augmentation: an evening on a GPU",
        Recipe(unfreeze="gradual", epochs=30, augment="standard", views=2, ema=0.998, patience=10),
    ),
}
