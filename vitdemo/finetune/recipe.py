"""How to fine-tune: every setting with its default and meaning, and three named presets.

Published starting points: LP-FT (Kumar et al. 2022, arXiv:2202.10054) for training the head first, BEiT and MAE for layer-wise rates.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from vitdemo.core.errors import UsageError
from vitdemo.core.values import Parser, number, one_of, setting, switch, whole

AUGMENTS = ("none", "light", "standard", "strong")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
UPDATE = 32  # photos per update where the recipe leaves it open


def _parse_unfreeze(text: str) -> str:
    if text not in ("head", "gradual", "all") and not 1 <= int(text) <= 100:
        raise ValueError
    return text


def _or_auto(parser: Parser) -> Parser:
    """Read `auto`, or what a page may show for it, such as “auto (8)”, as 0."""
    return Parser(lambda text: 0 if text.split(" ")[0] == "auto" else parser(text), f"auto or {parser.wanted}")


def _parse_features(text: str) -> str:
    if text not in ("final", "mean", "both", "auto") and not 1 <= int(text) <= 100:
        raise ValueError
    return text


_features = Parser(_parse_features, "final, mean, both, auto or the number of a block")
_unfreeze = Parser(_parse_unfreeze, "head, gradual, all or a number of blocks")


@dataclass(frozen=True)
class Recipe:
    """The settings of a fine-tuning. The command's flags and the page's input fields are generated from these fields."""

    unfreeze: str = setting(
        "head", _unfreeze, "what learns: head, the last N blocks, gradual (a block at a time from the top), or all", "What learns"
    )
    features: str = setting(
        "final",
        _features,
        "what the head reads: final (CLS after the last block), mean (of the patches), both, the number of an earlier block, or auto",
        "Head reads",
    )
    epochs: int = setting(10, whole(1, 1000), "passes over the photos for the blocks, after the head", "Epochs of the blocks", "epochs")
    lr: float = setting(1e-4, number(1e-7, 100), "the blocks' peak learning rate, of the topmost layer", "Learning rate of the blocks")
    layer_decay: float = setting(0.75, number(0.1, 1), "each layer's rate as a share of the one above it", "Layer decay")
    weight_decay: float = setting(0.05, number(0, 1), "how strongly weights are drawn to zero", "Weight decay")
    warmup: float = setting(0.1, number(0, 0.9), "share of the updates in which the rate rises", "Warm-up", "share of updates")
    batch_size: int = setting(
        0, _or_auto(whole(0, 4096)), "photos at a time; 0 or auto takes 8 on a CPU and 32 on a GPU", "Batch size", "photos"
    )
    accumulate: int = setting(
        0, _or_auto(whole(0, 1024)), "batches that make one update; 0 or auto makes it 32 photos", "Batches per update", "batches"
    )
    clip: float = setting(1.0, number(0, 1000), "largest norm of the gradients; 0 for no limit", "Gradient clipping")
    label_smoothing: float = setting(0.1, number(0, 0.9), "how much of the certainty is taken from the true class", "Label smoothing")
    balance: bool = setting(True, switch, "photos of rare classes count more, so that classes count alike", "Balance classes")
    augment: str = setting(
        "light", one_of(*AUGMENTS), "how far photos are varied while blocks learn: crops, mirroring, colours", "Augmentation"
    )
    views: int = setting(
        0, whole(0, 20), "varied copies of each photo for the head, beside the photo itself", "Varied copies for the head", "copies"
    )
    drop_path: float = setting(
        0.1, number(0, 0.9), "how often the last block is skipped in training, earlier ones less", "Drop path", "probability"
    )
    ema: float = setting(0.0, number(0, 0.99999), "decay of averaged weights, which are steadier; 0 for none", "Averaged weights (decay)")
    patience: int = setting(
        5, whole(0, 1000), "epochs of the blocks without a better macro-F1 before it ends; 0 goes to the end", "Patience", "epochs"
    )
    refuse: bool = setting(
        False,
        switch,
        "names no class for a photo unlike all that was learned, and so for 5 % of familiar photos, too",
        "Refuse the unfamiliar",
    )
    precision: str = setting(
        "auto", one_of(*PRECISIONS), "auto is bf16 or fp16 on a GPU, on a CPU bf16 where it is measured faster, else fp32", "Precision"
    )
    checkpointing: bool = setting(
        False, switch, "computes parts twice to need less memory; by itself where memory is short", "Gradient checkpointing"
    )
    validation: float = setting(
        0.2, number(0.05, 0.5), "share of each class kept for checking, where no split is given", "Validation share", "share of photos"
    )
    seed: int = setting(0, whole(0, 2**31 - 1), "the same seed repeats the run", "Seed")

    @classmethod
    def read(cls, texts: Mapping[str, object], base: "Recipe | None" = None, *, title: str = "--{flag}") -> "Recipe":
        """Parse settings into a recipe.

        Args:
            texts: field name → value as text.
            base: the recipe that the other values come from; the defaults if None.
            title: how an error message names a field: as its `flag` by default; a page has a pattern with its `title`.

        Raises: UsageError naming the first setting that is unknown or has an invalid value.
        """
        values = {}
        known = {field.name: field.metadata for field in fields(cls)}
        for name, text in texts.items():
            if name not in known:
                raise UsageError(f"There is no setting “{str(name)[:40]}” for fine-tuning.")
            try:
                values[name] = known[name]["parse"](str(text).strip())
            except ValueError:
                label = title.format(flag=name.replace("_", "-"), title=known[name]["title"])
                raise UsageError(f"{label} is “{str(text)[:40]}”, but it must be {known[name]['parse'].wanted}.") from None
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


def read_by_head(features: str) -> str:
    """What the head reads, in words, from a report's `features`: final, mean, both, or the number of a block."""
    words = {"final": "what the model's own head read", "mean": "the mean of the patches", "both": "CLS and the mean of the patches"}
    return words.get(features) or f"CLS after block {features}, where the model is cut"


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
