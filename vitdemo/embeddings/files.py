"""Write vectors, and the columns of a map if there is one, to an NPZ, CSV or Parquet file; the suffix of the file decides."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vitdemo.core.outputs import as_cell, as_utf8, check_suffix, check_writable, unwritable
from vitdemo.embeddings.maps.atlas import Atlas
from vitdemo.embeddings.vectors.gallery import EmbeddingRow

if TYPE_CHECKING:
    import pyarrow as pa

AXES = ("x", "y", "z")


@dataclass(frozen=True, eq=False)
class Mapped:
    """The columns that a map adds to a gallery's rows.

    Attributes:
        atlas: the map, row for row.
        names: the clusters' names, cluster 0 first.
        neighbours: the paths of each row's nearest neighbours, nearest first.
        distances: (rows, neighbours) float32, their cosine distances: 1 − the cosine of the two vectors.
    """

    atlas: Atlas
    names: Sequence[str]
    neighbours: Sequence[Sequence[str]]
    distances: np.ndarray


def write_vectors(
    path: Path,
    rows: Sequence[EmbeddingRow],
    vectors: np.ndarray,
    *,
    model: str,
    layer: int | str,
    pooling: str,
    mapped: Mapped | None = None,
) -> None:
    """Write vectors as .npz, .csv or .parquet; the suffix of the file decides.

    Args:
        rows: one per file; rows with an error are written to .csv and .parquet only.
        vectors: (rows without an error, width), row for row, or (…, patches, width) for .npz and .parquet.
        mapped: the map's columns, row for row like the vectors.

    Raises: UserError for another suffix, patches in .csv, or a path that can't be written.
    """
    check_output(path, pooling)
    table = _Table(rows, vectors, model, str(layer), pooling, mapped)
    try:
        WRITERS[path.suffix.lower()](path, table)
    except OSError as error:
        raise unwritable(path, error) from None


def check_output(path: Path, pooling: str = "cls") -> None:
    """Check that vectors can be written to a path, and create its folders.

    Raises: UserError for an unknown suffix, or a path that can't be written.
    """
    check_format(path, pooling)
    check_writable(path)


def check_format(path: Path, pooling: str = "cls") -> None:
    """Check the suffix of a file name. Raises: UsageError for an unknown suffix, or one that can't hold this pooling."""
    if pooling == "patches":
        check_suffix(path, [suffix for suffix in WRITERS if suffix != ".csv"], " for patches")
    check_suffix(path, WRITERS)


@dataclass(frozen=True, eq=False)
class _Table:
    rows: Sequence[EmbeddingRow]
    vectors: np.ndarray
    model: str
    layer: str
    pooling: str
    mapped: Mapped | None

    @property
    def done(self) -> list[EmbeddingRow]:
        return [row for row in self.rows if row.error is None]

    def map_columns(self) -> dict[str, Sequence]:
        """The map's columns for each row with a vector; no columns without a map."""
        if self.mapped is None:
            return {}
        atlas, best = self.mapped.atlas, [row.predictions[0] if row.predictions else None for row in self.done]
        return {
            "label": [row.folder for row in self.done],
            "prediction": [prediction.label.name if prediction else "" for prediction in best],
            "probability": np.array([prediction.probability if prediction else np.nan for prediction in best], np.float32),
            **dict(zip(AXES, atlas.positions.T, strict=False)),
            "cluster": atlas.clusters,
            "cluster_name": [self.mapped.names[cluster] if cluster >= 0 else "" for cluster in atlas.clusters],
            "membership": atlas.membership,
            "neighbours": self.mapped.neighbours,
            "neighbour_distances": self.mapped.distances,
        }


def _write_npz(path: Path, table: _Table) -> None:
    arrays: dict[str, Any] = {
        "paths": np.array([row.path for row in table.done], str),
        "embeddings": table.vectors,
        "model": np.array(table.model),
        "duplicate_of": np.array([row.duplicate_of or "" for row in table.done], str),
    }
    if table.mapped:
        columns = table.map_columns()
        arrays["map"] = table.mapped.atlas.positions
        arrays["cluster"] = table.mapped.atlas.clusters
        arrays |= {name: np.array(column) for name, column in columns.items() if name not in (*AXES, "cluster")}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _write_csv(path: Path, table: _Table) -> None:
    columns: dict[str, Sequence] = {
        "path": [row.path for row in table.done],
        "sha256": [row.sha256 for row in table.done],
        **table.map_columns(),
        "duplicate_of": [row.duplicate_of or "" for row in table.done],
    }
    made = {"model": table.model, "layer": table.layer, "pooling": table.pooling}
    if table.mapped:
        columns["neighbours"] = [json.dumps(list(paths), ensure_ascii=False) for paths in columns["neighbours"]]
        columns["neighbour_distances"] = [json.dumps([float(str(each)) for each in row]) for row in columns["neighbour_distances"]]
    width = table.vectors.shape[1] if len(table.done) else 0
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, *made, "error", *(f"e{number}" for number in range(1, width + 1))])
        done = zip(*columns.values(), table.vectors, strict=True)
        for row in table.rows:
            if row.error:
                blank = [""] * (len(columns) - 2)
                cells = [row.path, row.sha256 or "", *blank, *made.values(), row.error, *[""] * width]
                writer.writerow(map(as_cell, cells))
            else:
                *known, vector = next(done)
                writer.writerow([*map(as_cell, (*known, *made.values())), "", *vector.tolist()])


def _write_parquet(path: Path, table: _Table) -> None:
    import pyarrow.parquet

    with path.open("wb") as file:
        parts = _parquet_parts(table)
        first = next(parts)
        with pyarrow.parquet.ParquetWriter(file, first.schema) as writer:
            writer.write_table(first)
            for part in parts:
                writer.write_table(part)


def as_table(rows: Sequence[EmbeddingRow], vectors: np.ndarray, *, model: str, layer: int | str, pooling: str) -> "pa.Table":
    """Rows and their vectors as a table, in the same schema for local and Ray runs. Arguments as `write_vectors`."""
    import pyarrow as pa

    return pa.concat_tables(_parquet_parts(_Table(rows, vectors, model, str(layer), pooling, None)))


def _parquet_parts(table: _Table) -> "Iterator[pa.Table]":
    """Yield the table in parts of 256 rows; at least one part, even without rows."""
    import pyarrow as pa

    numbers = iter(range(len(table.done)))
    places = [None if row.error else next(numbers) for row in table.rows]
    types = {"x": pa.float32(), "y": pa.float32(), "z": pa.float32(), "cluster": pa.int32(), "probability": pa.float32()}
    types |= {"membership": pa.float32(), "neighbours": pa.list_(pa.string()), "neighbour_distances": pa.list_(pa.float32())}
    columns = table.map_columns()
    schema = pa.schema(
        {
            "sha256": pa.string(),
            "path": pa.string(),
            "model": pa.string(),
            "layer": pa.string(),
            "pooling": pa.string(),
            "embedding": pa.list_(pa.float32()),
            "error": pa.string(),
            **{name: types.get(name, pa.string()) for name in columns},
            "duplicate_of": pa.string(),
        }
    )
    for first in range(0, max(1, len(table.rows)), 256):
        part = list(zip(table.rows[first : first + 256], places[first : first + 256], strict=True))
        yield pa.Table.from_pylist([_parquet_row(row, place, table, columns) for row, place in part], schema)


def _parquet_row(row: EmbeddingRow, place: int | None, table: _Table, columns: dict[str, Sequence]) -> dict:
    return {
        "sha256": row.sha256,
        "path": as_utf8(row.path),
        "model": table.model,
        "layer": table.layer,
        "pooling": table.pooling,
        "embedding": None if place is None else table.vectors[place].ravel(),
        "error": row.error,
        **{name: None if place is None else _cell(column[place]) for name, column in columns.items()},
        "duplicate_of": row.duplicate_of and as_utf8(row.duplicate_of),
    }


def _cell(value: str | list[str] | tuple[str, ...] | np.generic | np.ndarray) -> object:
    if isinstance(value, str):
        return as_utf8(value)
    return [as_utf8(text) for text in value] if isinstance(value, list | tuple) else value.tolist()


WRITERS = {".npz": _write_npz, ".csv": _write_csv, ".parquet": _write_parquet}
