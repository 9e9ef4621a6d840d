"""Write predictions to a JSON, CSV or Parquet file; the suffix of the file decides."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

from vitdemo.classify.gallery import PredictionRow
from vitdemo.core.outputs import as_cell, as_utf8, check_suffix, check_writable, unwritable

if TYPE_CHECKING:
    import pyarrow as pa


def check_output(path: Path) -> None:
    """Check that predictions can be written to a path, and create its folders. Called before the first photo, so that no work is lost.

    Raises: UserError for an unknown suffix, or a path that can't be written.
    """
    check_suffix(path, WRITERS)
    check_writable(path)


def write_rows(rows: list[PredictionRow], path: Path, model: str) -> None:
    """Write predictions as .json, .csv or .parquet; the suffix of the file decides.

    Args:
        model: the model's name.

    Raises: UserError for another suffix, or a path that can't be written.
    """
    check_output(path)
    try:
        WRITERS[path.suffix.lower()](rows, path, model)
    except OSError as error:
        raise unwritable(path, error) from None


def as_table(rows: list[PredictionRow], model: str) -> "pa.Table":
    """The rows as a table, in the same schema for local and Ray runs."""
    import pyarrow as pa

    schema = pa.schema(
        {
            "sha256": pa.string(),
            "path": pa.string(),
            "model": pa.string(),
            "labels": pa.list_(pa.string()),
            "indices": pa.list_(pa.int32()),
            "probabilities": pa.list_(pa.float32()),
            "error": pa.string(),
            "synsets": pa.list_(pa.string()),
            "folder": pa.string(),
            "true_class": pa.string(),
            "correct": pa.bool_(),
            "label_conflict": pa.bool_(),
            "duplicate_of": pa.string(),
            "unfamiliar": pa.bool_(),
        }
    )
    table = [
        {
            **{name: as_utf8(fact) if isinstance(fact, str) else fact for name, fact in row.facts(model).items()},
            "path": as_utf8(row.path),
            "labels": [prediction.label.name for prediction in row.predictions or []],
            "indices": [prediction.label.index for prediction in row.predictions or []],
            "probabilities": [prediction.probability for prediction in row.predictions or []],
            "synsets": [prediction.label.synset for prediction in row.predictions or []],
            "error": row.error,
        }
        for row in rows
    ]
    return pa.Table.from_pylist(table, schema)


def _write_json(rows: list[PredictionRow], path: Path, model: str) -> None:
    path.write_text(json.dumps([row.as_json(model) for row in rows], indent=1) + "\n", "utf-8")


def _write_csv(rows: list[PredictionRow], path: Path, model: str) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        facts = PredictionRow("").facts(model)
        writer = csv.DictWriter(file, ["path", "rank", "index", "label", "synset", "probability", "error", *facts])
        writer.writeheader()
        for row in rows:
            cells = {"path": row.path, "error": row.error, **row.facts(model)}
            ranked = [{"rank": rank, **prediction.as_row()} for rank, prediction in enumerate(row.predictions or [], 1)]
            for prediction in ranked or [{}]:
                writer.writerow({name: as_cell(value) for name, value in (cells | prediction).items()})


def _write_parquet(rows: list[PredictionRow], path: Path, model: str) -> None:
    import pyarrow.parquet

    with path.open("wb") as file:
        pyarrow.parquet.write_table(as_table(rows, model), file)


WRITERS = {".json": _write_json, ".csv": _write_csv, ".parquet": _write_parquet}
