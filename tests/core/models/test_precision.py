"""Models in bf16 and fp16: close to fp32 for every family, with logits in fp32 and the weights of the head as they were."""

import copy
from collections import Counter

import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.small_vits import FAMILIES, images, in_precision, small_vit, write_family
from vitdemo.core.config import Settings
from vitdemo.core.models import loader
from vitdemo.core.models.precision import DTYPES, unrounded

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, tmp_path_factory):
    """A model of each family, loaded in fp32 and in bf16."""
    folder = write_family(tmp_path_factory.mktemp("family") / "m", request.param)
    return [loader.load(f"local-dir:{folder}", Settings(), CPU, lambda _: None, precision=precision) for precision in ("fp32", "bf16")]


def test_every_family_answers_alike(pair):
    exact, lower = pair
    batch = images(2, *exact.preprocessing.size)
    with torch.inference_mode():
        expected, found = exact.logits(batch), lower.logits(batch)
    assert found.dtype == torch.float32
    error = float((found - expected).abs().max() / expected.abs().max())
    assert 0 < error < 0.03  # bf16 keeps 8 bits; .017 at most


class Operators(TorchDispatchMode):
    """Counts the operators that torch runs."""

    def __init__(self):
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.counts[str(operator)] += 1
        return operator(*args, **(kwargs or {}))


def test_a_pass_runs_timms_operators_and_a_few_casts_more(pair):
    """What it costs beside timm's own model with bf16 weights: casts before the embedding and each head, and those of rotary positions."""
    exact, lower = pair
    batch = images(1, *exact.preprocessing.size)
    timms = copy.deepcopy(exact.module).bfloat16()
    with torch.no_grad(), Operators() as ours:
        lower.logits(batch)
    with torch.no_grad(), Operators() as theirs:
        timms(batch.bfloat16())
    assert (ours.counts - theirs.counts).keys() == {"aten._to_copy.default"}
    assert (ours.counts - theirs.counts).total() <= 6
    assert not theirs.counts - ours.counts


def test_half_the_memory(pair):
    exact, lower = pair
    assert (exact.precision, lower.precision) == ("fp32", "bf16")
    assert 0.5 < lower.bytes / exact.bytes < 0.51
    assert {weight.dtype for weight in exact.module.parameters()} == {torch.float32}


def test_head_norms_and_rotary_positions_stay_in_fp32(pair):
    exact, lower = pair
    own = exact.module.state_dict()
    kept = {name for name, value in lower.module.state_dict().items() if value.dtype == torch.float32}
    assert all(torch.equal(own[name], lower.module.state_dict()[name]) for name in kept)
    assert {name for name in own if name.split(".")[0] == "head"} <= kept
    assert not [name for name in kept if name.endswith(("qkv.weight", "fc1.weight", "fc2.weight", "proj.weight"))]
    assert all(buffer.dtype == torch.float32 for name, buffer in lower.module.named_buffers() if name.startswith("rope"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_file_in_half_precision_keeps_what_it_holds(precision, tmp_path):
    """The head of a file in fp16 has the file's very numbers, in fp32."""
    folder = write_family(tmp_path / "m", "ViT")
    halved = loader.load(f"local-dir:{folder}", Settings(), CPU, lambda _: None)
    save_file({name: value.half() for name, value in halved.module.state_dict().items()}, folder / "model.safetensors")
    vit = loader.load(f"local-dir:{folder}", Settings(), CPU, lambda _: None, precision=precision)
    assert vit.module.head.weight.dtype == torch.float32
    assert torch.equal(vit.module.head.weight, halved.module.head.weight.half().float())
    assert vit.module.blocks[0].attn.qkv.weight.dtype == DTYPES[precision]


def test_unrounded_has_the_rounded_weights_in_fp32():
    vit = small_vit()
    assert unrounded(vit) is vit
    lower = in_precision(vit, "bf16")
    found = unrounded(lower)
    assert found.precision == "fp32"
    assert found.module is not lower.module
    assert torch.equal(found.module.blocks[1].mlp.fc1.weight, vit.module.blocks[1].mlp.fc1.weight.bfloat16().float())
    assert lower.module.blocks[1].mlp.fc1.weight.dtype == torch.bfloat16
    with torch.inference_mode():
        assert torch.equal(found.logits(images()), found.module.float()(images()))


def test_fp32_is_the_plain_model():
    vit = small_vit()
    same = in_precision(vit, "fp32")
    assert not any(part._forward_pre_hooks for part in same.module.modules())
    with torch.inference_mode():
        assert torch.equal(same.logits(images()), vit.module(images()))


def test_the_room_announced_is_the_precisions(tmp_path):
    folder, wanted = write_family(tmp_path / "m", "ViT"), []
    for precision in ("fp32", "bf16"):
        loader.load(f"local-dir:{folder}", Settings(), CPU, lambda _: None, wanted.append, precision=precision)
    assert wanted[0] == 2 * wanted[1]


def test_the_file_may_be_replaced_while_the_model_is_in_use(tmp_path):
    folder = write_family(tmp_path / "m", "ViT")
    vit = loader.load(f"local-dir:{folder}", Settings(), CPU, lambda _: None, precision="bf16")
    before = {name: value.clone() for name, value in vit.module.state_dict().items()}
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(bytes((folder / "model.safetensors").stat().st_size))
    assert all(torch.equal(value, before[name]) for name, value in vit.module.state_dict().items())
