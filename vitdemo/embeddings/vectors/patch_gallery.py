"""Patch tokens of one layer for every photo of a gallery: half a megabyte per photo, so the tokens are not cached."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

import numpy as np
import torch

from vitdemo.core.config import Settings
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.predictions import not_finite
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead
from vitdemo.core.photos.preprocessing import pixels_of
from vitdemo.embeddings.vectors.extract import Layer, patches_after
from vitdemo.embeddings.vectors.gallery import EmbeddingRow


def patch_gallery(
    items: Sequence[Item], vit: Vit, engine: Engine, settings: Settings, layer: Layer
) -> Generator[tuple[EmbeddingRow, np.ndarray | None], None, None]:
    """Yield one row per file, in order, with the photo's tokens, (patches, width) float32. Closing the iterator stops the work.

    A file with an error has no tokens. A duplicate has none either: its row's `at` is the `at` of the earlier photo with the same bytes.

    Raises: UserError for a layer that the model does not have.
    """
    network, size = patches_after(vit, layer), engine.batch_size(vit, settings.batch_size)
    draft = vit.preprocessing.draft_side if settings.jpeg_draft else 0

    def prepare(photo: Photo) -> torch.Tensor:
        return pixels_of(vit.preprocessing.crop(photo.image))

    def run_model(batch: list[PreparedPhoto[torch.Tensor]]) -> tuple[list[PreparedPhoto[torch.Tensor]], Iterator[torch.Tensor]]:
        inputs = [photo.made for photo in batch if photo.made is not None]
        return batch, iter(engine.forward(network, vit.preprocessing.batch(inputs))[0][0].flatten(1, 2) if inputs else ())

    first_rows: dict[int, EmbeddingRow] = {}
    count = 0
    with (
        closing(photos_ahead(items, prepare, settings, ahead=size * (engine.lanes + 2), draft=draft)) as ready,
        closing(engine.map(run_model, batches(ready, size))) as processed,
    ):
        for batch, outputs in processed:
            for photo in batch:
                path, folder = photo.item.name, photo.item.folder
                if photo.first is not None:
                    first = first_rows[photo.first]
                    yield EmbeddingRow(path, folder, photo.id, first.error, duplicate_of=first.path, at=first.at), None
                    continue
                row, tokens = EmbeddingRow(path, folder, photo.id, photo.error), None
                if photo.made is not None:
                    tokens = next(outputs).numpy()
                    if np.isfinite(tokens).all():
                        row, count = EmbeddingRow(path, folder, photo.id, at=count), count + 1
                    else:
                        row, tokens = EmbeddingRow(path, folder, photo.id, not_finite(f"“{photo.item.shown}”")), None
                    first_rows[photo.index] = row
                yield row, tokens
