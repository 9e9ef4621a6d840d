"""`python -m vitdemo classify --engine ray`: the top classes of any number of photos, on all machines of a Ray cluster."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import torch

from vitdemo.classify.files import as_table
from vitdemo.classify.gallery import PredictionRow
from vitdemo.classify.photo import check_classes, top_classes
from vitdemo.core.bulk import command as bulk
from vitdemo.core.config import Settings
from vitdemo.core.models.fingerprint import key_of
from vitdemo.core.models.labels import ClassNames
from vitdemo.core.models.vit import Vit

_class_names = lru_cache(maxsize=1)(ClassNames)  # made once, not for each batch


@dataclass(frozen=True)
class Classifying:
    """A `ray_data.Task` that finds the `top` most probable classes of each photo."""

    top: int

    def network(self, vit: Vit) -> Callable[[torch.Tensor], tuple[torch.Tensor]]:
        """The function that runs on a batch of images: images → (logits,)."""
        return lambda images: (vit.logits(images),)

    def table(self, vit: Vit, looked: Sequence) -> pa.Table:
        """The predictions of a batch of outputs as a Parquet table; a file with an error has a row with its reason."""
        names = _class_names(vit.labels)
        rows = [
            PredictionRow(
                output.item.name,
                output.sha256,
                None if output.error else top_classes(output.outputs[0], vit.labels, self.top),
                output.error,
                output.item.folder,
                meant=names.labels_of(output.item.folder),
            )
            for output in looked
        ]
        return as_table(rows, vit.id)


def run(flags: argparse.Namespace) -> int:
    """Run the command with Ray. Returns: the exit status."""

    def prepare(vit: Vit, settings: Settings) -> tuple[Classifying, dict]:
        check_classes(vit)
        key = key_of(vit, vit.preprocessing)
        return Classifying(flags.top), {"command": "classify", "model": vit.id, "top": flags.top, "key": key}

    return bulk.run(flags, prepare)
