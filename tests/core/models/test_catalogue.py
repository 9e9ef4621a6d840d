"""The catalogue against timm: what it says of each model is so."""

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from vitdemo.core.config import DEFAULT_MODEL, DEMO_MODEL
from vitdemo.core.models import loader
from vitdemo.core.models.catalogue import CATALOGUE, find

ON_THE_HUB = [each for each in CATALOGUE if each.name != DEMO_MODEL]


@pytest.mark.parametrize("entry", ON_THE_HUB, ids=lambda entry: entry.name)
def test_entry_is_true(entry):
    assert entry.name in timm.list_pretrained()
    with torch.device("meta"):
        model = timm.create_model(entry.name)
    assert type(model) is VisionTransformer
    assert sum(each.numel() for each in model.parameters()) / 1e6 == pytest.approx(entry.millions, abs=0.1)
    assert model.num_classes == entry.classes
    assert entry.megabytes * 1e6 == pytest.approx(sum(each.numel() * 4 for each in model.parameters()), rel=0.01)


@pytest.mark.parametrize("entry", ON_THE_HUB, ids=lambda entry: entry.name)
def test_weights_are_on_the_hub_as_safetensors(entry):
    config = timm.get_pretrained_cfg(entry.name)
    assert config.hf_hub_id == f"timm/{entry.name}"
    assert config.hf_hub_filename in (None, "model.safetensors")  # None: timm's and our own default is model.safetensors


def test_the_demo_entry_is_true():
    entry, model = find(DEMO_MODEL), loader.skeleton(DEMO_MODEL)
    assert sum(each.numel() for each in model.parameters()) / 1e6 == pytest.approx(entry.millions, abs=0.1)
    assert model.num_classes == entry.classes


def test_order_and_names():
    names = [each.name for each in CATALOGUE]
    assert names[0] == DEFAULT_MODEL
    assert len(set(names)) == len(names)
    assert len({each.title for each in CATALOGUE}) == len(names)
    assert all("." in each.name for each in ON_THE_HUB)  # with its tag: otherwise timm's default could change under us


def test_find():
    assert all(find(each.name) is each for each in CATALOGUE)
    assert find("resnet50") is find("") is find(DEFAULT_MODEL.split(".")[0]) is None
