"""Folders of Parquet parts: whole parts, nothing twice, nothing mixed."""

import fsspec
import pyarrow as pa
import pyarrow.dataset
import pytest

from vitdemo.core.bulk.parquet import ParquetDataset
from vitdemo.core.errors import UserError

ABOUT = {"command": "classify", "model": "m", "key": "k"}


def table(*paths: str) -> pa.Table:
    return pa.table({"path": paths, "error": [None] * len(paths)})


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    if request.param == "disk":
        return str(tmp_path / "new" / "out")
    fsspec.filesystem("memory").store.clear()
    return "memory://out/answers"


def test_what_is_written_is_known(place):
    parts = ParquetDataset(place)
    assert not parts.begin(ABOUT)
    parts.write(table("a", "b"), "1")
    parts.write(table("b"), "2")
    assert ParquetDataset(place).begin(ABOUT) == {"a": 1, "b": 2}
    parts.write(table("b", "c"), "2")  # the same part once more, as after a killed actor
    assert parts.names() == ["part-1.parquet", "part-2.parquet"]
    assert ParquetDataset(place).begin(ABOUT) == {"a": 1, "b": 2, "c": 1}
    assert ParquetDataset(place).about() == ABOUT


def test_what_reads_folders_of_parquet_reads_it(tmp_path):
    parts = ParquetDataset(str(tmp_path))
    parts.begin(ABOUT)
    parts.write(table("a"), "1")
    (tmp_path / ".part-unfinished").write_bytes(b"half")
    assert pyarrow.dataset.dataset(tmp_path).to_table()["path"].to_pylist() == ["a"]
    ParquetDataset(str(tmp_path)).begin(ABOUT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_about.json", "part-1.parquet"]  # what a kill left is gone


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "n"}, "holds answers with model m, not n: choose another folder."),
        ({"model": "m@bf16", "key": "l"}, "holds answers with model m, not m@bf16: choose another folder."),
        ({"command": "embed", "layer": "3"}, "holds answers with command classify, not embed"),
        ({"key": "l"}, "holds answers of a model with other weights or preprocessing"),
        ({"model": "n", "key": "l"}, "holds answers with model m, not n"),
    ],
)
def test_answers_are_not_mixed(place, change, sentence):
    ParquetDataset(place).begin(ABOUT)
    with pytest.raises(UserError, match=sentence):
        ParquetDataset(place).begin(ABOUT | change)


def test_folders_that_are_not_ours(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="holds other files: choose a new or empty folder"):
        ParquetDataset(str(tmp_path)).begin(ABOUT)
    with pytest.raises(UserError, match=r"has no _about.json, so it is no folder of ours"):
        ParquetDataset(str(tmp_path)).about()
    with pytest.raises(UserError, match="can't be written"):
        ParquetDataset(str(tmp_path / "photo.jpg")).begin(ABOUT)


def test_a_damaged_part_is_named(tmp_path):
    parts = ParquetDataset(str(tmp_path))
    parts.begin(ABOUT)
    (tmp_path / "part-1.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"part-1.parquet can't be read .* delete it"):
        parts.begin(ABOUT)
