"""What `embed --engine ray` asks of the bulk work, without Ray: the network of each task, its tables, and what it notes of the folder."""

import argparse
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vitdemo.core.bulk import command as bulk
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models.fingerprint import key_of
from vitdemo.embeddings import ray
from vitdemo.embeddings.ray import EmbeddingTask

IMAGES = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_the_network_gives_one_vector_a_photo(vit):
    with torch.inference_mode():
        tokens = vit.module.forward_features(IMAGES)
        second = vit.module.get_intermediate_layers(IMAGES, n=[1], return_prefix_tokens=True)[0][0]
        for layer, pooling, expected in (
            ("final", "cls", tokens[:, 0]),
            ("final", "mean", tokens[:, 1:].mean(1)),
            (2, "mean", second.mean(1)),
            ("final", "patches", tokens[:, 1:].unflatten(1, (14, 14))),
        ):
            (found,) = EmbeddingTask(layer, pooling).network(vit)(IMAGES)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_network_refuses_what_the_model_does_not_have(vit):
    with pytest.raises(ValueError, match=r"."):
        EmbeddingTask(9, "cls").network(vit)
    with pytest.raises(ValueError, match=r"."):
        EmbeddingTask("final", "max").network(vit)


def output(name: str, vector: list[float], error: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        item=SimpleNamespace(name=name, shown=name), sha256=f"hash of {name}", error=error, outputs=(torch.tensor(vector),)
    )


def test_a_table_has_a_row_a_file_and_no_vector_that_is_none(vit):
    outputs = [output("a.png", [1.0, 2.0]), output("b.png", [0.0, 0.0], "damaged"), output("c.png", [1.0, float("nan")])]
    table = EmbeddingTask(2, "mean").table(vit, outputs)
    rows = table.to_pylist()
    assert [row["path"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert [row["sha256"] for row in rows] == [f"hash of {name}" for name in ("a.png", "b.png", "c.png")]
    assert rows[0]["embedding"] == [1.0, 2.0]
    assert [row["embedding"] for row in rows[1:]] == [None, None]
    assert (rows[0]["error"], rows[1]["error"]) == (None, "damaged")
    assert "c.png" in rows[2]["error"]
    assert {(row["model"], row["layer"], row["pooling"]) for row in rows} == {(vit.name, "2", "mean")}
    assert np.asarray(rows[0]["embedding"], np.float32).dtype == np.float32


def test_the_folder_tells_what_made_it(vit, monkeypatch):
    monkeypatch.setattr(bulk, "run", lambda flags, prepare: prepare(vit, Settings()))
    task, about = ray.run(argparse.Namespace(layer="2", pool="cls"))
    assert task == EmbeddingTask(2, "cls")
    key = key_of(vit, vit.preprocessing)
    assert about == {"command": "embed", "model": vit.name, "layer": "2", "pooling": "cls", "key": key}
    assert ray.run(argparse.Namespace(layer="final", pool="patches"))[0] == EmbeddingTask("final", "patches")
    for wrong in ({"layer": "4", "pool": "cls"}, {"layer": "final", "pool": "max"}):
        with pytest.raises(UserError):
            ray.run(argparse.Namespace(**wrong))
