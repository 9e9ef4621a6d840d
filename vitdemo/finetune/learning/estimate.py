"""How long a fine-tuning will take for these photos on this machine, from a measured pass."""

import time
from collections.abc import Sequence

import torch

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.precision import unrounded
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.photo import decode
from vitdemo.finetune.data.dataset import Sample
from vitdemo.finetune.recipe import Recipe

MEASURED = 4  # photos of the measured pass
BACKWARD = 2  # a backward pass through a block takes so many times its forward pass


def estimate(vit: Vit, engine: Engine, samples: Sequence[Sample], recipe: Recipe, settings: Settings) -> float:
    """Estimate the seconds of a run that begins anew, without an early end. Photos that can't be read count nothing."""
    return seconds(measure(vit, engine, samples, settings), len(samples), vit.adapter.layers, recipe)


def seconds(each: float, photos: int, layers: int, recipe: Recipe) -> float:
    """Calculate the seconds of a run. Fitting the head takes little beside the passes.

    Args:
        each: seconds of one photo's pass.
        photos: number of photos.
        layers: blocks of the model.
    """
    passes = 1.0 + recipe.views
    if recipe.blocks:
        learning = layers / 2 if recipe.unfreeze == "gradual" else layers  # gradual: half of them on average
        if recipe.unfreeze.isdecimal():
            learning = min(layers, int(recipe.unfreeze))
        forwards_and_backwards = 1 + BACKWARD * learning / layers
        passes += recipe.epochs * ((1 - recipe.validation) * forwards_and_backwards + recipe.validation)
    return each * photos * passes


def measure(vit: Vit, engine: Engine, samples: Sequence[Sample], settings: Settings) -> float:
    """Measure the seconds that one photo takes from its file to its features, over a few photos; 0 where none of them can be read."""
    chosen = samples[:: max(1, len(samples) // MEASURED)][:MEASURED]
    begin, inputs = time.perf_counter(), []
    for sample in chosen:
        try:
            inputs.append(vit.preprocessing(decode(sample.item.read(settings), sample.item.shown, settings).image))
        except UserError:
            continue
    decoded = time.perf_counter()
    if not inputs:
        return 0.0
    batch, vit = torch.stack(inputs), unrounded(vit)  # a training reads fp32 weights, whatever the app runs in
    engine.logits(vit, batch)  # the first pass allocates
    warm = time.perf_counter()
    engine.logits(vit, batch)
    return (decoded - begin + time.perf_counter() - warm) / len(inputs)
