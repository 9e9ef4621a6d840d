"""Every converted kind beside transformers itself: random weights that its own save_pretrained wrote, its PIL processors, its pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.models import loader
from vitdemo.core.models.huggingface.config import HuggingFaceConfig
from vitdemo.core.models.huggingface.processor import preprocessing_of
from vitdemo.core.models.vit import Vit

pytestmark = pytest.mark.slow

SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96, "image_size": 64, "patch_size": 16}
DINO = {name: value for name, value in SMALL.items() if name != "intermediate_size"}
NAMES = {"id2label": {index: word for index, word in enumerate(("cat", "dog", "<b>eel</b>", "fox", "gnu"))}}
TEXT = {"hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99}
BIASES = {"use_relative_position_bias": True}
SHARED = {"use_shared_relative_position_bias": True, "use_absolute_position_embeddings": True, "use_mean_pooling": False}
MODELS = {  # transformers' class: its config's class and values, and what is read of its output
    "ViTForImageClassification": ("ViTConfig", SMALL | NAMES, "logits"),
    "ViTModel": ("ViTConfig", SMALL, "cls"),
    "DeiTForImageClassification": ("DeiTConfig", SMALL | NAMES, "logits"),
    "DeiTForImageClassificationWithTeacher": ("DeiTConfig", SMALL | NAMES, "logits"),
    "Dinov2Model": ("Dinov2Config", DINO, "cls"),
    "Dinov2Model, gated": ("Dinov2Config", DINO | {"use_swiglu_ffn": True}, "cls"),
    "Dinov2ForImageClassification": ("Dinov2Config", DINO | NAMES, "logits"),
    "Dinov2WithRegistersModel": ("Dinov2WithRegistersConfig", DINO, "cls"),
    "Dinov2WithRegistersForImageClassification": ("Dinov2WithRegistersConfig", DINO | NAMES, "logits"),
    "DINOv3ViTModel": ("DINOv3ViTConfig", SMALL | {"num_register_tokens": 4}, "cls"),
    "DINOv3ViTModel, gated": ("DINOv3ViTConfig", SMALL | {"num_register_tokens": 4, "use_gated_mlp": True, "hidden_act": "silu"}, "cls"),
    "ViTMAEModel": ("ViTMAEConfig", SMALL | {"mask_ratio": 0.0}, "cls"),
    "IJepaModel": ("IJepaConfig", SMALL, "mean"),
    "IJepaForImageClassification": ("IJepaConfig", SMALL | NAMES, "logits"),
    "CLIPVisionModel": ("CLIPVisionConfig", SMALL, "pooler_output"),
    "CLIPVisionModelWithProjection": ("CLIPVisionConfig", SMALL | {"projection_dim": 32}, "image_embeds"),
    "CLIPModel": ("CLIPConfig", {"vision_config": SMALL, "text_config": TEXT, "projection_dim": 32}, "image_features"),
    "CLIPForImageClassification": ("CLIPConfig", {"vision_config": SMALL} | NAMES, "logits"),
    "SiglipVisionModel": ("SiglipVisionConfig", SMALL, "pooler_output"),
    "SiglipModel": ("SiglipConfig", {"vision_config": SMALL, "text_config": TEXT}, "image_features"),
    "SiglipForImageClassification": ("SiglipConfig", {"vision_config": SMALL} | NAMES, "logits"),
    "BeitForImageClassification": ("BeitConfig", SMALL | NAMES | BIASES, "logits"),
    "BeitForImageClassification, shared": ("BeitConfig", SMALL | NAMES | SHARED, "logits"),
    "BeitModel": ("BeitConfig", SMALL | BIASES, "pooler_output"),
}
ODD = [(64, 64), (300, 200), (200, 301), (37, 500), (500, 33), (17, 19), (1000, 999), (224, 223), (65, 64), (640, 77)]
CLASSIFIERS = [name for name in MODELS if "ForImageClassification" in name]


@pytest.fixture(scope="module", autouse=True)
def imported():
    """transformers takes seconds to import: only where these tests run."""
    global transformers
    transformers = pytest.importorskip("transformers", exc_type=ImportError)


def load(folder: Path) -> Vit:
    return loader.load(f"local-dir:{folder}", Settings(), torch.device("cpu"), lambda _: None)


def processor_of(name: str, size: int):
    square = {"height": size, "width": size}
    if name.startswith("DeiT"):
        return transformers.DeiTImageProcessorPil(size={"height": size + 9, "width": size + 9}, crop_size=square)
    if name.startswith(("Dinov2", "CLIP")):
        kind = transformers.BitImageProcessorPil if name.startswith("Dinov2") else transformers.CLIPImageProcessorPil
        return kind(size={"shortest_edge": size + 13}, crop_size=square)
    kind = {"Beit": "Beit", "Sigl": "Siglip"}.get(name[:4], "ViT")
    return getattr(transformers, f"{kind}ImageProcessorPil")(size=square)


def write(name: str, folder: Path, size: int = 64):
    """A model with random weights, of which none stays 0 or 1, in its own folder."""
    torch.manual_seed(0)
    config, values, _ = MODELS[name]
    model = getattr(transformers, name.split(",")[0])(getattr(transformers, config)(**values)).eval()
    for each in model.parameters():
        each.data += 0.1 * torch.randn_like(each)
    model.save_pretrained(folder)
    processor_of(name, size).save_pretrained(folder)
    return model


def asked(name: str, model, batch: torch.Tensor) -> torch.Tensor:
    """What transformers answers, as timm would pool it."""
    what, more = MODELS[name][2], {}
    if batch.shape[-1] != 64 and not name.startswith(("Dino", "DINO", "Beit")):
        more["interpolate_pos_encoding"] = True
    if name == "ViTMAEModel":
        more["noise"] = torch.arange((batch.shape[-1] // 16) ** 2).float().expand(len(batch), -1)  # keeps the patches' order
    with torch.no_grad():
        if what == "image_features":
            found = model.get_image_features(batch, **more)
            return getattr(found, "pooler_output", found)
        out = model(batch, **more)
    if what in ("cls", "mean"):
        return out.last_hidden_state[:, 0] if what == "cls" else out.last_hidden_state.mean(1)
    return getattr(out, what)


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_transformers(name, size, tmp_path):
    if size == 96 and name == "CLIPForImageClassification":
        pytest.skip("transformers' own takes one size only")
    model = write(name, tmp_path, size)
    vit, batch = load(tmp_path), torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs = vit.logits(batch), asked(name, model, batch)
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05  # random weights that answer something
    assert (ours - theirs).abs().max() < 1e-5
    resampled = size != 64 and not name.startswith("DINOv3")
    assert ("Positions resampled from 4×4 to 6×6." in vit.notes) == resampled


@pytest.mark.parametrize(
    "name", ["ViTModel", "DeiTForImageClassification", "Dinov2Model", "CLIPVisionModel", "SiglipVisionModel", "BeitModel"]
)
@pytest.mark.parametrize("size", [64, 224])
def test_pixels_are_the_pil_processors(name, size, tmp_path):
    processor = processor_of(name, size)
    processor.save_pretrained(tmp_path)
    config = HuggingFaceConfig(name, {}, {})
    preprocessing, _ = preprocessing_of(tmp_path, config, icc="ignore")
    std = np.array(preprocessing.std)[:, None, None]
    for number, shape in enumerate(ODD):
        photo = noise(*shape, number)
        theirs = processor(photo, return_tensors="np")["pixel_values"][0]
        levels = np.abs(preprocessing(photo).numpy() - theirs) * std * 255
        assert levels.max() < 1e-2, shape  # the same level of 255: floats differ in their last bit


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("ViT", {"size": 64, "resample": 3}),
        ("ViT", {"size": 64, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 0}),
        ("ViT", {"size": {"height": 48, "width": 80}, "resample": 1, "do_normalize": False}),
        ("CLIP", {"size": 72, "crop_size": 64}),
        ("CLIP", {"size": {"shortest_edge": 64}, "crop_size": {"height": 48, "width": 64}, "rescale_factor": 0.01}),
        ("Bit", {"size": {"shortest_edge": 400}, "crop_size": 224}),
        ("DeiT", {"size": 256, "crop_size": 224, "resample": 2}),
        ("Beit", {"size": 72, "do_center_crop": True, "crop_size": 64}),
        ("Beit", {"size": 64, "crop_size": 224}),
    ],
    ids=str,
)
def test_pixels_of_odd_processors(kind, given, tmp_path):
    """Also what the files of older releases hold: numbers for sizes, and the feature extractors' names."""
    processor = getattr(transformers, f"{kind}ImageProcessorPil")(**given)
    for spelling in ({"image_processor_type": f"{kind}ImageProcessor"}, {"feature_extractor_type": f"{kind}FeatureExtractor"}):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(given | spelling))
        preprocessing, _ = preprocessing_of(tmp_path, HuggingFaceConfig("vit", {}, {}), icc="ignore")
        for number, shape in enumerate(ODD):
            theirs = processor(noise(*shape, number), return_tensors="np")["pixel_values"][0]
            levels = np.abs(preprocessing(noise(*shape, number)).numpy() - theirs) * np.array(preprocessing.std)[:, None, None] * 255
            assert levels.max() < 1e-2, shape


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classes_are_the_pipelines(name, tmp_path):
    model = write(name, tmp_path)
    vit = load(tmp_path)
    classify = transformers.pipeline("image-classification", model=model, image_processor=processor_of(name, 64))
    for number, shape in enumerate(ODD):
        photo = noise(*shape, number)
        with torch.inference_mode():
            ours = vit.logits(vit.preprocessing(photo)[None])[0].softmax(-1)
        theirs = {row["label"]: row["score"] for row in classify(photo, top_k=5, function_to_apply="softmax")}
        assert {label.name: float(ours[label.index]) for label in vit.labels} == pytest.approx(theirs, abs=1e-5), shape
