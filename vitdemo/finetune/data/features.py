"""What goes into the head, computed once for each photo and kept: a frozen backbone need not run again for every epoch."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.photo import Photo, id_of
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead
from vitdemo.core.training import checkpoint
from vitdemo.finetune.data.dataset import Sample

SAVE_EVERY = 20  # seconds
Network = Callable[[torch.Tensor], torch.Tensor]


def features_of(module: torch.nn.Module) -> Network:
    """(B, 3, height, width) → (B, width), what goes into the head."""
    return lambda images: module.forward_head(module.forward_features(images), pre_logits=True)


def run_over(
    network: Network, samples: Sequence[Sample], prepare: Callable[[Photo], torch.Tensor], engine: Engine, settings: Settings, size: int
) -> Iterator[tuple[list[PreparedPhoto], torch.Tensor]]:
    """Run a network over photos. Yields runs of files, and its outputs for those of them that could be read, (B, …)."""

    def look(batch: list[PreparedPhoto]) -> tuple[list[PreparedPhoto], torch.Tensor]:
        inputs = [each.made for each in batch if each.made is not None]
        return batch, engine.forward(lambda images: (network(images),), torch.stack(inputs))[0][0] if inputs else torch.empty(0)

    items = [each.item for each in samples]
    with (
        closing(photos_ahead(items, prepare, settings, ahead=size * (engine.lanes + 2))) as ready,
        closing(engine.map(look, batches(ready, size))) as looked,
    ):
        yield from looked


class FeatureCache:
    """Features by photo, kept in a file. The file is good for one model, preprocessing and variation; another one's is passed over."""

    def __init__(self, path: Path, key: str):
        self.path, self.key = path, key
        self.rows: dict[str, torch.Tensor] = {}
        if path.is_file():
            try:
                kept = checkpoint.load(path)
            except UserError:  # half a file is no loss: it is made again
                kept = {"key": ""}
            if kept["key"] == key:
                self.rows = dict(zip(kept["ids"], kept["features"], strict=True))

    def compute(
        self, vit: Vit, samples: Sequence[Sample], prepare: Callable[[Photo], torch.Tensor], engine: Engine, settings: Settings
    ) -> Iterator[list[tuple[int, Sample]]]:
        """Fill in what is missing. Yields the samples that are done, by number, with their `id` or `error`."""
        saved = time.monotonic()
        missing: list[int] = []
        for index, each in enumerate(samples):
            if self.rows and (known := self._known(each, settings)):
                yield [(index, known)]
            else:
                missing.append(index)
        size = engine.batch_size(vit, settings.batch_size)
        wanted = [samples[index] for index in missing]
        for run, outputs in run_over(features_of(vit.module), wanted, prepare, engine, settings, size):
            rows = iter(outputs)
            told = []
            for ready in run:
                if ready.made is not None:
                    self.rows[ready.id] = next(rows)
                index = missing[ready.index]
                told.append((index, replace(samples[index], id=ready.id or "", error=ready.error or "")))
            yield told
            if time.monotonic() - saved > SAVE_EVERY:
                self.save()
                saved = time.monotonic()
        if missing:
            self.save()

    def of(self, samples: Sequence[Sample]) -> torch.Tensor:
        """(N, width)."""
        return torch.stack([self.rows[each.id] for each in samples])

    def save(self) -> None:
        if self.rows:
            checkpoint.save({"key": self.key, "ids": list(self.rows), "features": torch.stack(list(self.rows.values()))}, self.path)

    def _known(self, sample: Sample, settings: Settings) -> Sample | None:
        try:
            id = id_of(sample.item.read(settings))
        except UserError:
            return None
        return replace(sample, id=id) if id in self.rows else None


def fingerprint(vit: Vit) -> str:
    """Tells one model with its preprocessing from another: the sha256 of both, hexadecimal."""
    digest = hashlib.sha256(repr(vit.preprocessing).encode())
    for name, value in vit.module.state_dict().items():
        if not name.startswith("head"):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy())
    return digest.hexdigest()
