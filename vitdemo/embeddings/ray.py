"""`python -m vitdemo embed --engine ray`: any number of photos as vectors of one layer, on all machines of a Ray cluster."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from vitdemo.core.bulk import command as bulk
from vitdemo.core.config import Settings
from vitdemo.core.errors import as_usage_error
from vitdemo.core.models.fingerprint import key_of
from vitdemo.core.models.predictions import not_finite
from vitdemo.core.models.vit import Vit
from vitdemo.embeddings.files import as_table
from vitdemo.embeddings.vectors.extract import Layer, all_layers, check_layer, check_pool, layers_of, patches_after, pools_of
from vitdemo.embeddings.vectors.gallery import EmbeddingRow


@dataclass(frozen=True)
class EmbeddingTask:
    """A `ray_data.Task` that computes each photo's vector of one layer, or, with the pooling `patches`, all its patch vectors."""

    layer: Layer
    pooling: str

    def network(self, vit: Vit) -> Callable[[torch.Tensor], tuple[torch.Tensor]]:
        """The function that runs on a batch of images: images → (vectors,). Raises: as `check_layer`."""
        if self.pooling == "patches":
            return patches_after(vit, self.layer)
        forward, layer, pool = all_layers(vit), layers_of(vit).index(self.layer), pools_of(vit).index(self.pooling)
        return lambda images: (forward(images)[1][:, layer, pool],)

    def table(self, vit: Vit, looked: Sequence) -> pa.Table:
        """The vectors of a batch of outputs as a Parquet table; a file with an error has a row with its reason."""
        rows, vectors = [], []
        for output in looked:
            error = output.error
            if not error and not torch.isfinite(output.outputs[0]).all():
                error = not_finite(f"“{output.item.shown}”")
            if not error:
                vectors.append(output.outputs[0].numpy())
            rows.append(EmbeddingRow(output.item.name, sha256=output.sha256, error=error))
        return as_table(rows, np.array(vectors), model=vit.id, layer=self.layer, pooling=self.pooling)


def run(flags: argparse.Namespace) -> int:
    """Run the command with Ray. Returns: the exit status."""

    def prepare(vit: Vit, settings: Settings) -> tuple[EmbeddingTask, dict]:
        with as_usage_error():
            layer = check_layer(vit, flags.layer)
            if flags.pool != "patches":
                check_pool(vit, flags.pool)
        key = key_of(vit, vit.preprocessing, settings.jpeg_draft)
        about = {"command": "embed", "model": vit.id, "layer": str(layer), "pooling": flags.pool, "key": key}
        return EmbeddingTask(layer, flags.pool), about

    return bulk.run(flags, prepare)
