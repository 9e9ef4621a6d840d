"""The top classes of every photo of a gallery, as fast as the model can take them."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import torch

from vitdemo.classify.photo import Prediction, check_classes, top_classes
from vitdemo.core.config import Settings
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo, thumbnail
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead
from vitdemo.core.photos.preprocessing import Preprocessing

THUMBNAIL_WIDTH = 64  # pixels wide


@dataclass(frozen=True)
class PredictionRow:
    """One file's outcome: its predictions, or the sentence that says why there are none.

    Attributes:
        path: what the file is called (Item.name).
        folder: the folder it lies in, which may be its label.
        sha256: of its bytes.
        unfamiliar: it is unlike anything the model was trained on; None where the model can't tell.
        duplicate_of: the path of the earlier file with the same bytes.
        thumbnail: a small JPEG of what the model saw, where it was asked for.
    """

    path: str
    sha256: str | None = None
    predictions: list[Prediction] | None = None
    error: str | None = None
    folder: str = ""
    unfamiliar: bool | None = None
    duplicate_of: str | None = None
    thumbnail: bytes | None = field(default=None, repr=False)

    def first(self, top: int) -> "PredictionRow":
        """The row with no more than the `top` first classes."""
        return replace(self, predictions=self.predictions and self.predictions[:top])

    def as_json(self) -> dict:
        if self.error:
            return {"path": self.path, "error": self.error}
        return {"path": self.path, "predictions": [each.as_row() for each in self.predictions]}


def classify_gallery(
    items: Iterable[Item],
    vit: Vit,
    engine: Engine,
    settings: Settings,
    *,
    preprocessing: Preprocessing | None = None,
    top: int = 5,
    thumbnails: bool = False,
) -> Iterator[PredictionRow]:
    """One row for each file, in order; a file that can't be read is a row with its reason. Closing the iterator stops the work.

    Raises: UserError where the model has no classes.
    """
    check_classes(vit)
    preprocessing = preprocessing or vit.preprocessing
    network = vit.logits_and_features if vit.familiarity else lambda images: (vit.logits(images),)
    size = engine.batch_size(vit, settings.batch_size)

    def prepare(photo: Photo) -> tuple[torch.Tensor, bytes | None]:
        crop = preprocessing.crop(photo.image)
        return preprocessing.normalised(crop), thumbnail(crop, THUMBNAIL_WIDTH) if thumbnails else None

    def look(batch: list[PreparedPhoto]) -> tuple[list[PreparedPhoto], tuple[torch.Tensor, ...]]:
        inputs = [each.made[0] for each in batch if each.made]
        return batch, engine.forward(network, torch.stack(inputs))[0] if inputs else ()

    firsts: dict[int, PredictionRow] = {}
    with (
        closing(photos_ahead(items, prepare, settings, ahead=size * (engine.lanes + 2))) as ready,
        closing(engine.map(look, batches(ready, size))) as looked,
    ):
        for batch, outputs in looked:
            answers = iter(_answers(vit, outputs, top))
            for each in batch:
                name, folder = each.item.name, each.item.folder
                if each.error:
                    yield PredictionRow(name, each.id, error=each.error, folder=folder)
                elif each.made:
                    predictions, unfamiliar = next(answers)
                    row = PredictionRow(name, each.id, predictions, folder=folder, unfamiliar=unfamiliar, thumbnail=each.made[1])
                    firsts[each.index] = row
                    yield row
                else:
                    first = firsts[each.first]
                    yield replace(first, path=name, folder=folder, duplicate_of=first.path)


def _answers(vit: Vit, outputs: tuple[torch.Tensor, ...], top: int) -> Iterator[tuple[list[Prediction], bool | None]]:
    if not outputs:
        return
    logits, *features = outputs
    distances = vit.familiarity.distance(features[0]) if features else [None] * len(logits)
    for row, distance in zip(logits, distances, strict=True):
        yield top_classes(row, vit.labels, top), None if distance is None else bool(distance > vit.familiarity.limit)
