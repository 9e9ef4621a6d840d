"""`python -m vitdemo map`: from bulk work's folder to Parquet and to a page."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.support.pictures import noise
from vitdemo.cli import main
from vitdemo.core.bulk.parquet import ParquetDataset
from vitdemo.ui.tabs.embeddings import map_pages

pytestmark = pytest.mark.usefixtures("large_maps")

COUNT = 300


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for label in ("dogs", "cats"):
        (folder / label).mkdir()
    return folder


@pytest.fixture(scope="module")
def embedded(photos) -> Path:
    """As Ray leaves it: two parts in the one schema, with a file that could not be read."""
    random = np.random.default_rng(0)
    folder = photos / "vectors"
    parts = ParquetDataset(str(folder))
    parts.begin({"command": "embed", "model": "m", "layer": "final", "pooling": "cls", "key": "k"})
    rows = []
    for number in range(COUNT):
        label = "dogs" if number % 2 else "cats"
        vector = (np.full(16, 3.0 * (number % 2)) + random.normal(size=16)).astype(np.float32)
        path = photos / label / f"{number}.png"
        if number < 4:
            noise(30, 20, number).save(path)
        rows.append({"sha256": f"{number:064}", "path": str(path), "embedding": vector, "error": None})
    rows.append({"sha256": None, "path": str(photos / "cats" / "</script>bad.png"), "embedding": None, "error": "damaged"})
    schema = pa.schema({"sha256": pa.string(), "path": pa.string(), "embedding": pa.list_(pa.float32()), "error": pa.string()})
    parts.write(pa.Table.from_pylist(rows[:120], schema), "1")
    parts.write(pa.Table.from_pylist(rows[120:], schema), "2")
    return folder


@pytest.fixture(scope="module")
def classified(photos) -> Path:
    folder = photos / "classes"
    parts = ParquetDataset(str(folder))
    parts.begin({"command": "classify", "model": "m", "top": 1, "key": "k"})
    rows = [
        {"sha256": f"{number:064}", "path": "", "labels": ["dog, hound" if number % 2 else "<b>cat</b>"], "probabilities": [0.75]}
        for number in range(COUNT)
    ]
    parts.write(pa.Table.from_pylist(rows), "1")
    return folder


@pytest.fixture
def asked(embedded, classified, tmp_path) -> list[str]:
    return ["map", str(embedded), "--predictions", str(classified), "--sample", "150", "--cache-dir", str(tmp_path)]


def test_parquet(asked, tmp_path, photos, capsys):
    output = tmp_path / "new" / "map.parquet"
    assert main([*asked, "--output", str(output)]) == 0
    said = capsys.readouterr().err
    assert "laid out by 150 photos drawn at random, the other 150 placed among them" in said
    assert "1 photos without a vector left out" in said
    table = pyarrow.parquet.read_table(output)
    rows = table.to_pylist()
    assert len(rows) == COUNT
    assert sum(row["sampled"] for row in rows) == 150
    assert json.loads(table.schema.metadata[b"vitdemo"])["sampled"] == 150
    assert {row["label"] for row in rows} == {"dogs", "cats"}
    assert {row["cluster_name"] for row in rows if row["cluster"] >= 0} >= {"dog", "<b>cat</b>"}
    same = [sum(f"/{row['label']}/" in each for each in row["neighbours"]) / len(row["neighbours"]) for row in rows]
    assert np.mean(same) > 0.95
    assert all(len(row["neighbours"]) == 5 and row["path"] not in row["neighbours"] for row in rows)
    assert np.isfinite([[row["x"], row["y"]] for row in rows]).all()


def test_a_page(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(map_pages, "MAX_POINTS", 200)
    output = tmp_path / "map.html"
    assert main([*asked, "--output", str(output), "--pictures", "300"]) == 0
    text = output.read_text("utf-8")
    assert not re.search(r"(src|href)=[\"']?http", text)
    told = json.loads(re.search(r'<script type="application/json" id="told">(.*?)</script>', text, re.DOTALL)[1])
    assert len(told["rows"]) == 200
    assert told["note"].endswith("placed among them; 200 of them, drawn at random, are on show")
    starts = told["thumbnails"]["sections"]["starts"]
    assert starts[2] == 201
    assert told["maps"][0]["sections"]["positions"][2] == 400
    there = sum(Path(row["name"]).exists() for row in told["rows"])
    import base64

    lengths = np.diff(np.frombuffer(base64.b64decode(told["thumbnails"]["data"])[starts[1] : starts[1] + 4 * 201], np.uint32))
    assert (lengths > 0).sum() == there > 0  # photos that are gone have no picture


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        (["--output", "map.png"], 2, "--output must end in .parquet or .html."),
        (["--sample", "5"], 2, "--sample must be 100 or more."),
        (["--dimensions", "4"], 2, "A map has 2 or 3 dimensions, not 4."),
        (["--pictures", "-1"], 2, "--pictures must be 0 or more."),
    ],
)
def test_wrong_usage(asked, tmp_path, capsys, change, status, sentence):
    assert main([*asked, "--output", str(tmp_path / "map.html"), *change]) == status
    assert sentence in capsys.readouterr().err


def test_folders_that_hold_no_vectors(embedded, classified, tmp_path, capsys):
    output = ["--output", str(tmp_path / "map.html"), "--cache-dir", str(tmp_path)]
    assert main(["map", str(classified), *output]) == 1
    assert "holds no vectors: give the folder that “embed --engine ray” wrote" in capsys.readouterr().err
    assert main(["map", str(embedded), "--predictions", str(embedded), *output]) == 1
    assert "holds no predictions" in capsys.readouterr().err
    assert main(["map", str(tmp_path / "nothing"), *output]) == 1
    assert "is no folder of ours" in capsys.readouterr().err
    ParquetDataset(str(tmp_path / "patches")).begin({"command": "embed", "pooling": "patches"})
    assert main(["map", str(tmp_path / "patches"), *output]) == 1
    assert "embed with --pool cls or mean" in capsys.readouterr().err
    ParquetDataset(str(tmp_path / "empty")).begin({"command": "embed", "pooling": "cls"})
    assert main(["map", str(tmp_path / "empty"), *output]) == 1
    assert "has no photos with vectors yet" in capsys.readouterr().err
