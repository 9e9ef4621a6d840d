"""Loading models: timm's own numbers, bundles, and a sentence for everything that is not a plain ViT with fitting weights."""

import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import timm.data
import torch
from safetensors.torch import load_file, save_file
from timm.models import VisionTransformer
from timm.models import vision_transformer as timm_vit

from tests.support.apps import TINY
from tests.support.pictures import noise
from vitdemo.core.config import DEFAULT_MODEL, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models import loader
from vitdemo.core.models.adapter import FAMILIES
from vitdemo.core.models.vit import Vit
from vitdemo.core.models.weights import HubUnreachable, LoadProgress
from vitdemo.core.photos.preprocessing import Preprocessing

CPU = torch.device("cpu")


def load(name: str, checkpoint: Path | None = None) -> Vit:
    return loader.load(name, Settings(model=name, checkpoint=checkpoint), CPU, lambda _: None)


def refusal(name: str, checkpoint: Path | None = None) -> str:
    """The sentence with which a model is refused."""
    with pytest.raises(UserError) as refused:
        load(name, checkpoint)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing here may need the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def timm_tiny(tiny_checkpoint) -> VisionTransformer:
    """The real ViT-Tiny, loaded by timm."""
    return timms(tiny_checkpoint)


def timms(file: Path, **options) -> VisionTransformer:
    return timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay={"file": str(file), "custom_load": False}, **options).eval()


@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    """A bundle to be spoilt."""
    return shutil.copytree(bundle, tmp_path / "copy")


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_logits_are_timms(real_tiny, timm_tiny, batch):
    with torch.inference_mode():
        assert torch.equal(real_tiny.logits(batch), timm_tiny(batch))


def test_what_a_loaded_model_is(real_tiny, timm_tiny):
    assert real_tiny.name == TINY
    assert real_tiny.parameters == sum(each.numel() for each in timm_tiny.parameters()) == 5_717_416
    assert real_tiny.bytes == 4 * 5_717_416
    assert real_tiny.patch == (16, 16)
    assert real_tiny.preprocessing == Preprocessing((224, 224), 0.9, "center", "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert len(real_tiny.labels) == 1000
    assert not real_tiny.module.training
    assert not any(each.requires_grad for each in real_tiny.module.parameters())


@pytest.mark.parametrize("size", [288, 160])
def test_other_image_size_is_timms(real_tiny, tiny_checkpoint, size):
    batch = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert (real_tiny.logits(batch) - timms(tiny_checkpoint, img_size=size)(batch)).abs().max() < 1e-4


def test_vit_b_16_is_timms(batch):
    if not loader.is_cached(DEFAULT_MODEL):
        pytest.skip(f"{DEFAULT_MODEL} is not in the hub cache on this machine")
    vit, reference = load(DEFAULT_MODEL), timm.create_model(DEFAULT_MODEL, pretrained=True).eval()
    assert vit.parameters == 86_567_656
    image = noise(500, 375)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(reference), is_training=False)
    with torch.inference_mode():
        assert torch.equal(vit.logits(batch), reference(batch))
        assert torch.equal(vit.logits(vit.preprocessing(image)[None]), reference(transform(image)[None]))


def test_progress_is_told(tiny_checkpoint):
    told = []
    loader.load(TINY, Settings(model=TINY, checkpoint=tiny_checkpoint), CPU, told.append)
    assert told == [LoadProgress("load")]


def test_checkpoint_is_for_the_operators_model_alone(tiny_checkpoint, monkeypatch, tmp_path):
    """Another name has its own weights to find, even where the operator's file would fit."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubUnreachable):
        loader.load("vit_tiny_patch16_384.augreg_in21k_ft_in1k", Settings(model=TINY, checkpoint=tiny_checkpoint), CPU, lambda _: None)


@pytest.mark.parametrize(("name", "licence"), [("vit_base_patch16_224.mae", "cc-by-nc-4.0"), (TINY, None)])
def test_a_licence_of_a_models_own_is_told_before_the_download(name, licence, monkeypatch, caplog):
    def fetch(repo, *_, **__):
        raise UserError(f"{len(caplog.messages)} told before {repo}.")

    monkeypatch.setattr(loader.weights, "fetch", fetch)
    assert refusal(name) == f"{1 if licence else 0} told before timm/{name}."
    said = f"timm/{name} comes under a licence of its own ({licence}): read it at https://huggingface.co/timm/{name}."
    assert caplog.messages == ([said] if licence else [])


# Bundles


def test_bundle_round_trip(vit, bundle, batch):
    reference = timm_vit.VisionTransformer(num_classes=8, depth=3, embed_dim=48, num_heads=3).eval()
    reference.load_state_dict(load_file(bundle / "model.safetensors"), strict=True)
    with torch.inference_mode():
        assert torch.equal(vit.logits(batch), reference(batch))
    assert [each.name for each in vit.labels] == ["apple", "boat", "cat", "door", "<b>egg</b>", "fish", "gate", "hat"]
    assert [each.index for each in vit.labels] == list(range(8))
    assert vit.name == bundle.name
    assert vit.parameters == sum(each.numel() for each in reference.parameters())


def test_bundle_brings_its_own_preprocessing(copy):
    config = json.loads((copy / "config.json").read_text())
    own = {"crop_pct": 1.0, "crop_mode": "border", "interpolation": "bilinear", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    config["pretrained_cfg"] |= own
    (copy / "config.json").write_text(json.dumps(config))
    expected = Preprocessing((224, 224), 1.0, "border", "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert load(f"local-dir:{copy}").preprocessing == expected


@pytest.mark.parametrize(
    ("own", "asked", "used"),
    [
        (None, "auto", "ignore"),
        ("convert", "auto", "convert"),
        ("convert", "ignore", "ignore"),
        (None, "convert", "convert"),
        (["x"], "auto", "ignore"),
    ],
)
def test_bundle_says_what_becomes_of_colour_profiles(copy, own, asked, used):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"icc": own}))
    loaded = loader.load(f"local-dir:{copy}", Settings(icc=asked), CPU, lambda _: None)
    assert loaded.preprocessing.icc == used
    timm.create_model(f"local-dir:{copy}", pretrained=True)  # passes it over


def test_bundle_in_half_precision_runs_in_single(copy, vit, batch):
    state = load_file(copy / "model.safetensors")
    save_file({key: value.half() for key, value in state.items()}, copy / "model.safetensors")
    half = load(f"local-dir:{copy}")
    assert {each.dtype for each in half.module.parameters()} == {torch.float32}
    with torch.inference_mode():
        assert (half.logits(batch) - vit.logits(batch)).abs().max() < 0.05  # half precision keeps 11 bits


def test_the_only_weights_file_of_a_bundle_may_have_any_name(copy, vit, batch):
    (copy / "model.safetensors").rename(copy / "best.safetensors")
    with torch.inference_mode():
        assert torch.equal(load(f"local-dir:{copy}").logits(batch), vit.logits(batch))
    shutil.copy(copy / "best.safetensors", copy / "last.safetensors")
    assert refusal(f"local-dir:{copy}") == f"{copy} has no model.safetensors: export the model again."


def test_weights_replaced_on_disk_do_not_change_a_loaded_model(copy, batch):
    loaded = load(f"local-dir:{copy}")
    with torch.inference_mode():
        before = loaded.logits(batch)
        file = copy / "model.safetensors"
        with file.open("r+b") as opened:  # in place: a mapped file would change under the model
            opened.write(bytes(file.stat().st_size))
            os.fsync(opened.fileno())
        assert torch.equal(loaded.logits(batch), before)
        file.unlink()
        assert torch.equal(loaded.logits(batch), before)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"null", b"[]", b"7", b"{}", b'{"architecture": null}', b'{"architecture": ["vit"]}', b"[" * 100_000],
    ids=lambda content: repr(content[:30]),
)
def test_config_that_is_no_config(copy, content):
    (copy / "config.json").write_bytes(content)
    assert refusal(f"local-dir:{copy}") == f"The config.json in {copy} can't be read: export the model in timm's layout."


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "resnet18"},
        {"architecture": "vit_tiny_patch16_225"},
        {"num_classes": "eight"},
        {"model_args": []},
        {"model_args": {"depth": "three", "embed_dim": 48, "num_heads": 3}},
        {"model_args": {"depth": 3, "embed_dim": 48, "num_heads": 5}},
        {"model_args": {"depth": 3, "embed_dim": 48, "num_heads": 3, "colour": "red"}},
        {"pretrained_cfg": None},
        {"pretrained_cfg": []},
        {"pretrained_cfg": {"interpolation": "by hand"}},
        {"pretrained_cfg": {"std": [0, 0, 0]}},
        {"label_names": 5},
        {"label_descriptions": ["no", "dictionary"]},
    ],
    ids=str,
)
def test_config_that_makes_no_model(copy, change):
    """Refused when it is loaded, and not by a fault on the first photo."""
    config = json.loads((copy / "config.json").read_text())
    if isinstance(change.get("pretrained_cfg"), dict):
        change = {"pretrained_cfg": config["pretrained_cfg"] | change["pretrained_cfg"]}
    (copy / "config.json").write_text(json.dumps(config | change))
    refusal(f"local-dir:{copy}")


def test_folder_that_is_no_bundle(copy, tmp_path):
    gone, empty = tmp_path / "gone", tmp_path / "empty"
    empty.mkdir()
    assert refusal(f"local-dir:{gone}") == f"There is no folder {gone}: give local-dir: and the path of a bundle."
    assert refusal(f"local-dir:{empty}") == f"{empty} has no config.json, so it is no bundle: export the model in timm's layout."
    assert refusal(f"local-dir:{copy / 'config.json'}").startswith("There is no folder ")
    assert refusal("local-dir:" + "a" * 300).startswith("There is no folder ")
    (copy / "config.json").unlink()
    (copy / "config.json").mkdir()
    refusal(f"local-dir:{copy}")


# Weights


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "name", ["weights.bin", "weights.pth", "weights.pt", "weights.ckpt", "weights.pkl", "weights.PTH", "weights.safetensors"]
)
def test_pickle_is_never_opened(tmp_path, name):
    torch.save({"head.weight": Trap(tmp_path / "sprung")}, tmp_path / name)
    said = refusal(TINY, tmp_path / name)
    assert said.startswith(f"{name} is a pickle, which can run code")
    assert not (tmp_path / "sprung").exists()
    torch.load(io.BytesIO((tmp_path / name).read_bytes()), weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap does not work, so this test shows nothing"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth"])
def test_bundle_with_only_a_pickle(copy, name):
    (copy / "model.safetensors").rename(copy / name)
    assert refusal(f"local-dir:{copy}") == (
        f"{copy} holds a pickle checkpoint only, which can run code when it is opened: if you trust it, run “python -m vitdemo convert "
        f"{copy / name} --output {copy / 'model.safetensors'}”."
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"no weights at all, just words",
        lambda data: b"<!DOCTYPE html><html><body>Sign in</body></html>",
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: (1 << 40).to_bytes(8, "little") + data[8:],
        lambda data: data.replace(b"F32", b"F99"),
        lambda data: data.replace(b"cls_token", b"cls_\xff\xfeken"),
    ],
    ids=["empty", "words", "html", "header cut", "byte short", "half", "huge header", "unknown type", "no text"],
)
def test_not_a_safetensors_file(copy, damage):
    file = copy / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    said = refusal(f"local-dir:{copy}")
    assert re.fullmatch(r"model\.safetensors is not a valid SafeTensors file \(.+\): download or export it again\.", said)


def test_missing_checkpoint(tmp_path):
    assert refusal(TINY, tmp_path / "gone.safetensors") == f"There is no weights file {tmp_path / 'gone.safetensors'}: check the path."


def spoilt(copy: Path, change: dict[str, torch.Tensor | None]) -> str:
    """What is said of the bundle with these tensors changed, or left out where None."""
    state = load_file(copy / "model.safetensors") | change
    save_file({key: value for key, value in state.items() if value is not None}, copy / "model.safetensors")
    return refusal(f"local-dir:{copy}")


def test_other_shape_names_the_layer_and_both_shapes(copy):
    assert spoilt(copy, {"blocks.1.mlp.fc1.weight": torch.zeros(64, 48)}) == (
        "model.safetensors does not fit the model: blocks.1.mlp.fc1.weight has shape 64×48 in the file and 192×48 in the model: "
        "name the model the file was made for."
    )


def test_checkpoint_of_a_larger_model(tmp_path):
    """Whichever layer is named, its two shapes are those of the two models."""
    small, tiny = timm.create_model("vit_small_patch16_224").state_dict(), timm.create_model(TINY).state_dict()
    save_file(small, tmp_path / "small.safetensors")
    said = re.fullmatch(
        r"small\.safetensors does not fit the model: (\S+) has shape (\S+) in the file and (\S+) in the model: "
        r"name the model the file was made for\.",
        refusal(TINY, tmp_path / "small.safetensors"),
    )
    layer, *shapes = said.groups()
    assert shapes == ["×".join(map(str, state[layer].shape)) for state in (small, tiny)]
    assert shapes[0] != shapes[1]


def test_checkpoint_of_another_patch_size_is_not_bent_to_fit(tmp_path):
    """timm would resample the patch embedding and answer, wrongly: ViT-S/32's file is no ViT-S/16."""
    save_file(timm.create_model("vit_small_patch32_224").state_dict(), tmp_path / "s32.safetensors")
    said = refusal("vit_small_patch16_224.augreg_in21k_ft_in1k", tmp_path / "s32.safetensors")
    assert "patch_embed.proj.weight" in said
    assert "384×3×32×32" in said
    assert "384×3×16×16" in said


def test_missing_and_extra_layers(copy):
    assert "it lacks head.bias: name the model" in spoilt(copy, {"head.bias": None})
    assert "the model has no head_dist.bias: name the model" in spoilt(
        copy, {"head.bias": torch.zeros(8), "head_dist.bias": torch.zeros(8)}
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pos_embed", (1, 51, 48)),  # 50 patches make no square
        ("pos_embed", (7,)),
        ("patch_embed.proj.weight", (7,)),
        ("model", (1,)),  # keys under which timm expects a whole state dict
        ("state_dict", (1,)),
        ("encoder", (1,)),
    ],
)
def test_tensors_that_timm_stumbles_over(copy, name, shape):
    assert spoilt(copy, {name: torch.zeros(shape)}).startswith("model.safetensors ")


def test_weights_that_are_whole_numbers(copy):
    assert spoilt(copy, {"norm.weight": torch.zeros(48, dtype=torch.int8)}).startswith("model.safetensors ")


def test_empty_weights(copy):
    save_file({}, copy / "model.safetensors")
    assert (
        refusal(f"local-dir:{copy}")
        == "model.safetensors does not fit the model: it lacks cls_token: name the model the file was made for."
    )


def test_larger_pretraining_grid_is_resampled_as_timm_does(real_tiny, tiny_checkpoint, tmp_path, batch):
    """Weights fine-tuned at another image size fit: position embeddings are resampled, as timm would."""
    state = timms(tiny_checkpoint, img_size=384).state_dict()
    save_file(state, tmp_path / "tiny384.safetensors")
    ours, timms_own = load(TINY, tmp_path / "tiny384.safetensors"), timms(tmp_path / "tiny384.safetensors")
    with torch.inference_mode():
        assert torch.equal(ours.logits(batch), timms_own(batch))


# Names


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("vit_base_patch16_225", r"vit_base_patch16_\S+"),
        ("vit_tiny_patch16_24", r"\S*vit_tiny_patch16_\S+"),
        ("vit_base_patch16_224.augreg2_in21k_ft_in1", r"vit_base_patch16_224\.augreg2_in21k_ft_in1k"),
        ("deit3_smal_patch16_224", r"deit3_small_patch16_\S+"),
        ("VIT_base_patch16_224", r"\S*_base_patch16_\S+"),
        ("vit_small_patch16_dinov33", r"vit_small_patch16_dinov3\S*"),
        ("eva2_small_patch14_336", r"eva02_small_patch14_\S+"),
        ("naflexvit_base_patch16_siglp", r"naflexvit_base_patch16_siglip"),
    ],
)
def test_unknown_name_with_a_suggestion(name, suggested):
    said = refusal(name)
    assert f"“{name}”" in said
    found = re.search(r"\(perhaps (\S+)\?\)", said)
    assert found
    assert re.fullmatch(suggested, found[1])
    assert isinstance(loader.skeleton(found[1]), FAMILIES)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "demo2",
        "xyz",
        "../secrets",
        "hf-hub:someone",
        "someone/model/part",
        "file:/etc/passwd",
        "vit_tiny_patch16_224.x:y",
        "http://x/y",
        "vit\nbase",
    ],
)
def test_unknown_name(name):
    with pytest.raises(UserError, match="timm has no model"):
        load(name)


@pytest.mark.parametrize(
    "name",
    [
        "resnet50",
        "swin_tiny_patch4_window7_224",
        "convnext_tiny.fb_in1k",
        "mixer_b16_224",
        "samvit_base_patch16",
        "hiera_tiny_224",
        "cait_xxs24_224",
    ],
)
def test_other_architectures(name):
    assert refusal(name) == f"“{name}” has no attention from every patch to every patch, so there is no map to show: choose a ViT."


@pytest.mark.parametrize("name", ["qwen3_vit_88m", "deepseek_vit_412m_enc", "gemma4_vit_167m", "convit_tiny"])
def test_vits_that_can_not_be_read(name):
    assert refusal(name) == (
        f"“{name}” is a ViT whose attention this app can't read, such as a language model's vision tower: choose another ViT."
    )


def test_attention_is_fused_whatever_timms_setting_is():
    timm.layers.set_fused_attn(False)
    try:
        parts = [part.fused_attn for part in loader.skeleton("vit_base_patch16_siglip_224").modules() if hasattr(part, "fused_attn")]
    finally:
        timm.layers.set_fused_attn(True)
    assert parts == [True] * 13  # twelve blocks and the pooling


def test_skeleton_takes_no_memory():
    module = loader.skeleton("vit_large_patch16_224")
    assert {each.device.type for each in module.state_dict().values()} == {"meta"}
    assert sum(each.numel() for each in module.parameters()) == 304_326_632


def test_skeleton_gives_shapes_without_weights():
    """The position embedding that any input size needs is interpolated; its grid is timm's."""
    assert loader.skeleton("vit_small_patch14_dinov2").patch_embed.grid_size == (37, 37)
    assert np.prod(loader.skeleton(TINY).patch_embed.grid_size) == 196
