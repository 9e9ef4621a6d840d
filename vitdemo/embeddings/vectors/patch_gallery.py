"""Every patch's token of every photo of a gallery, for one layer: half a megabyte a photo, so none is kept."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import torch

from vitdemo.core.config import Settings
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead
from vitdemo.embeddings.vectors.extract import Layer, patches_after
from vitdemo.embeddings.vectors.gallery import EmbeddingRow, not_finite


def patch_gallery(
    items: Sequence[Item], vit: Vit, engine: Engine, settings: Settings, layer: Layer
) -> Iterator[tuple[EmbeddingRow, np.ndarray | None]]:
    """One row for each file, in order, with its tokens, (patches, width) float32. An error has none; nor has a duplicate, whose row's `at`
    says which of the photos that had some it is the same as. Closing the iterator stops the work.

    Raises: UserError for a layer that the model does not have.
    """
    network, size = patches_after(vit, layer), engine.batch_size(vit, settings.batch_size)

    def prepare(photo: Photo) -> torch.Tensor:
        return vit.preprocessing(photo.image)

    def look(batch: list[PreparedPhoto[torch.Tensor]]) -> tuple[list[PreparedPhoto[torch.Tensor]], Iterator[torch.Tensor]]:
        inputs = [each.made for each in batch if each.made is not None]
        return batch, iter(engine.forward(network, torch.stack(inputs))[0][0].flatten(1, 2) if inputs else ())

    firsts: dict[int, EmbeddingRow] = {}
    count = 0
    with (
        closing(photos_ahead(items, prepare, settings, ahead=size * (engine.lanes + 2))) as ready,
        closing(engine.map(look, batches(ready, size))) as looked,
    ):
        for batch, outputs in looked:
            for each in batch:
                path, folder = each.item.name, each.item.folder
                if each.first is not None:
                    first = firsts[each.first]
                    yield EmbeddingRow(path, folder, each.id, first.error, duplicate_of=first.path, at=first.at), None
                    continue
                row, tokens = EmbeddingRow(path, folder, each.id, each.error), None
                if each.made is not None:
                    tokens = next(outputs).numpy()
                    if np.isfinite(tokens).all():
                        row, count = EmbeddingRow(path, folder, each.id, at=count), count + 1
                    else:
                        row, tokens = EmbeddingRow(path, folder, each.id, not_finite(each.item)), None
                    firsts[each.index] = row
                yield row, tokens
