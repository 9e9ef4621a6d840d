"""Predictions as files."""

import csv
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.support.pictures import noise
from vitdemo.classify.files import write_rows
from vitdemo.classify.gallery import PredictionRow, classify_gallery
from vitdemo.classify.photo import Prediction
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models.labels import Label
from vitdemo.core.photos.search import find_items

CAT, EGG = Label(281, "tabby, tabby cat", "n02123045"), Label(4, 'an "<b>egg</b>", 卵\nor two')
ROWS = [
    PredictionRow(
        'a,b "c".jpg', "ab12", [Prediction(CAT, 0.75), Prediction(EGG, 0.125)], None, "n02123045", False, meant=(CAT,), conflict=()
    ),
    PredictionRow("bad.jpg", None, None, "“bad.jpg” is empty (0 bytes): copy or download it again."),
    PredictionRow("two\nlines 写真.jpg", "cd34", [Prediction(EGG, 0.5)], folder="n02123045", duplicate_of="=a", meant=(CAT,), conflict=()),
]
FACTS = ["model", "sha256", "folder", "true_class", "correct", "label_conflict", "duplicate_of", "unfamiliar"]
KNOWN = [  # FACTS of each row
    ["m", "ab12", "n02123045", "tabby, tabby cat", True, False, None, False],
    ["m", None, "", None, None, None, None, None],
    ["m", "cd34", "n02123045", "tabby, tabby cat", False, False, "=a", None],
]


def test_json(tmp_path):
    write_rows(ROWS, tmp_path / "out.json", "m")
    egg = {"index": 4, "label": 'an "<b>egg</b>", 卵\nor two', "synset": ""}
    assert json.loads((tmp_path / "out.json").read_text("utf-8")) == [
        {
            "path": 'a,b "c".jpg',
            "predictions": [
                {"index": 281, "label": "tabby, tabby cat", "synset": "n02123045", "probability": 0.75},
                egg | {"probability": 0.125},
            ],
        }
        | dict(zip(FACTS, KNOWN[0], strict=True)),
        {"path": "bad.jpg", "error": "“bad.jpg” is empty (0 bytes): copy or download it again."} | dict(zip(FACTS, KNOWN[1], strict=True)),
        {"path": "two\nlines 写真.jpg", "predictions": [egg | {"probability": 0.5}]} | dict(zip(FACTS, KNOWN[2], strict=True)),
    ]


def test_csv(tmp_path):
    write_rows(ROWS, tmp_path / "out.csv", "m")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == ["path", "rank", "index", "label", "synset", "probability", "error", *FACTS]
    right = ["m", "ab12", "n02123045", "tabby, tabby cat", "True", "False", "", "False"]
    assert lines == [
        ['a,b "c".jpg', "1", "281", "tabby, tabby cat", "n02123045", "0.75", "", *right],
        ['a,b "c".jpg', "2", "4", 'an "<b>egg</b>", 卵\nor two', "", "0.125", "", *right],
        ["bad.jpg", "", "", "", "", "", "“bad.jpg” is empty (0 bytes): copy or download it again.", "m", *[""] * 7],
        [
            *("two\nlines 写真.jpg", "1", "4", 'an "<b>egg</b>", 卵\nor two', "", "0.5", ""),
            *("m", "cd34", "n02123045", "tabby, tabby cat", "False", "False", "'=a", ""),
        ],
    ]


def test_parquet(tmp_path):
    write_rows(ROWS, tmp_path / "out.parquet", "my model")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    more = ["synsets", "folder", "true_class", "correct", "label_conflict", "duplicate_of", "unfamiliar"]
    assert table.schema.names == ["sha256", "path", "model", "labels", "indices", "probabilities", "error", *more]
    kinds = [pa.string()] * 3 + [pa.list_(pa.string()), pa.list_(pa.int32()), pa.list_(pa.float32()), pa.string()]
    assert table.schema.types == [*kinds, pa.list_(pa.string()), *[pa.string()] * 2, *[pa.bool_()] * 2, pa.string(), pa.bool_()]
    good, bad, odd = table.to_pylist()
    assert good == {
        "sha256": "ab12",
        "path": 'a,b "c".jpg',
        "model": "my model",
        "labels": ["tabby, tabby cat", 'an "<b>egg</b>", 卵\nor two'],
        "indices": [281, 4],
        "probabilities": [0.75, 0.125],
        "error": None,
        "synsets": ["n02123045", ""],
        **dict(zip(FACTS[2:], KNOWN[0][2:], strict=True)),
    }
    assert {name: odd[name] for name in FACTS[1:]} == dict(zip(FACTS[1:], KNOWN[2][1:], strict=True))
    assert not bad["labels"]
    assert not bad["probabilities"]
    assert (bad["sha256"], bad["path"], bad["error"]) == (None, "bad.jpg", ROWS[1].error)
    assert (odd["path"], odd["probabilities"]) == ("two\nlines 写真.jpg", [0.5])


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_no_rows(tmp_path, suffix):
    write_rows([], tmp_path / f"out.{suffix}", "m")
    assert (tmp_path / f"out.{suffix}").stat().st_size > 0


def test_parquet_without_rows_has_the_same_schema(tmp_path):
    write_rows([], tmp_path / "empty.parquet", "m")
    write_rows(ROWS, tmp_path / "full.parquet", "m")
    assert pyarrow.parquet.read_schema(tmp_path / "empty.parquet") == pyarrow.parquet.read_schema(tmp_path / "full.parquet")


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_a_path_that_is_no_text(tmp_path, vit, engine, suffix):
    """A Latin-1 name on a UTF-8 system: it must not cost the gallery its file, and JSON's path opens as printed."""
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    noise(40, 30).save(path)
    (row,) = classify_gallery(find_items([path]), vit, engine, Settings())
    assert row.error is None
    write_rows([row], tmp_path / f"out.{suffix}", "m")
    if suffix == "json":
        (written,) = json.loads((tmp_path / "out.json").read_text("utf-8"))
        assert Path(written["path"]).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["out.txt", "out", "out.json.gz", ".json"])
def test_bad_suffix(tmp_path, name):
    with pytest.raises(UserError) as refused:
        write_rows(ROWS, tmp_path / name, "m")
    assert str(refused.value) == "--output must end in .json, .csv or .parquet."
    assert not (tmp_path / name).exists()


def test_suffix_in_capitals(tmp_path):
    write_rows(ROWS, tmp_path / "OUT.JSON", "m")
    assert len(json.loads((tmp_path / "OUT.JSON").read_text("utf-8"))) == 3


def test_folders_on_the_way_are_made(tmp_path):
    write_rows(ROWS, tmp_path / "a" / "b" / "out.csv", "m")
    assert (tmp_path / "a" / "b" / "out.csv").is_file()


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_a_place_that_can_not_be_written(tmp_path, suffix):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / f"folder.{suffix}").mkdir()
    for path, reason in (
        (tmp_path / "file" / f"out.{suffix}", "(Not a directory|File exists)"),
        (tmp_path / f"folder.{suffix}", "Is a directory"),
        (tmp_path / ("a" * 300 + f".{suffix}"), "File name too long"),
    ):
        with pytest.raises(UserError, match=rf"can't be written \({reason}\): choose another place\."):
            write_rows(ROWS, path, "m")
