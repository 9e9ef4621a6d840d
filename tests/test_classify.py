"""Classify: the known accuracy on real photos, timm's own answers for each of them, and predictions as files."""

import csv
import dataclasses
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import timm
import timm.data
import torch
from PIL import Image

from tests.conftest import TINY, noise
from vitdemo.classify import Prediction, Row, classify, classify_files, top_classes, write_rows
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.labels import Label
from vitdemo.core.photos import find_photos


@pytest.fixture(scope="module")
def photos(shared) -> list[Path]:
    return find_photos([shared / "data" / "imagenet_val"])


@pytest.fixture(scope="module")
def rows(photos, real_tiny, engine) -> list[Row]:
    """The 200 photos, classified by this project."""
    return list(classify_files(photos, real_tiny, engine, Settings()))


@pytest.fixture(scope="module")
def reference(photos, tiny_checkpoint) -> torch.Tensor:
    """The 200 photos' probabilities (photos, classes), by Pillow and timm alone."""
    overlay = {"file": str(tiny_checkpoint), "custom_load": False}
    model = timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in photos])
    with torch.inference_mode():
        return torch.cat([model(part) for part in batch.split(25)]).softmax(-1)


def test_known_accuracy(photos, rows):
    """The weights' README: top-1 0.690, top-5 0.900. A photo's folder is its synset."""
    assert len(rows) == len(photos) == 200
    ranks = [[each.label.synset for each in row.predictions] for row in rows]
    truth = [path.parent.name for path in photos]
    assert sum(rank[0] == synset for rank, synset in zip(ranks, truth, strict=True)) == 138
    assert sum(synset in rank for rank, synset in zip(ranks, truth, strict=True)) == 180


def test_every_photo_has_timms_answer(photos, rows, reference):
    for path, row, probabilities in zip(photos, rows, reference, strict=True):
        best, indices = probabilities.topk(5)
        assert row.path == str(path)
        assert row.error is None
        assert [each.label.index for each in row.predictions] == indices.tolist()
        assert [each.probability for each in row.predictions] == pytest.approx(best.tolist(), abs=1e-4)


def test_one_photo(photos, rows, real_tiny, engine):
    found = classify(Image.open(photos[7]).convert("RGB"), real_tiny, engine)
    assert found.predictions == rows[7].predictions
    assert found.seconds > 0


def test_other_preprocessing_is_used(real_tiny, engine):
    image, other = noise(300, 200), dataclasses.replace(real_tiny.preprocessing, crop_mode="squash", crop_pct=1.0, size=(160, 160))
    found = classify(image, real_tiny, engine, preprocessing=other, top=3)
    with torch.inference_mode():
        expected, indices = real_tiny.module(other(image)[None])[0].softmax(-1).topk(3)
    assert [each.label.index for each in found.predictions] == indices.tolist()
    assert [each.probability for each in found.predictions] == pytest.approx(expected.tolist(), abs=1e-5)


def test_top_classes_known_answer():
    labels = tuple(Label(index, f"class {index}") for index in range(3))
    found = top_classes(torch.tensor([0.0, 2.0, 1.0]).log(), labels, 2)  # softmax of logs: the numbers' shares, 0, 2/3, 1/3
    assert [each.label.index for each in found] == [1, 2]
    assert [each.probability for each in found] == pytest.approx([2 / 3, 1 / 3])


def test_top_larger_than_the_classes(vit, engine):
    found = classify(noise(40, 30), vit, engine, top=1000).predictions
    assert sorted(each.label.index for each in found) == list(range(8))
    assert sum(each.probability for each in found) == pytest.approx(1)
    assert [each.probability for each in found] == sorted((each.probability for each in found), reverse=True)


def test_feature_backbone(vit, engine, picture):
    backbone = dataclasses.replace(vit, labels=())
    sentence = f"{vit.name} gives features, not classes: choose another model to classify with."
    with pytest.raises(UserError) as refused:
        classify(noise(40, 30), backbone, engine)
    assert str(refused.value) == sentence
    with pytest.raises(UserError) as refused:
        next(classify_files([picture], backbone, engine, Settings()))
    assert str(refused.value) == sentence


def test_a_bad_file_is_a_row_among_the_others(vit, engine, picture, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    good, bad, again = classify_files([picture, tmp_path / "bad.jpg", picture], vit, engine, Settings(), top=2)
    assert (good, len(good.predictions), good.error) == (again, 2, None)
    assert (bad.path, bad.predictions) == (str(tmp_path / "bad.jpg"), None)
    assert bad.error.startswith("“bad.jpg” is not a photo")


# Files

CAT, EGG = Label(281, "tabby, tabby cat", "n02123045"), Label(4, 'an "<b>egg</b>", 卵\nor two')
ROWS = [
    Row('a,b "c".jpg', "ab12", [Prediction(CAT, 0.75), Prediction(EGG, 0.125)]),
    Row("bad.jpg", None, None, "“bad.jpg” is empty (0 bytes): copy or download it again."),
    Row("two\nlines 写真.jpg", "cd34", [Prediction(EGG, 0.5)]),
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
        },
        {"path": "bad.jpg", "error": "“bad.jpg” is empty (0 bytes): copy or download it again."},
        {"path": "two\nlines 写真.jpg", "predictions": [egg | {"probability": 0.5}]},
    ]


def test_csv(tmp_path):
    write_rows(ROWS, tmp_path / "out.csv", "m")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == ["path", "rank", "index", "label", "synset", "probability", "error"]
    assert lines == [
        ['a,b "c".jpg', "1", "281", "tabby, tabby cat", "n02123045", "0.75", ""],
        ['a,b "c".jpg', "2", "4", 'an "<b>egg</b>", 卵\nor two', "", "0.125", ""],
        ["bad.jpg", "", "", "", "", "", "“bad.jpg” is empty (0 bytes): copy or download it again."],
        ["two\nlines 写真.jpg", "1", "4", 'an "<b>egg</b>", 卵\nor two', "", "0.5", ""],
    ]


def test_parquet(tmp_path):
    write_rows(ROWS, tmp_path / "out.parquet", "my model")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["sha256", "path", "model", "labels", "indices", "probabilities", "error"]
    kinds = [pa.string()] * 3 + [pa.list_(pa.string()), pa.list_(pa.int32()), pa.list_(pa.float32()), pa.string()]
    assert table.schema.types == kinds
    good, bad, odd = table.to_pylist()
    assert good == {
        "sha256": "ab12",
        "path": 'a,b "c".jpg',
        "model": "my model",
        "labels": ["tabby, tabby cat", 'an "<b>egg</b>", 卵\nor two'],
        "indices": [281, 4],
        "probabilities": [0.75, 0.125],
        "error": None,
    }
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
    (row,) = classify_files([path], vit, engine, Settings())
    assert row.error is None
    write_rows([row], tmp_path / f"out.{suffix}", "m")
    if suffix == "json":
        (written,) = json.loads((tmp_path / "out.json").read_text("utf-8"))
        assert Path(written["path"]).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["out.txt", "out", "out.json.gz", ".json"])
def test_bad_suffix(tmp_path, name):
    with pytest.raises(UserError) as refused:
        write_rows(ROWS, tmp_path / name, "m")
    assert str(refused.value) == f"{name} must end in .json, .csv, .parquet."
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
