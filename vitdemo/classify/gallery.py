"""Classify every photo of a gallery, at the full speed of the model."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import torch

from vitdemo.classify.photo import Prediction, check_classes, network_of, predict
from vitdemo.core.config import Settings
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.labels import ClassNames, Label
from vitdemo.core.models.predictions import not_finite
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.encode import thumbnail
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import Photo
from vitdemo.core.photos.prefetch import PreparedPhoto, batches, photos_ahead
from vitdemo.core.photos.preprocessing import Preprocessing, pixels_of

THUMBNAIL_WIDTH = 64  # pixels


@dataclass(frozen=True)
class PredictionRow:
    """The result of one file: its predictions, or the sentence that says why there are none.

    Attributes:
        path: the file's name in the results (Item.name).
        sha256: hash of the file's bytes.
        predictions: the top classes, most probable first; empty where the model refuses an unfamiliar photo.
        error: the reason, for a file that can't be read.
        folder: the folder that the file lies in, which may be its label.
        meant: the classes that the folder's name can mean.
        unfamiliar: whether the photo is unlike the model's training photos; None where the model can't tell.
        duplicate_of: the path of the earlier file with the same bytes.
        conflict: the folders of the file's copies, where they name different classes, so that none is known to be true; else
            empty; None as long as not all copies are known.
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
    meant: tuple[Label, ...] = ()
    conflict: tuple[str, ...] | None = None

    @property
    def true_class(self) -> str:
        """The name of the class that the folder names; empty where it names none."""
        return " or ".join(dict.fromkeys(label.name for label in self.meant))

    @property
    def correct(self) -> bool | None:
        """Whether the top class is the true one; None where that is unknown."""
        return self.predictions[0].label in self.meant if self.predictions and self.meant and not self.conflict else None

    def first(self, top: int) -> "PredictionRow":
        """A copy of the row with at most the first `top` classes."""
        return replace(self, predictions=self.predictions and self.predictions[:top])

    def facts(self, model: str) -> dict:
        """What all files of predictions tell of the photo besides its predictions."""
        return {
            "model": model,
            "sha256": self.sha256,
            "folder": self.folder,
            "true_class": self.true_class or None,
            "correct": self.correct,
            "label_conflict": None if self.conflict is None else bool(self.conflict),
            "duplicate_of": self.duplicate_of,
            "unfamiliar": self.unfamiliar,
        }

    def as_json(self, model: str) -> dict:
        """The row as JSON: {path, predictions}, or {path, error}, and the facts."""
        answer = {"error": self.error} if self.error else {"predictions": [prediction.as_row() for prediction in self.predictions or []]}
        return {"path": self.path, **answer, **self.facts(model)}


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
    names = ClassNames(vit.labels)
    network = network_of(vit)
    size = engine.batch_size(vit, settings.batch_size)
    draft = preprocessing.draft_side if settings.jpeg_draft else 0

    def prepare(photo: Photo) -> tuple[torch.Tensor, bytes | None]:
        crop = preprocessing.crop(photo.image)
        return pixels_of(crop), thumbnail(crop, THUMBNAIL_WIDTH) if thumbnails else None

    def run_model(batch: list[PreparedPhoto]) -> tuple[list[PreparedPhoto], tuple[torch.Tensor, ...]]:
        inputs = [photo.made[0] for photo in batch if photo.made]
        return batch, engine.forward(network, preprocessing.batch(inputs))[0] if inputs else ()

    first_rows: dict[int, PredictionRow] = {}
    with (
        closing(photos_ahead(items, prepare, settings, ahead=size * (engine.lanes + 2), draft=draft)) as ready,
        closing(engine.map(run_model, batches(ready, size))) as classified,
    ):
        for batch, outputs in classified:
            answers = predict(vit, outputs, top) if outputs else iter(())
            for photo in batch:
                name, folder = photo.item.name, photo.item.folder
                meant = names.labels_of(folder)
                if photo.error:
                    yield PredictionRow(name, photo.id, error=photo.error, folder=folder, meant=meant)
                elif photo.made:
                    predictions, unfamiliar = next(answers)
                    error = not_finite(f"“{photo.item.shown}”") if predictions is None else None
                    row = PredictionRow(name, photo.id, predictions, error, folder, unfamiliar, None, photo.made[1], photo.notes, meant)
                    first_rows[photo.index] = row
                    yield row
                else:
                    assert photo.first is not None  # a duplicate
                    first = first_rows[photo.first]
                    yield replace(first, path=name, folder=folder, duplicate_of=first.path, meant=meant)


def with_conflicts(rows: Sequence[PredictionRow]) -> list[PredictionRow]:
    """The rows of a whole gallery, with the conflicts of photos whose copies lie in folders of different classes."""
    copies: dict[str | None, list[PredictionRow]] = {}
    for row in rows:
        if row.predictions and row.meant:
            copies.setdefault(row.sha256, []).append(row)
    conflicts = {
        id: tuple(dict.fromkeys(row.folder for row in same))
        for id, same in copies.items()
        if not set.intersection(*(set(row.meant) for row in same))
    }
    return [replace(row, conflict=conflicts.get(row.sha256, ()) if row.meant else ()) for row in rows]
