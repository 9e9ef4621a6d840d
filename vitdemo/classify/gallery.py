"""Classify every photo of a gallery, at the full speed of the model."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import torch

from vitdemo.classify.photo import Prediction, check_classes, top_classes
from vitdemo.core.config import Settings
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.encode import thumbnail
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead
from vitdemo.core.photos.preprocessing import Preprocessing

THUMBNAIL_WIDTH = 64  # pixels


@dataclass(frozen=True)
class PredictionRow:
    """The result of one file: its predictions, or the sentence that says why there are none.

    Attributes:
        path: the file's name in the results (Item.name).
        sha256: hash of the file's bytes.
        predictions: the top classes, most probable first.
        error: the reason, for a file that can't be read.
        folder: the folder that the file lies in, which may be its label.
        unfamiliar: whether the photo is unlike the model's training photos; None where the model can't tell.
        duplicate_of: the path of the earlier file with the same bytes.
        thumbnail: a small JPEG of the model's crop, if thumbnails were requested.
        notes: what decoding changed, one sentence each.
    """

    path: str
    sha256: str | None = None
    predictions: list[Prediction] | None = None
    error: str | None = None
    folder: str = ""
    unfamiliar: bool | None = None
    duplicate_of: str | None = None
    thumbnail: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def first(self, top: int) -> "PredictionRow":
        """A copy of the row with at most the first `top` classes."""
        return replace(self, predictions=self.predictions and self.predictions[:top])

    def as_json(self) -> dict:
        """The row as JSON: {path, predictions}, or {path, error}."""
        if self.error:
            return {"path": self.path, "error": self.error}
        return {"path": self.path, "predictions": [prediction.as_row() for prediction in self.predictions or []]}


def classify_gallery(
    items: Iterable[Item],
    vit: Vit,
    engine: Engine,
    settings: Settings,
    *,
    preprocessing: Preprocessing | None = None,
    top: int = 5,
    thumbnails: bool = False,
) -> Generator[PredictionRow, None, None]:
    """Yield one row per file, in order; a file that can't be read gets a row with the reason. Closing the iterator stops the work.

    Args:
        preprocessing: replaces the model's own preprocessing.
        top: classes per photo.
        thumbnails: whether to make a thumbnail of each photo.

    Raises: UserError where the model has no classes.
    """
    check_classes(vit)
    preprocessing = preprocessing or vit.preprocessing
    network = vit.logits_and_features if vit.ood else lambda images: (vit.logits(images),)
    size = engine.batch_size(vit, settings.batch_size)

    def prepare(photo: Photo) -> tuple[torch.Tensor, bytes | None]:
        crop = preprocessing.crop(photo.image)
        return preprocessing.normalised(crop), thumbnail(crop, THUMBNAIL_WIDTH) if thumbnails else None

    def run_model(batch: list[PreparedPhoto]) -> tuple[list[PreparedPhoto], tuple[torch.Tensor, ...]]:
        inputs = [photo.made[0] for photo in batch if photo.made]
        return batch, engine.forward(network, torch.stack(inputs))[0] if inputs else ()

    first_rows: dict[int, PredictionRow] = {}
    with (
        closing(photos_ahead(items, prepare, settings, ahead=size * (engine.lanes + 2))) as ready,
        closing(engine.map(run_model, batches(ready, size))) as classified,
    ):
        for batch, outputs in classified:
            answers = iter(_answers(vit, outputs, top))
            for photo in batch:
                name, folder = photo.item.name, photo.item.folder
                if photo.error:
                    yield PredictionRow(name, photo.id, error=photo.error, folder=folder)
                elif photo.made:
                    predictions, unfamiliar = next(answers)
                    row = PredictionRow(name, photo.id, predictions, None, folder, unfamiliar, None, photo.made[1], photo.notes)
                    first_rows[photo.index] = row
                    yield row
                else:
                    assert photo.first is not None  # a duplicate
                    first = first_rows[photo.first]
                    yield replace(first, path=name, folder=folder, duplicate_of=first.path)


def _answers(vit: Vit, outputs: tuple[torch.Tensor, ...], top: int) -> Iterator[tuple[list[Prediction], bool | None]]:
    if not outputs:
        return
    logits, *features = outputs
    detector = vit.ood if features else None
    if detector is None:
        for row in logits:
            yield top_classes(row, vit.labels, top), None
    else:
        for row, distance in zip(logits, detector.distance(features[0]), strict=True):
            yield top_classes(row, vit.labels, top), bool(distance > detector.limit)
