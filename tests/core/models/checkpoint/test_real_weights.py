"""The real ViT-Tiny in every layout and wrapper that can hold it: the same classes and probabilities on the shared photos."""

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.support.apps import TINY
from tests.support.layouts import CONFIGS, WRAPPERS, as_torchvision, as_vit, save, write_hugging_face, write_shards
from vitdemo.core.config import Settings
from vitdemo.core.models import loader
from vitdemo.core.models.vit import Vit

SIZES = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768}
BATCH = 50


@pytest.fixture(scope="module")
def batch(shared, real_tiny) -> torch.Tensor:
    """The 200 photos, as ViT-Tiny takes them."""
    photos = sorted((shared / "data" / "imagenet_val").rglob("*.JPEG"))
    assert len(photos) == 200
    crops = []
    for path in photos:
        with Image.open(path) as image:
            crops.append(real_tiny.preprocessing(image.convert("RGB")))
    return torch.stack(crops)


def answers(vit: Vit, batch: torch.Tensor) -> torch.Tensor:
    """Log-probabilities, which tell more small ones apart than probabilities do."""
    with torch.inference_mode():
        return torch.cat([vit.logits(part) for part in batch.split(BATCH)]).log_softmax(-1)


@pytest.fixture(scope="module")
def expected(real_tiny, batch) -> torch.Tensor:
    return answers(real_tiny, batch)


def check(vit: Vit, batch: torch.Tensor, expected: torch.Tensor) -> None:
    found = answers(vit, batch)
    assert (found.exp() - expected.exp()).abs().max() < 1e-5
    assert torch.equal(found.topk(5).indices, expected.topk(5).indices)


def of_file(path) -> Vit:
    return loader.load(TINY, Settings(model=TINY, checkpoint=path), torch.device("cpu"), lambda _: None)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_hold_the_same_tensors(wrapper, tiny_checkpoint, real_tiny, tmp_path):
    """Identical weights: what they answer is checked once, below."""
    state = load_file(tiny_checkpoint)
    vit = of_file(save({wrapper + name: value for name, value in state.items()}, tmp_path / "a.safetensors"))
    mine, theirs = vit.module.state_dict(), real_tiny.module.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert vit.labels == real_tiny.labels


@pytest.mark.parametrize("kind", ["shards", "Hugging Face", "torchvision", "wrapped"])
def test_checkpoints(kind, tiny_checkpoint, batch, expected, tmp_path):
    state = load_file(tiny_checkpoint)
    if kind == "shards":
        path = write_shards(tmp_path, state)
    else:
        tensors = {"Hugging Face": as_vit, "torchvision": as_torchvision}.get(
            kind, lambda state: {f"module.{n}": v for n, v in state.items()}
        )
        path = save(tensors(state), tmp_path / "a.pth")
    check(of_file(path), batch, expected)


@pytest.mark.parametrize("layout", CONFIGS)
def test_folders(layout, tiny_checkpoint, batch, expected, tmp_path):
    folder = write_hugging_face(tmp_path, load_file(tiny_checkpoint), layout, **SIZES)
    check(loader.load(f"local-dir:{folder}", Settings(), torch.device("cpu"), lambda _: None), batch, expected)
