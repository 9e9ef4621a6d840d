"""`python -m vitdemo classify --engine ray`: the top classes of any number of photos, on all machines of a Ray cluster."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import torch

from vitdemo.classify.files import as_table
from vitdemo.classify.gallery import PredictionRow
from vitdemo.classify.photo import check_classes, network_of, predict
from vitdemo.core.bulk import command as bulk
from vitdemo.core.config import Settings
from vitdemo.core.models.fingerprint import key_of
from vitdemo.core.models.labels import ClassNames
from vitdemo.core.models.predictions import not_finite
from vitdemo.core.models.vit import Vit

_class_names = lru_cache(maxsize=1)(ClassNames)  # made once, not for each batch


@dataclass(frozen=True)
class Classifying:
    """A `ray_data.Task` that finds the `top` most probable classes of each photo."""

    top: int

    def network(self, vit: Vit) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
        """The function that runs on a batch of images."""
        return network_of(vit)

    def table(self, vit: Vit, looked: Sequence) -> pa.Table:
        """The predictions of a batch of outputs as a Parquet table; a file with an error has a row with its reason."""
        names = _class_names(vit.labels)
        rows = []
        for output in looked:
            predictions, error, unfamiliar = None, output.error, None
            if not error:
                ((predictions, unfamiliar),) = predict(vit, tuple(each[None] for each in output.outputs), self.top)
                error = not_finite(f"“{output.item.shown}”") if predictions is None else None
            meant = names.labels_of(output.item.folder)
            rows.append(PredictionRow(output.item.name, output.sha256, predictions, error, output.item.folder, unfamiliar, meant=meant))
        return as_table(rows, vit.id)


def run(flags: argparse.Namespace) -> int:
    """Run the command with Ray. Returns: the exit status."""

    def prepare(vit: Vit, settings: Settings) -> tuple[Classifying, dict]:
        check_classes(vit)
        key = key_of(vit, vit.preprocessing, settings.jpeg_draft)
        return Classifying(flags.top), {"command": "classify", "model": vit.id, "top": flags.top, "key": key}

    return bulk.run(flags, prepare)
