"""Classify: the top classes of a photo, and predictions written to a file."""

import csv
import errno
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from vitdemo.core.config import Settings
from vitdemo.core.engine import Engine
from vitdemo.core.errors import UserError
from vitdemo.core.labels import Label
from vitdemo.core.models import Vit
from vitdemo.core.photos import open_photo
from vitdemo.core.preprocessing import Preprocessing


@dataclass(frozen=True)
class Prediction:
    """One class with its probability (softmax over all classes, 0 … 1)."""

    label: Label
    probability: float

    def as_row(self) -> dict:
        return {"index": self.label.index, "label": self.label.name, "synset": self.label.synset, "probability": self.probability}


@dataclass(frozen=True)
class Classification:
    """The top classes of one photo, best first, and the seconds the model took.

    `unfamiliar` says that the photo is unlike anything the model was trained on; None where the model can't tell.
    """

    predictions: list[Prediction]
    seconds: float
    unfamiliar: bool | None = None


@dataclass(frozen=True)
class Row:
    """One file's outcome: its predictions, or the sentence that says why there are none."""

    path: str
    sha256: str | None = None
    predictions: list[Prediction] | None = None
    error: str | None = None

    def as_json(self) -> dict:
        if self.error:
            return {"path": self.path, "error": self.error}
        return {"path": self.path, "predictions": [each.as_row() for each in self.predictions]}


def top_classes(logits: torch.Tensor, labels: tuple[Label, ...], top: int) -> list[Prediction]:
    """The `top` likeliest classes of one row of logits (classes,), best first; all of them if there are fewer."""
    probabilities, indices = logits.softmax(-1).topk(min(top, len(labels)))
    return [Prediction(labels[index], probability) for index, probability in zip(indices.tolist(), probabilities.tolist(), strict=True)]


def check_classes(vit: Vit) -> None:
    """Raises: UserError for a feature backbone, which has no classes to choose from."""
    if not vit.labels:
        raise UserError(f"{vit.name} gives features, not classes: choose another model to classify with.")


def classify(image: Image.Image, vit: Vit, engine: Engine, *, preprocessing: Preprocessing | None = None, top: int = 5) -> Classification:
    """The top classes of one upright RGB photo.

    Args:
        preprocessing: instead of the model's own.

    Raises: UserError where the model has no classes.
    """
    check_classes(vit)
    return classify_input((preprocessing or vit.preprocessing)(image), vit, engine, top=top)


def classify_input(tensor: torch.Tensor, vit: Vit, engine: Engine, *, top: int = 5) -> Classification:
    """The top classes of one model input, (3, height, width).

    Raises: UserError where the model has no classes.
    """
    check_classes(vit)
    batch = tensor[None]  # (1, 3, height, width)
    if vit.familiarity is None:
        logits, seconds = engine.logits(vit, batch)  # (1, classes)
        return Classification(top_classes(logits[0], vit.labels, top), seconds)
    logits, features, seconds = engine.logits_and_features(vit, batch)
    unfamiliar = bool(vit.familiarity.distance(features)[0] > vit.familiarity.limit)
    return Classification(top_classes(logits[0], vit.labels, top), seconds, unfamiliar)


def classify_files(paths: Iterable[Path], vit: Vit, engine: Engine, settings: Settings, *, top: int = 5) -> Iterator[Row]:
    """One row for each file, in order; a file that can't be read is a row with its reason."""
    check_classes(vit)
    for path in paths:
        try:
            photo = open_photo(path, settings)
            yield Row(str(path), photo.id, classify(photo.image, vit, engine, top=top).predictions)
        except UserError as error:
            yield Row(str(path), error=str(error))


def check_output(path: Path) -> None:
    """See that predictions can be written there, and make the folders on the way: better said before the first photo than after the last.

    Raises: UserError for a suffix that is none of ours or a place that can't be written.
    """
    if path.suffix.lower() not in WRITERS:
        raise UserError(f"{path.name} must end in {', '.join(WRITERS)}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unwritable(path, error) from None


def write_rows(rows: list[Row], path: Path, model: str) -> None:
    """Write predictions as .json, .csv or .parquet, by the file's suffix.

    Raises: UserError for another suffix or a path that can't be written.
    """
    check_output(path)
    try:
        WRITERS[path.suffix.lower()](rows, path, model)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} can't be written ({error.strerror}): choose another place.")


def _write_json(rows: list[Row], path: Path, model: str) -> None:
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n", "utf-8")


def _write_csv(rows: list[Row], path: Path, model: str) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, ["path", "rank", "index", "label", "synset", "probability", "error"])
        writer.writeheader()
        for row in rows:
            if row.error:
                writer.writerow({"path": row.path, "error": row.error})
            writer.writerows({"path": row.path, "rank": rank} | each.as_row() for rank, each in enumerate(row.predictions or [], 1))


def _write_parquet(rows: list[Row], path: Path, model: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    schema = pa.schema(
        {
            "sha256": pa.string(),
            "path": pa.string(),
            "model": pa.string(),
            "labels": pa.list_(pa.string()),
            "indices": pa.list_(pa.int32()),
            "probabilities": pa.list_(pa.float32()),
            "error": pa.string(),
        }
    )
    table = [
        {
            "sha256": row.sha256,
            "path": os.fsencode(row.path).decode("utf-8", "replace"),
            "model": model,
            "labels": [each.label.name for each in row.predictions or []],
            "indices": [each.label.index for each in row.predictions or []],
            "probabilities": [each.probability for each in row.predictions or []],
            "error": row.error,
        }
        for row in rows
    ]
    with path.open("wb") as file:
        pyarrow.parquet.write_table(pa.Table.from_pylist(table, schema), file)


WRITERS = {".json": _write_json, ".csv": _write_csv, ".parquet": _write_parquet}
