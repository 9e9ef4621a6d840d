"""The Preprocessing accordion: what the dropdowns' values become, and what is said of them."""

from dataclasses import replace

import pytest
import torch

from tests.support.small_vits import write_family
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models import loader
from vitdemo.ui.components.preprocessing_panel import OWN, about, fit_sizes, overridden

UNTOUCHED = (OWN,) * 6


def test_the_models_own(vit):
    assert overridden(vit, UNTOUCHED, 518) == vit.preprocessing
    assert "colour profiles ignored" in " ".join(about(vit.preprocessing, vit.preprocessing).split())


@pytest.mark.parametrize("icc", ["ignore", "convert"])
def test_colour_profiles(vit, icc):
    found = overridden(vit, (*UNTOUCHED[:5], icc), 518)
    assert found == replace(vit.preprocessing, icc=icc)
    assert ("colour profile" in about(found, vit.preprocessing).split("The model")[0]) == (icc == "convert")


def test_a_model_that_learned_from_converted_colours(vit):
    own = replace(vit, preprocessing=replace(vit.preprocessing, icc="convert"))
    assert overridden(own, UNTOUCHED, 518).icc == "convert"
    assert "converted to sRGB" in about(own.preprocessing, own.preprocessing)


@pytest.mark.parametrize("place", range(6))
def test_values_that_are_on_no_list(vit, place):
    with pytest.raises(UserError, match="choose from the lists"):
        overridden(vit, (*UNTOUCHED[:place], "anything", *UNTOUCHED[place + 1 :]), 518)


def test_a_model_of_one_size(vit, tmp_path):
    """No size is offered where relative positions fit one grid only, and one that is sent all the same is refused."""
    beit = loader.load(f"local-dir:{write_family(tmp_path, 'BEiT')}", Settings(), torch.device("cpu"), lambda _: None)
    for model, offered in ((vit, [OWN, "112", "160", "224"]), (beit, [OWN])):
        update, values = fit_sizes(model, ("112", *UNTOUCHED[1:]), 224)
        assert update["choices"] == offered
        assert values == (offered[1] if offered[1:] else OWN, *UNTOUCHED[1:])
    with pytest.raises(UserError, match="This model takes 64×64 pixels only, which its relative positions fit"):
        overridden(beit, ("112", *UNTOUCHED[1:]), 224)
    assert overridden(beit, ("64", *UNTOUCHED[1:]), 224).size == (64, 64)
