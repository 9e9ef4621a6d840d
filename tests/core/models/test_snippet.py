"""Where “Copy as Python” has its weights from."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.small_vits import in_precision, small_vit
from vitdemo.core.config import Settings
from vitdemo.core.models.snippet import model_line, weights_of


def test_the_operators_file_is_named_without_its_folder_and_for_its_own_model_alone():
    settings = Settings(model="vit_tiny_patch16_224", checkpoint=Path("/srv/private/mine.safetensors"))
    assert weights_of("vit_tiny_patch16_224", small_vit(), settings) == {"bundle": False, "checkpoint": "mine.safetensors"}
    assert weights_of("vit_small_patch16_224", small_vit(), settings) == {"bundle": False, "checkpoint": ""}


@pytest.mark.parametrize("asked", ["local-dir:mine", "local-dir:mine@bf16", "@bf16", ""])
def test_the_operators_folder_under_the_name_that_visitors_know(asked):
    settings = Settings(model="local-dir:/srv/private/mine", checkpoint=Path("/srv/private/other.safetensors"))
    assert weights_of(asked, small_vit(), settings) == {"bundle": True, "checkpoint": "other.safetensors"}


def test_folders_and_the_demo_model_are_bundles():
    assert weights_of("local-dir:/srv/mine", small_vit(), Settings())["bundle"]
    assert weights_of("own:ab12", small_vit(), Settings())["bundle"]  # fine-tuned here, and downloaded
    assert weights_of("auto", replace(small_vit(), name="demo"), Settings())["bundle"]
    assert not weights_of("auto", small_vit(), Settings())["bundle"]


def test_a_lower_precision_is_told():
    vit = small_vit()
    plain, lower = (model_line(each, each.preprocessing) for each in (vit, in_precision(vit, "bf16")))
    assert lower == f"{plain}  # timm computes in fp32, the app in bf16: the numbers differ a little"
    settings = Settings(model="vit_tiny_patch16_224", checkpoint=Path("/srv/mine.safetensors"))
    assert weights_of("vit_tiny_patch16_224@bf16", vit, settings)["checkpoint"] == "mine.safetensors"
    assert weights_of("@bf16", vit, settings)["checkpoint"] == "mine.safetensors"
    assert not weights_of("vit_small_patch16_224@bf16", vit, settings)["checkpoint"]
