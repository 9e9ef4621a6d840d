"""The catalogue against timm: what it says of each model is so."""

import pytest
import timm

from vitdemo.core.config import DEFAULT_MODEL, DEMO_MODEL
from vitdemo.core.models import loader
from vitdemo.core.models.adapter import Adapter
from vitdemo.core.models.catalogue import CATALOGUE, LICENCES, find
from vitdemo.core.models.labels import labels_of
from vitdemo.core.photos.preprocessing import Preprocessing

PREFIX = {  # words → number of prefix tokens, whether there is a CLS token
    "CLS": (1, True),
    "CLS, distillation": (2, True),
    "CLS, 4 registers": (5, True),
    "4 registers": (4, False),
    "none": (0, False),
}
ON_THE_HUB = [each for each in CATALOGUE if each.name != DEMO_MODEL]


@pytest.mark.parametrize("entry", ON_THE_HUB, ids=lambda entry: entry.name)
def test_entry_is_true(entry):
    assert entry.name in timm.list_pretrained()
    model = loader.skeleton(entry.name)
    adapter, config = Adapter(model), timm.get_pretrained_cfg(entry.name)
    assert sum(each.numel() for each in model.parameters()) / 1e6 == pytest.approx(entry.millions, abs=0.1)
    labels = labels_of(model.num_classes, model.pretrained_cfg)
    assert entry.classes == (len(labels) if labels and labels[0].synset else 0)
    assert (entry.size, entry.size) == Preprocessing.of(model).size
    assert (entry.grid, entry.grid) == adapter.grid((entry.size, entry.size))
    assert PREFIX[entry.prefix] == (adapter.prefix, adapter.has_cls)
    assert entry.licence == config.license
    assert entry.licence in LICENCES
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
    assert Adapter(model).grid((entry.size, entry.size)) == (entry.grid, entry.grid)
    assert PREFIX[entry.prefix] == (Adapter(model).prefix, Adapter(model).has_cls)


def test_licences():
    """A licence of a model's own is shown before the download; the usual open-source licences need no asking."""
    own = {each.title: each.terms for each in CATALOGUE if each.terms}
    terms = "https://ai.meta.com/resources/models-and-libraries/dinov3-license/"
    assert own == {"DINOv3-S/16": terms, "DINOv3-B/16": terms, "DINOv3-L/16 satellite": terms}


def test_order_and_names():
    names = [each.name for each in CATALOGUE]
    assert names[0] == DEFAULT_MODEL
    assert len(set(names)) == len(names)
    assert len({each.title for each in CATALOGUE}) == len(names)
    assert all("." in each.name for each in ON_THE_HUB)  # with its tag: otherwise timm's default could change under us


def test_find():
    assert all(find(each.name) is each for each in CATALOGUE)
    assert find("resnet50") is find("") is find(DEFAULT_MODEL.split(".")[0]) is None
