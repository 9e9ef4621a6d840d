"""Hugging Face folders without transformers: timm's own models written in its layouts answer as before."""

import json
import os
import random
import re
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from tests.support import hostile
from tests.support.layouts import CONFIGS, save, write_hugging_face, write_shards
from tests.support.pictures import noise
from vitdemo.classify.snippet import snippet
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models import loader
from vitdemo.core.models.adapter import Adapter
from vitdemo.core.models.vit import Vit
from vitdemo.export import formats
from vitdemo.export.plan import Plan
from vitdemo.finetune.learning import bundle
from vitdemo.finetune.learning.train import finetune
from vitdemo.finetune.recipe import Recipe

ROUNDS = int(os.environ.get("VITDEMO_FUZZ", 200)) // 4
PROCESSOR = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 237}, "crop_size": 224, "image_mean": [0.5] * 3}


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    module = timm.create_model("vit_tiny_patch16_224", num_classes=8, depth=3, embed_dim=48, num_heads=3).eval()
    for each in module.parameters():
        each.data += 0.1 * torch.randn_like(each)
    return module


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def load(folder: Path, **settings) -> Vit:
    name = f"local-dir:{folder}"
    return loader.load(name, Settings(model=name, **settings), torch.device("cpu"), lambda _: None)


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as refused:
        load(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("layout", CONFIGS)
def test_the_same_answers(layout, module, batch, tmp_path):
    vit = load(write_hugging_face(tmp_path, module.state_dict(), layout))
    with torch.inference_mode():
        assert (vit.logits(batch) - module(batch)).abs().max() < 1e-5
    assert [label.name for label in vit.labels] == [f"thing {index}" for index in range(8)]  # the file has them backwards
    assert vit.notes[0] == "Converted from Hugging Face's layout."
    assert vit.name == tmp_path.name


@pytest.mark.parametrize("layout", CONFIGS)
def test_every_tensor_is_missed(layout, module, tmp_path):
    """Nothing that the file lacks is made up or left out of the model without a word."""
    folder = write_hugging_face(tmp_path, module.state_dict(), layout)
    whole = load_file(folder / "model.safetensors")
    for name in whole:
        if "layer.0." in name or "layer." not in name:
            save({other: value for other, value in whole.items() if other != name}, folder / "model.safetensors")
            assert re.match(r"model\.safetensors (does not fit the model|can't be laid out)", refusal(folder)), name
    save({name: value for name, value in whole.items() if not name.startswith("classifier.")}, folder / "model.safetensors")
    vit = load(folder)
    assert "The file has no head: the model gives features." in vit.notes
    assert vit.labels == ()


def test_shards_and_another_checkpoint(module, batch, tmp_path):
    write_hugging_face(tmp_path, module.state_dict())
    write_shards(tmp_path, load_file(tmp_path / "model.safetensors"))
    (tmp_path / "model.safetensors").rename(tmp_path / "best.pth")
    with torch.inference_mode():
        for vit in (load(tmp_path), load(tmp_path, checkpoint=tmp_path / "best.pth")):
            assert (vit.logits(batch) - module(batch)).abs().max() < 1e-5


def test_classes_without_names(module, tmp_path):
    """transformers' placeholders are none, and a thousand of them are not ImageNet's."""
    many = {**module.state_dict(), "head.weight": torch.randn(1000, 48), "head.bias": torch.randn(1000)}
    for names in ({str(index): f"LABEL_{index}" for index in range(1000)}, {}, {"0": "cat"}):
        vit = load(write_hugging_face(tmp_path, many, id2label=names))
        assert [label.name for label in vit.labels[:2]] == ["class 0", "class 1"]
        assert not any(label.synset for label in vit.labels)
    (tmp_path / "names.json").write_text(json.dumps({"id2label": {str(index): f"n{index}" for index in range(1000)}}))
    assert load(tmp_path, labels=tmp_path / "names.json").labels[999].name == "n999"


def test_preprocessing_with_its_inverse(module, tmp_path):
    vit = load(write_hugging_face(tmp_path, module.state_dict(), processor=PROCESSOR))
    where = vit.preprocessing.geometry((640, 481), vit.patch)
    assert (where.resized, where.offset) == ((int(237 * 640 / 481), 237), ((315 - 224) // 2, 6))
    assert where.to_crop(*where.to_photo(17.0, 5.0)) == pytest.approx((17, 5))
    photo = noise(640, 481)
    left, top = where.offset
    expected = photo.resize(where.resized, 3).crop((left, top, left + 224, top + 224))
    assert vit.preprocessing.crop(photo).tobytes() == expected.tobytes()
    assert vit.preprocessing.crop(noise(3, 5000)).size == (224, 224)


def test_without_a_processor_it_says_so(module, tmp_path):
    vit = load(write_hugging_face(tmp_path, module.state_dict()))
    assert "No preprocessor_config.json: photos are prepared as ViT's usually are." in vit.notes


@pytest.mark.parametrize("layout", ["vit", "beit"])
def test_exported_as_safetensors_it_opens_again(layout, module, batch, tmp_path, monkeypatch, capsys):
    """In this app with its own crop, and in plain timm; the code that is copied then gives the same classes."""
    vit = load(write_hugging_face(tmp_path / "theirs", module.state_dict(), layout, PROCESSOR))
    with pytest.raises(UserError, match="Plain timm can't open this model's files as they are"):
        snippet(vit, vit.preprocessing)
    (tmp_path / "ours").mkdir()
    formats.write(vit, Plan("safetensors"), tmp_path / "ours")
    again, plain = load(tmp_path / "ours"), timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True).eval()
    with torch.inference_mode():
        assert (again.logits(batch) - vit.logits(batch)).abs().max() < 1e-5
        assert (plain(batch) - vit.logits(batch)).abs().max() < 1e-5
    assert again.preprocessing == vit.preprocessing
    assert again.labels == vit.labels
    assert again.plain
    monkeypatch.chdir(tmp_path)
    noise(640, 481).save("photo.png")
    exec(snippet(again, again.preprocessing, photo="photo.png", bundle=True), found := {})
    with torch.inference_mode():
        expected = vit.logits(vit.preprocessing(noise(640, 481))[None])[0].softmax(-1).topk(5)
    assert found["top"].values.tolist() == pytest.approx(expected.values.tolist(), abs=1e-5)


def test_a_classifier_that_timm_has_not(module, engine, tmp_path):
    """DINOv2's reads CLS and the patches' mean: half of what it reads is CLS. A bundle says so in a word of its own."""
    vit = load(write_hugging_face(tmp_path, module.state_dict(), "dinov2"))
    assert vit.adapter.readout(5).tolist() == [0.5, *[0.125] * 4]
    with pytest.raises(UserError, match=r"timm has no config for .*: choose the format onnx or pt2\."):
        formats.write(vit, Plan("safetensors"), tmp_path / "exported")  # which is for plain timm
    (tmp_path / "bundle").mkdir()
    bundle.write(vit.module, [label.name for label in vit.labels], vit.preprocessing, tmp_path / "bundle", {})
    again = load(tmp_path / "bundle")
    assert not again.plain
    batch = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert (again.logits(batch) - vit.logits(batch)).abs().max() < 1e-5
    config = tmp_path / "bundle" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"architecture": "beit_base_patch16_224"}))
    with pytest.raises(UserError, match=r"timm can't build the model that .* describes"):
        load(tmp_path / "bundle")


def test_layers_that_no_config_names(module, engine, tmp_path):
    vit = load(write_hugging_face(tmp_path, module.state_dict(), "dinov2"))
    with pytest.MonkeyPatch.context() as change:
        change.setattr(Adapter, "has_config", False)
        with pytest.raises(UserError, match=r"timm has no config for .*: choose another model\."):
            next(finetune(vit, engine, [], Recipe(), tmp_path / "run", Settings()))
        with pytest.raises(UserError, match=r"timm has no config for .*: choose the format onnx or pt2\."):
            formats.write(vit, Plan("safetensors"), tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "swin"}, r"“swin” in .*config\.json is no ViT that this app converts: give a ViT, DeiT, "),
        ({"model_type": None}, r".*no ViT that this app converts"),
        ({"model_type": ["vit"]}, r"The config\.json in .* can't be read"),
        ({"id2label": {"one": "cat"}}, r"The config\.json in .* can't be read"),
        ({"hidden_size": 64}, r"The config\.json of this vit makes no model"),
        ({"num_attention_heads": 5}, r"The config\.json of this vit makes no model"),
        ({"num_hidden_layers": 10**9}, r"This config\.json asks for a model larger than any ViT"),
        ({"num_hidden_layers": 4}, r"model\.safetensors does not fit the model: it lacks blocks\.3\.norm1\.weight"),
        ({"num_hidden_layers": 2}, r"model\.safetensors does not fit the model: the model has no blocks\.2\."),
        ({"patch_size": 15}, r"Photos are prepared at 224×224 pixels for this model, which its 15×15 patches do not divide"),
        ({"patch_size": 0}, r"The config\.json in .* can't be read"),
        ({"hidden_act": "mystery"}, r"The config\.json of this vit makes no model"),
        ({"layer_norm_eps": "small"}, r"The config\.json of this vit makes no model"),
        ({"layer_norm_eps": float("nan")}, r"The config\.json of this vit makes no model"),
        ({"image_size": "large"}, r"The config\.json in .* can't be read"),
        ({"image_size": 10**9}, r"The config\.json in .* asks for preprocessing that can't be done \(a size out of range\)"),
    ],
    ids=str,
)
def test_a_config_that_makes_no_model(change, said, module, tmp_path):
    sentence = refusal(write_hugging_face(tmp_path, module.state_dict(), **change))
    assert re.match(said, sentence), sentence


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[" * 99_999,
        b'{"size": "large"}',
        b'{"size": {"longest_edge": 224}}',
        b'{"size": {"shortest_edge": 224}, "do_center_crop": false}',
        b'{"size": 1e9}',
        b'{"size": 4}',
        b'{"resample": 9}',
        b'{"image_std": [0, 0, 0]}',
        b'{"image_mean": "grey"}',
        b'{"image_mean": [NaN, 0, 0]}',
        b'{"do_resize": false}',
        b'{"image_processor_type": "SamImageProcessor"}',
    ],
)
def test_preprocessing_that_can_not_be_done(content, module, tmp_path):
    write_hugging_face(tmp_path, module.state_dict())
    (tmp_path / "preprocessor_config.json").write_bytes(content)
    assert refusal(tmp_path).startswith(f"The preprocessor_config.json in {tmp_path} asks for ")


def test_patches_in_any_order(module, tmp_path):
    """SigLIP 2 NaFlex: timm would take its flat patches for old weights of its own, and answer wrongly."""
    folder = write_hugging_face(tmp_path, module.state_dict(), model_type="siglip2_vision_model")
    tensors = {"embeddings.patch_embedding.weight": torch.ones(48, 768), "embeddings.position_embedding.weight": torch.ones(256, 48)}
    save(tensors, folder / "model.safetensors")
    assert refusal(folder) == "This SigLIP 2 takes patches in any number and order: give timm's naflexvit_base_patch16_siglip instead."


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_random_changes_get_an_answer_or_a_sentence(name, module, tmp_path):
    rng, answered = random.Random(3), 0
    folder = write_hugging_face(tmp_path, module.state_dict(), processor=PROCESSOR)
    whole = (folder / name).read_bytes()
    for _ in range(ROUNDS):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 5))):
            data[rng.randrange(len(data))] = rng.choice(b'0123456789-.,:"{}[]eE xnl')
        (folder / name).write_bytes(data if rng.random() < 0.8 else hostile.mutated(whole, rng))
        try:
            vit = load(folder)
        except UserError as error:
            sentence = str(error)
            assert re.fullmatch(r"[^\n]+\.", sentence)
            continue
        answered += 1
        with torch.inference_mode():
            assert vit.logits(vit.preprocessing(noise(50, 40))[None]).shape == (1, 8)
    assert 0 < answered < ROUNDS
