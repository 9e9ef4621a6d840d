"""`python -m vitdemo embed --engine ray`: any number of photos as vectors of one layer, on as many machines as there are."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from vitdemo.core.bulk import command as bulk
from vitdemo.core.config import Settings
from vitdemo.core.models.fingerprint import key_of
from vitdemo.core.models.vit import Vit
from vitdemo.embeddings.files import as_table
from vitdemo.embeddings.vectors.extract import Layer, all_layers, check_layer, check_pool, layers_of, patches_after, pools_of
from vitdemo.embeddings.vectors.gallery import EmbeddingRow, not_finite


@dataclass(frozen=True)
class EmbeddingTask:
    """A `ray_data.Task`: a photo's vector of one layer, or with the pooling `patches` all of its patches."""

    layer: Layer
    pooling: str

    def network(self, vit: Vit) -> Callable[[torch.Tensor], tuple[torch.Tensor]]:
        if self.pooling == "patches":
            return patches_after(vit, self.layer)
        look, layer, pool = all_layers(vit), layers_of(vit).index(self.layer), pools_of(vit).index(self.pooling)
        return lambda images: (look(images)[1][:, layer, pool],)

    def table(self, vit: Vit, looked: Sequence) -> pa.Table:
        rows, found = [], []
        for each in looked:
            error = each.error
            if not error and not torch.isfinite(each.outputs[0]).all():
                error = not_finite(each.item)
            if not error:
                found.append(each.outputs[0].numpy())
            rows.append(EmbeddingRow(each.item.name, sha256=each.sha256, error=error))
        return as_table(rows, np.array(found), model=vit.name, layer=self.layer, pooling=self.pooling)


def run(flags: argparse.Namespace) -> int:
    """What the command does. Returns its exit status."""

    def prepare(vit: Vit, settings: Settings) -> tuple[EmbeddingTask, dict]:
        layer = check_layer(vit, flags.layer)
        if flags.pool != "patches":
            check_pool(vit, flags.pool)
        key = key_of(vit, vit.preprocessing, settings.precision)
        about = {"command": "embed", "model": vit.name, "layer": str(layer), "pooling": flags.pool, "key": key}
        return EmbeddingTask(layer, flags.pool), about

    return bulk.run(flags, prepare)
