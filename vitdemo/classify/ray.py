"""`python -m vitdemo classify --engine ray`: the top classes of any number of photos, on as many machines as there are."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import torch

from vitdemo.classify.files import as_table
from vitdemo.classify.gallery import PredictionRow
from vitdemo.classify.photo import check_classes, top_classes
from vitdemo.core.bulk import command as bulk
from vitdemo.core.config import Settings
from vitdemo.core.models.fingerprint import key_of
from vitdemo.core.models.vit import Vit


@dataclass(frozen=True)
class Classifying:
    """A `ray_data.Task`: the `top` likeliest classes."""

    top: int

    def network(self, vit: Vit) -> Callable[[torch.Tensor], tuple[torch.Tensor]]:
        return lambda images: (vit.logits(images),)

    def table(self, vit: Vit, looked: Sequence) -> pa.Table:
        rows = [
            PredictionRow(each.item.name, each.sha256, error=each.error)
            if each.error
            else PredictionRow(each.item.name, each.sha256, top_classes(each.outputs[0], vit.labels, self.top))
            for each in looked
        ]
        return as_table(rows, vit.name)


def run(flags: argparse.Namespace) -> int:
    """What the command does. Returns its exit status."""

    def prepare(vit: Vit, settings: Settings) -> tuple[Classifying, dict]:
        check_classes(vit)
        key = key_of(vit, vit.preprocessing, settings.precision)
        return Classifying(flags.top), {"command": "classify", "model": vit.name, "top": flags.top, "key": key}

    return bulk.run(flags, prepare)
