"""Small ViTs with random weights, of every kind whose attention this project reads, and timm's own unfused models beside them."""

from pathlib import Path

import timm
import torch
from timm.layers import set_fused_attn
from timm.models import save_for_hf
from timm.utils import AttentionExtract

from vitdemo.core.models.labels import labels_of
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.preprocessing import Preprocessing

SMALL = {"embed_dim": 48, "depth": 3, "num_heads": 3, "img_size": 64, "patch_size": 16, "num_classes": 8}
KINDS = {  # what it stands for: timm's name and what differs from SMALL
    "plain": ("vit_tiny_patch16_224", {}),
    "query and key norms": ("vit_tiny_patch16_224", {"qk_norm": True}),
    "distilled": ("deit_tiny_distilled_patch16_224", {}),
    "registers": ("vit_small_patch14_reg4_dinov2", {"patch_size": 14, "img_size": 70}),
    "no CLS, attention pooling": ("vit_base_patch16_siglip_224", {}),
    "no CLS, average": ("vit_little_patch16_reg4_gap_256", {}),
    "CLS, average": ("vit_tiny_patch16_224", {"global_pool": "avg"}),
    "norms after": ("vit_base_patch16_rpn_224", {}),
    "parallel": ("vit_base_patch16_xp_224", {}),
}
PREFIX = {"distilled": 2, "registers": 5, "no CLS, attention pooling": 0, "no CLS, average": 4, "norms after": 0}


def small_vit(kind: str = "plain", seed: int = 0) -> Vit:
    """A model of one of KINDS, as this project would have loaded it."""
    module = _build(kind, seed).requires_grad_(False)
    labels = labels_of(module.num_classes, module.pretrained_cfg)
    return Vit(kind, module, labels, Preprocessing.of(module), "random", torch.device("cpu"), 0)


def unfused_vit(kind: str = "plain", seed: int = 0) -> torch.nn.Module:
    """The same model, built by timm with fused attention off."""
    set_fused_attn(False)
    try:
        return _build(kind, seed)
    finally:
        set_fused_attn(True)


def timms_attention(unfused: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """(layers, images, heads, tokens, tokens), as timm's AttentionExtract gives it."""
    with torch.inference_mode():
        return torch.stack(list(AttentionExtract(unfused, method="hook")(batch).values()))


def images(count: int = 1, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def size_of(kind: str, rows: int, columns: int) -> tuple[int, int]:
    """(height, width) of an input with so many patches."""
    patch = {**SMALL, **KINDS[kind][1]}["patch_size"]
    return rows * patch, columns * patch


def _build(kind: str, seed: int) -> torch.nn.Module:
    name, changes = KINDS[kind]
    torch.manual_seed(seed)
    module = timm.create_model(name, dynamic_img_size=True, **{**SMALL, **changes}).eval()
    for each in module.parameters():  # timm starts some at 0, and all so small that attention is even
        if each.ndim > 1:
            torch.nn.init.normal_(each, std=0.1)
    return module


def write_bundle(folder: Path) -> Path:
    """A small plain ViT with eight named classes, in timm's own layout. Returns the folder."""
    torch.manual_seed(0)
    shape = {"depth": 3, "embed_dim": 48, "num_heads": 3}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=8, **shape)
    torch.nn.init.normal_(model.head.weight, std=0.5)
    names = ["apple", "boat", "cat", "door", "<b>egg</b>", "fish", "gate", "hat"]
    save_for_hf(model, folder, model_config={"label_names": names, "model_args": shape}, safe_serialization=True)
    return folder
