"""What `classify --engine ray` asks of the bulk work, without Ray: its network, its tables, and what it notes of the folder."""

import argparse
from types import SimpleNamespace

import pytest
import torch

from vitdemo.classify import ray
from vitdemo.classify.ray import Classifying
from vitdemo.core.bulk import command as bulk
from vitdemo.core.config import Settings
from vitdemo.core.models.fingerprint import key_of


def test_the_network_gives_the_logits(vit):
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (found,) = Classifying(3).network(vit)(images)
        torch.testing.assert_close(found, vit.module(images))


def test_a_table_has_the_top_classes_or_the_reason(vit):
    logits = torch.tensor([0.0, 3.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    outputs = [
        SimpleNamespace(item=SimpleNamespace(name="a.png", folder="boat"), sha256="1", error=None, outputs=(logits,)),
        SimpleNamespace(item=SimpleNamespace(name="b.png", folder=""), sha256="2", error="damaged", outputs=()),
    ]
    good, bad = Classifying(2).table(vit, outputs).to_pylist()
    assert (good["path"], good["sha256"], good["error"], good["labels"]) == ("a.png", "1", None, ["boat", "door"])
    assert good["probabilities"] == pytest.approx(logits.softmax(-1)[[1, 3]].tolist(), abs=1e-6)
    assert (bad["path"], bad["sha256"], bad["error"]) == ("b.png", "2", "damaged")
    assert not bad["labels"]
    assert (good["folder"], good["true_class"], good["correct"]) == ("boat", "boat", True)
    assert (good["label_conflict"], good["duplicate_of"], bad["correct"]) == (None, None, None)  # nobody has looked for copies


def test_the_folder_tells_what_made_it(vit, monkeypatch):
    monkeypatch.setattr(bulk, "run", lambda flags, prepare: prepare(vit, Settings()))
    key = key_of(vit, vit.preprocessing)
    assert ray.run(argparse.Namespace(top=4)) == (Classifying(4), {"command": "classify", "model": vit.name, "top": 4, "key": key})
