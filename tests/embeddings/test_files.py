"""NPZ, CSV and Parquet: the same rows in each, whatever files are called."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from vitdemo.core.errors import UserError
from vitdemo.core.models.labels import Label
from vitdemo.core.models.predictions import Prediction
from vitdemo.embeddings.files import Mapped, write_vectors
from vitdemo.embeddings.maps.atlas import Atlas, MapOptions
from vitdemo.embeddings.vectors.gallery import EmbeddingRow

ODD = os.fsdecode(b'photos/caf\xe9, "two"\nlines.jpg')  # no UTF-8 on disk
BASE = ["sha256", "path", "model", "layer", "pooling", "embedding", "error"]
MAP = ["label", "prediction", "probability", "x", "y", "cluster", "cluster_name", "membership", "neighbours", "neighbour_distances"]
DISTANCES = np.array([[0, 0.1], [0.125, 0.25], [0, 1.5]], np.float32)


def row(path: str, at: int, **more) -> EmbeddingRow:
    return EmbeddingRow(path, sha256=f"{at:064}", at=at, predictions=(Prediction(Label(at, f"<b>{at}"), 0.5),), **more)


@pytest.fixture
def rows() -> list[EmbeddingRow]:
    return [
        row("a/=1.jpg", 0, folder="a"),
        EmbeddingRow("a/bad.jpg", "a", error="“bad.jpg” is damaged."),
        row(ODD, 1),
        row("ü.png", 0, folder="ü", duplicate_of="a/=1.jpg"),
    ]


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture
def mapped() -> Mapped:
    atlas = Atlas(
        np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0, -1, 0], np.int32), np.array([1, 0, 0.5], np.float32), 0.9, MapOptions()
    )
    return Mapped(atlas, ["<b>0"], [["ü.png", ODD], ["ü.png", "a/=1.jpg"], ["a/=1.jpg", ODD]], DISTANCES)


def write(path: Path, rows, vectors, mapped=None, pooling="cls") -> Path:
    write_vectors(path, rows, vectors, model="vit", layer=3, pooling=pooling, mapped=mapped)
    return path


def test_npz(tmp_path, rows, vectors, mapped):
    with np.load(write(tmp_path / "a.npz", rows, vectors)) as file:
        assert set(file.files) == {"paths", "embeddings", "model", "duplicate_of"}
        assert file["duplicate_of"].tolist() == ["", "", "a/=1.jpg"]
        assert file["paths"].tolist() == ["a/=1.jpg", ODD, "ü.png"]
        assert file["embeddings"].dtype == np.float32
        np.testing.assert_array_equal(file["embeddings"], vectors)
    with np.load(write(tmp_path / "b.npz", rows, vectors, mapped)) as file:
        np.testing.assert_array_equal(file["map"], mapped.atlas.positions)
        assert file["cluster"].tolist() == [0, -1, 0]
        assert file["cluster_name"].tolist() == ["<b>0", "", "<b>0"]
        assert file["label"].tolist() == ["a", "", "ü"]
        assert file["prediction"].tolist() == ["<b>0", "<b>1", "<b>0"]
        assert file["neighbours"].tolist() == [list(each) for each in mapped.neighbours]
        np.testing.assert_array_equal(file["neighbour_distances"], DISTANCES)


def test_csv(tmp_path, rows, vectors, mapped):
    path = write(tmp_path / "a.csv", rows, vectors, mapped)
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        found = list(csv.DictReader(file))
    assert [each["path"] for each in found] == [each.path for each in rows]
    assert [each["error"] for each in found] == ["", "“bad.jpg” is damaged.", "", ""]
    assert {(each["model"], each["layer"], each["pooling"]) for each in found} == {("vit", "3", "cls")}
    assert [each["duplicate_of"] for each in found] == ["", "", "", "a/=1.jpg"]
    assert found[1]["e1"] == found[1]["cluster"] == found[1]["sha256"] == ""
    done = [each for each in found if not each["error"]]
    np.testing.assert_array_equal(np.array([[each[f"e{number}"] for number in range(1, 5)] for each in done], np.float32), vectors)
    assert [(each["x"], each["y"], each["cluster"], each["label"]) for each in done] == [
        ("0.0", "1.0", "0", "a"),
        ("2.0", "3.0", "-1", ""),
        ("4.0", "5.0", "0", "ü"),
    ]
    assert json.loads(done[0]["neighbours"]) == ["ü.png", ODD]
    assert done[0]["neighbour_distances"] == "[0.0, 0.1]"
    assert [json.loads(each["neighbour_distances"])[1] for each in done] == [0.1, 0.25, 1.5]


@pytest.mark.parametrize("with_map", [False, True])
def test_parquet(tmp_path, rows, vectors, mapped, with_map):
    table = pyarrow.parquet.read_table(write(tmp_path / "a.parquet", rows, vectors, mapped if with_map else None))
    assert table.column_names == [*BASE, *(MAP if with_map else []), "duplicate_of"]
    assert table["duplicate_of"].to_pylist() == [None, None, None, "a/=1.jpg"]
    assert str(table.schema.field("embedding").type) == "list<element: float>"
    found = table.to_pylist()
    assert [each["path"] for each in found] == ["a/=1.jpg", "a/bad.jpg", 'photos/caf\\xe9, "two"\nlines.jpg', "ü.png"]
    assert {(each["model"], each["layer"], each["pooling"]) for each in found} == {("vit", "3", "cls")}
    assert (found[1]["embedding"], found[1]["error"]) == (None, "“bad.jpg” is damaged.")
    np.testing.assert_array_equal([each["embedding"] for each in found if not each["error"]], vectors)
    if with_map:
        assert [each["cluster"] for each in found] == [0, None, -1, 0]
        assert found[3]["neighbours"] == ["a/=1.jpg", 'photos/caf\\xe9, "two"\nlines.jpg']
        np.testing.assert_array_equal([each["neighbour_distances"] for each in found if not each["error"]], DISTANCES)
        assert (found[0]["x"], found[0]["y"], found[0]["membership"]) == (0, 1, 1)


def test_a_third_dimension(tmp_path, rows, vectors, mapped):
    solid = Atlas(np.ones((3, 3), np.float32), mapped.atlas.clusters, mapped.atlas.membership, None, MapOptions(3))
    table = pyarrow.parquet.read_table(
        write(tmp_path / "a.parquet", rows, vectors, Mapped(solid, mapped.names, mapped.neighbours, DISTANCES))
    )
    assert table.column_names[7:13] == ["label", "prediction", "probability", "x", "y", "z"]


def test_patches(tmp_path, rows):
    patches = np.random.default_rng(0).normal(size=(3, 9, 4)).astype(np.float32)
    with np.load(write(tmp_path / "a.npz", rows, patches, pooling="patches")) as file:
        np.testing.assert_array_equal(file["embeddings"], patches)
    table = pyarrow.parquet.read_table(write(tmp_path / "a.parquet", rows, patches, pooling="patches"))
    found = [each for each in table.column("embedding").to_pylist() if each]
    np.testing.assert_array_equal(np.array(found, np.float32).reshape(3, 9, 4), patches)
    with pytest.raises(UserError, match=r"--output must end in \.npz or \.parquet for patches"):
        write(tmp_path / "a.csv", rows, patches, pooling="patches")


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
def test_nothing_but_errors(tmp_path, rows, suffix, mapped):
    empty = Mapped(
        Atlas(np.zeros((0, 2), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32), None, MapOptions()), [], [], np.zeros((0, 5))
    )
    for each in (None, empty):
        assert write(tmp_path / f"a.{suffix}", rows[1:2], np.zeros((0, 4), np.float32), each).stat().st_size > 0


def test_other_suffixes_and_places(tmp_path, rows, vectors):
    with pytest.raises(UserError, match=r"--output must end in \.npz, \.csv or \.parquet"):
        write(tmp_path / "a.txt", rows, vectors)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="can't be written"):
        write(tmp_path / "file" / "a.npz", rows, vectors)
