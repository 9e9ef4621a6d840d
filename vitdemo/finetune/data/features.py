"""The head's input features, computed once per photo and cached: a frozen backbone need not run again in every epoch."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.photo import Photo, id_of
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead
from vitdemo.core.training import checkpoint
from vitdemo.finetune.data.dataset import Sample

SAVE_EVERY = 20  # seconds between two writes of the cache file
Network = Callable[[torch.Tensor], torch.Tensor]


def features_of(module: Any) -> Network:
    """Return a function from images (B, 3, height, width) to the head's input features (B, width)."""
    return lambda images: module.forward_head(module.forward_features(images), pre_logits=True)


def run_over(
    network: Network, samples: Sequence[Sample], prepare: Callable[[Photo], torch.Tensor], engine: Engine, settings: Settings, size: int
) -> Iterator[tuple[list[PreparedPhoto], torch.Tensor]]:
    """Run a network over photos. Yields batches of files, each with the outputs (B, …) for the files that could be read."""

    def forward(batch: list[PreparedPhoto]) -> tuple[list[PreparedPhoto], torch.Tensor]:
        inputs = [photo.made for photo in batch if photo.made is not None]
        return batch, engine.forward(lambda images: (network(images),), torch.stack(inputs))[0][0] if inputs else torch.empty(0)

    items = [sample.item for sample in samples]
    with (
        closing(photos_ahead(items, prepare, settings, ahead=size * (engine.lanes + 2))) as ready,
        closing(engine.map(forward, batches(ready, size))) as results,
    ):
        yield from results


class FeatureCache:
    """Features by photo id, stored in a file.

    Args:
        key: names the model, preprocessing and augmentation; a file with another key is ignored.
        network: what computes them, from images (B, 3, height, width) to (B, width); the head's input if None.
    """

    def __init__(self, path: Path, key: str, network: Network | None = None):
        self.path, self.key, self.network = path, key, network
        self.rows: dict[str, torch.Tensor] = {}
        if path.is_file():
            try:
                stored = checkpoint.load(path)
            except UserError:  # the features of a damaged file are computed again
                stored = {"key": ""}
            if stored["key"] == key:
                self.rows = dict(zip(stored["ids"], stored["features"], strict=True))

    def compute(
        self, vit: Vit, samples: Sequence[Sample], prepare: Callable[[Photo], torch.Tensor], engine: Engine, settings: Settings
    ) -> Iterator[list[tuple[int, Sample]]]:
        """Compute the missing features. Yields lists of finished samples with their index in `samples`, each with its `id` or `error`."""
        saved = time.monotonic()
        missing: list[int] = []
        for index, sample in enumerate(samples):
            if self.rows and (known := self._known(sample, settings)):
                yield [(index, known)]
            else:
                missing.append(index)
        size = engine.batch_size(vit, settings.batch_size)
        wanted = [samples[index] for index in missing]
        for batch, outputs in run_over(self.network or features_of(vit.module), wanted, prepare, engine, settings, size):
            rows = iter(outputs)
            finished = []
            for photo in batch:
                if photo.id is not None and photo.made is not None:
                    self.rows[photo.id] = next(rows)
                index = missing[photo.index]
                finished.append((index, replace(samples[index], id=photo.id or "", error=photo.error or "", notes=photo.notes)))
            yield finished
            if time.monotonic() - saved > SAVE_EVERY:
                self.save()
                saved = time.monotonic()
        if missing:
            self.save()

    def of(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Return the samples' features, (N, width)."""
        return torch.stack([self.rows[sample.id] for sample in samples])

    def save(self) -> None:
        """Write the file, if there are any features."""
        if self.rows:
            checkpoint.save({"key": self.key, "ids": list(self.rows), "features": torch.stack(list(self.rows.values()))}, self.path)

    def _known(self, sample: Sample, settings: Settings) -> Sample | None:
        try:
            id = id_of(sample.item.read(settings))
        except UserError:
            return None
        return replace(sample, id=id) if id in self.rows else None


def fingerprint(vit: Vit) -> str:
    """Identify a model without its head, and its preprocessing: the sha256 of both, hexadecimal."""
    digest = hashlib.sha256(repr(vit.preprocessing).encode())
    for name, value in vit.module.state_dict().items():
        if not name.startswith("head"):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy())
    return digest.hexdigest()
