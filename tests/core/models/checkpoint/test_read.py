"""Checkpoints as people have them: what opens, what is said of it, and what is refused, a row of the table in docs/models.md each."""

import json
import os
import random
import re
import struct

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.layers import SwiGLUPacked

from tests.support.layouts import WRAPPERS, as_torchvision, as_vit, save, write_shards
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models import loader
from vitdemo.core.models.checkpoint.read import read
from vitdemo.core.models.vit import Vit

NAME = "vit_tiny_patch16_224"
ROUNDS = int(os.environ.get("VITDEMO_FUZZ", 200)) // 8
SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 3}


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    module = timm.create_model(NAME, num_classes=8, **SMALL).eval()
    for each in module.parameters():
        each.data += 0.1 * torch.randn_like(each)
    return module


@pytest.fixture(scope="module")
def state(module) -> dict[str, torch.Tensor]:
    return module.state_dict()


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def small(monkeypatch, module):
    """The named architecture is small, so that each test takes no time."""
    from vitdemo.core.models import adapter

    real = timm.create_model
    monkeypatch.setattr(adapter.timm, "create_model", lambda name, **more: real(name, **(SMALL | {"num_classes": 8} | more)))


def load(path, **settings) -> Vit:
    return loader.load(NAME, Settings(model=NAME, checkpoint=path, **settings), torch.device("cpu"), lambda _: None)


def refusal(path) -> str:
    with pytest.raises(UserError) as refused:
        load(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def answers_as(vit: Vit, module, batch) -> bool:
    with torch.inference_mode():
        return torch.equal(vit.logits(batch), module(batch))


def test_timms_own_names(state, module, batch, tmp_path):
    vit = load(save(state, tmp_path / "a.safetensors"))
    assert answers_as(vit, module, batch)
    assert (vit.notes, vit.plain) == ((), True)


@pytest.mark.parametrize(("kind", "said"), [(torch.float16, "fp16"), (torch.bfloat16, "bf16"), (torch.float64, "fp64")])
def test_another_precision_is_said(state, kind, said, tmp_path):
    vit = load(save({name: value.to(kind) for name, value in state.items()}, tmp_path / "a.safetensors"))
    assert vit.notes == (f"Weights are {said} in the file.",)
    assert torch.equal(vit.module.state_dict()["head.weight"], state["head.weight"].to(kind).float())
    assert vit.introduction.endswith(f"weights from the file given at the start. Weights are {said} in the file.")


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_comes_off_and_is_named(state, module, batch, wrapper, tmp_path):
    vit = load(save({wrapper + name: value for name, value in state.items()}, tmp_path / "a.safetensors"))
    assert answers_as(vit, module, batch)
    assert vit.notes == (f"Took “{wrapper}” off the tensors' names.",)
    assert not vit.plain


@pytest.mark.parametrize("suffix", ["pth", "bin", "txt"])
def test_content_decides_and_not_the_suffix(state, module, batch, suffix, tmp_path):
    assert answers_as(load(save(state, tmp_path / f"a.{suffix}")), module, batch)


@pytest.mark.parametrize(
    ("averaged", "plain"),
    [
        ("state_dict_ema.", "state_dict."),
        ("model_ema.", "model."),
        ("teacher.backbone.", "student.backbone."),
        ("ema.module.", "net."),
        ("ema_model.", "semantic."),
    ],
)
def test_averaged_weights_are_told_from_plain_ones(state, module, batch, averaged, plain, tmp_path):
    both = {averaged + name: value for name, value in state.items()} | {plain + name: 0 * value for name, value in state.items()}
    vit = load(save(both, tmp_path / "a.safetensors"))
    assert answers_as(vit, module, batch)
    assert vit.notes == (f"Took the averaged weights, “{averaged}”, and left the others, “{plain}”.",)


def test_several_models_are_not_chosen_from(state, tmp_path):
    both = {f"{which}.{name}": value for which in ("first", "second") for name, value in state.items()}
    assert refusal(save(both, tmp_path / "a.safetensors")) == (
        "a.safetensors holds several models (first., second.): save the one that you mean alone."
    )


def test_two_towers_in_one_wrapper_are_one_model(state, module, batch, tmp_path):
    """As Lightning saves CLIP: the text tower has a layout too, and is left aside."""
    text = {f"model.text_model.encoder.layers.{number}.self_attn.q_proj.weight": torch.ones(2, 2) for number in range(3)}
    vit = load(save({f"model.{name}": value for name, value in as_vit(state).items()} | text, tmp_path / "a.safetensors"))
    assert answers_as(vit, module, batch)
    assert vit.notes[:2] == ("Converted from Hugging Face's layout.", "Took “model.” off the tensors' names.")


def test_what_stands_beside_the_wrapped_model(state, module, batch, tmp_path):
    """A head that was trained on it belongs to it; a projection of the pretraining does not."""
    body = {f"backbone.{name}": value for name, value in state.items() if not name.startswith("head.")}
    head = {name: value for name, value in state.items() if name.startswith("head.")}
    vit = load(save(body | head | {"projection.weight": torch.ones(3, 3)}, tmp_path / "a.safetensors"))
    assert answers_as(vit, module, batch)
    assert vit.notes == ("Took “backbone.” off the tensors' names.", "Left aside projection.weight.")


def test_a_tower_of_a_larger_model_is_not_taken_for_the_whole(state, tmp_path):
    rest = {f"language.{number}.weight": torch.ones(2) for number in range(len(state))}
    assert "does not fit the model" in refusal(save({f"vision.{n}": v for n, v in state.items()} | rest, tmp_path / "a.safetensors"))


def test_another_head_brings_its_classes(state, tmp_path):
    head = {"head.weight": torch.randn(10, 48), "head.bias": torch.randn(10)}
    path = save(state | head, tmp_path / "a.safetensors")
    vit = load(path)
    assert [label.name for label in vit.labels] == [f"class {index}" for index in range(10)]
    assert vit.notes == ("The file's head has 10 classes, not the 8 of the model that was named.",)
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij"))
    assert "".join(label.name for label in load(path, labels=tmp_path / "names.txt").labels) == "abcdefghij"


def test_imagenets_names_are_for_imagenets_head_alone(state, tmp_path):
    head = {"head.weight": torch.randn(1000, 48), "head.bias": torch.randn(1000)}
    assert load(save(state | head, tmp_path / "a.safetensors")).labels[7].name == "class 7"


def test_no_head_gives_features(state, module, batch, tmp_path):
    vit = load(save({name: value for name, value in state.items() if not name.startswith("head.")}, tmp_path / "a.safetensors"))
    assert vit.labels == ()
    assert vit.notes == ("The file has no head: the model gives features.",)
    with torch.inference_mode():
        assert torch.equal(vit.logits(batch), module.forward_head(module.forward_features(batch), pre_logits=True))


@pytest.mark.parametrize("registers", [0, 4])
def test_what_a_config_leaves_out_the_tensors_show(registers, batch, tmp_path):
    """Layer scales, gated layers and registers, as UNI 2 and Virchow have them: their configs say none of it."""
    torch.manual_seed(0)
    own = {"init_values": 0.1, "mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU, "mlp_ratio": 5.5, "reg_tokens": registers}
    theirs = timm.create_model(NAME, num_classes=8, **SMALL, **own, no_embed_class=registers > 0).eval()
    for each in theirs.parameters():
        each.data += 0.1 * torch.randn_like(each)
    vit = load(save(theirs.state_dict(), tmp_path / "a.safetensors"))
    assert answers_as(vit, theirs, batch)
    words = ", ".join(["init_values", "mlp_layer", "act_layer", "mlp_ratio", *["reg_tokens", "no_embed_class"] * (registers > 0)])
    assert vit.notes == (f"Built with {words}, as the tensors show.",)
    assert not vit.adapter.has_config


def test_resampled_positions_are_said(state, tmp_path):
    vit = load(save(state | {"pos_embed": torch.randn(1, 1 + 24 * 24, 48)}, tmp_path / "a.safetensors"))
    assert vit.notes == ("Positions resampled from 24×24 to 14×14.",)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8])
def test_8_bit_weights_without_their_scales(state, kind, tmp_path):
    quantised = {name: value.to(kind) if value.ndim == 2 else value for name, value in state.items()}
    said = refusal(save(quantised, tmp_path / "a.safetensors"))
    assert said.startswith("a.safetensors holds 8-bit weights without their scales (")
    assert said.endswith("): export in fp16 or fp32.")
    scaled = quantised | {"head.weight_scale": torch.ones(1)}
    assert "which this app does not scale back: export in fp16 or fp32." in refusal(save(scaled, tmp_path / "a.safetensors"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(state, value, tmp_path):
    said = refusal(save(state | {"norm.bias": torch.full((48,), value)}, tmp_path / "a.safetensors"))
    assert said == "a.safetensors holds values that are no numbers, in norm.bias: download or export it again."


def test_other_layouts_are_converted(state, module, batch, tmp_path):
    for layout, writer in (("Hugging Face", as_vit), ("torchvision", as_torchvision)):
        for wrapper in ("", "module."):
            tensors = {wrapper + name: value for name, value in writer(state).items()}
            vit = load(save(tensors, tmp_path / "a.safetensors"))
            assert answers_as(vit, module, batch)
            assert vit.notes[0] == f"Converted from {layout}'s layout."
            assert not vit.plain


def test_a_layout_that_the_named_model_has_not(state, tmp_path, monkeypatch):
    path = save(as_vit(state), tmp_path / "a.safetensors")
    for name in ("naflexvit_base_patch16_gap", "eva02_tiny_patch14_336", "beit_base_patch16_224", "vit_relpos_small_patch16_224"):
        with pytest.raises(UserError, match=r"can.t be laid out as this model|does not fit the model"):
            loader.load(name, Settings(model=name, checkpoint=path), torch.device("cpu"), lambda _: None)


def test_shards_are_read_by_their_index(state, module, batch, tmp_path):
    index = write_shards(tmp_path, state)
    for path in (index, tmp_path):
        assert answers_as(load(path), module, batch)
    part = tmp_path / "model-00002-of-00003.safetensors"
    assert refusal(part) == f"{part.name} is one part of several: give the folder with model.safetensors.index.json."
    part.unlink()
    assert refusal(tmp_path) == f"{index.name} names {part.name}, which is not in its folder: download that part too."


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"weight_map": 3}', b'{"weight_map": {}}', b'{"weight_map": {"a": "../a.safetensors"}}', b"[" * 99_999]
)
def test_an_index_that_is_none(content, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    assert refusal(tmp_path) == "model.safetensors.index.json is no index of SafeTensors files: download or export the model again."


def test_an_index_that_promises_too_much(state, tmp_path):
    index = write_shards(tmp_path, state)
    places = json.loads(index.read_text())
    places["weight_map"]["more"] = "model-00001-of-00003.safetensors"
    index.write_text(json.dumps(places))
    assert refusal(tmp_path) == f"{index.name} promises more, which is in none of its files: download or export the model again."


def test_scalars_of_a_training_are_left_aside(state, module, batch, tmp_path):
    beside = {"optimizer.step": torch.tensor(7.0), "ema_decay": torch.tensor(0.999)}
    vit = load(save(state | beside, tmp_path / "a.safetensors"))
    assert answers_as(vit, module, batch)
    assert vit.notes == ("Left aside ema_decay, optimizer.step.",)


def test_a_lora_adapter(tmp_path):
    names = ("base_model.model.blocks.0.attn.qkv.lora_A.weight", "base_model.model.blocks.0.attn.qkv.lora_B.weight")
    assert refusal(save({name: torch.ones(2, 2) for name in names}, tmp_path / "a.safetensors")) == (
        "a.safetensors is a LoRA adapter, which changes a model but is none: merge it and save the whole model."
    )


def test_tensors_stay_when_their_file_goes(state, tmp_path):
    path = save(state, tmp_path / "a.safetensors")
    found, kept = read(path).state["cls_token"], state["cls_token"].clone()
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(found, kept)


def opened(path) -> Vit | None:
    """What opens; None for a file that is refused with a sentence. Anything else fails the test."""
    try:
        return load(path)
    except UserError as error:
        assert re.fullmatch(r"[^\n]+\.", str(error))  # noqa: PT017 (most of these files are refused, and some may open)
        return None


def test_random_files_get_an_answer_or_a_sentence(state, module, batch, tmp_path):
    """Layouts, names, wrappers, shapes and types changed at random. Every tensor of a model that opens is one of the file's."""
    rng, answered = random.Random(1), 0
    kinds = [torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64]
    for _ in range(ROUNDS):
        tensors, harmless = dict(rng.choice((dict, dict, as_vit, as_torchvision))(state)), True
        if rng.random() < 0.5:
            wrapper = rng.choice((*WRAPPERS, "a.b.", "blocks.", "vit.", "encoder.", "x", "visual."))
            tensors = {wrapper + name: value for name, value in tensors.items()}
        for _ in range(rng.choice((0, 0, 1, 3))):
            name, harmless = rng.choice(list(tensors)), False
            match rng.randrange(5):
                case 0:
                    tensors[name] = tensors[name].to(rng.choice(kinds))
                case 1:
                    tensors[name] = torch.zeros([rng.randrange(5) for _ in range(rng.randrange(5))])
                case 2:
                    tensors[name + rng.choice(".x")] = tensors.pop(name)
                case 3:
                    del tensors[name]
                case 4:
                    tensors[rng.choice(("mask_token", "head.weight", "optimizer", "lora_A", "embeddings.cls_token", ""))] = tensors[name]
        if vit := opened(save(tensors, tmp_path / "a.safetensors")):
            answered += 1
            held = [part.float() for value in tensors.values() for part in (value, *(value.chunk(3) if value.ndim else ()))]
            for name, value in vit.module.state_dict().items():
                parts = value.chunk(3) if ".qkv." in name else (value,)
                assert all(any(torch.equal(part, other) for other in held) for part in parts), name
            assert not harmless or answers_as(vit, module, batch)
    assert ROUNDS // 10 < answered < ROUNDS


def test_random_headers_get_a_sentence_or_the_same_tensors(state, tmp_path):
    rng, path = random.Random(2), tmp_path / "a.safetensors"
    whole = save(state, path).read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    for _ in range(ROUNDS):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(8 + length)] = rng.randrange(256)
        path.write_bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))])
        if vit := opened(path):
            theirs = load_file(path)
            for name, value in vit.module.state_dict().items():
                assert any(torch.equal(other.float(), value) for other in theirs.values()), name
