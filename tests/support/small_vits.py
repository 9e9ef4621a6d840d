"""Small ViTs with random weights, of every kind whose attention this project reads, and timm's own unfused models beside them."""

import copy
from dataclasses import replace
from pathlib import Path

import timm
import torch
from timm.layers import RmsNorm, SwiGLU, set_fused_attn
from timm.models import save_for_hf
from timm.utils import AttentionExtract

from vitdemo.core.models.labels import labels_of
from vitdemo.core.models.precision import set_precision
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
    "gated MLP, RMS norms": ("vit_tiny_patch16_224", {"mlp_layer": SwiGLU, "norm_layer": RmsNorm, "init_values": 0.3}),
    "norms inside": ("vit_tiny_patch16_224", {"scale_attn_norm": True, "scale_mlp_norm": True, "act_layer": "quick_gelu"}),
}
FAMILIES = {  # one of each family that opens, or of its ways to be built; the same as in the table of docs/models.md
    "ViT": KINDS["plain"],
    "registers": KINDS["registers"],
    "distilled": KINDS["distilled"],
    "attention pooling": KINDS["no CLS, attention pooling"],
    "no CLS": KINDS["no CLS, average"],
    "average pooling": KINDS["CLS, average"],
    "parallel blocks": KINDS["parallel"],
    "hybrid": ("vit_tiny_r_s16_p8_224", {"patch_size": 4}),
    "EVA-02": ("eva02_base_patch14_224", {}),
    "DINOv3": ("vit_small_patch16_dinov3", {"dynamic_img_size": False}),
    "Perception Encoder": ("vit_pe_core_tiny_patch16_384", {}),
    "RoPE-ViT": ("vit_small_patch16_rope_mixed_224", {}),
    "BEiT": ("beit_base_patch16_224", {}),
    "BEiT v2": ("beitv2_base_patch16_224", {}),
    "relative positions": ("vit_relpos_small_patch16_224", {}),
    "shared relative positions": ("vit_srelpos_small_patch16_224", {"rel_pos_dim": 16}),
    "relative positions, CLS": ("vit_relpos_medium_patch16_cls_224", {"rel_pos_dim": 16}),
    "NaFlexViT": ("naflexvit_base_patch16_gap", {}),
    "NaFlexViT, attention pooling": ("naflexvit_base_patch16_siglip", {}),
}
PREFIX = {"distilled": 2, "registers": 5, "no CLS, attention pooling": 0, "no CLS, average": 4, "norms after": 0}


def small_vit(kind: str = "plain", seed: int = 0) -> Vit:
    """A model of one of KINDS, as this project would have loaded it."""
    module = _build(kind, seed).requires_grad_(False)
    labels = labels_of(module.num_classes, module.pretrained_cfg)
    return Vit(kind, module, labels, Preprocessing.of(module), "random", torch.device("cpu"), 0)


def in_precision(vit: Vit, precision: str) -> Vit:
    """The model in another precision; the one given stays as it is."""
    return replace(vit, module=set_precision(copy.deepcopy(vit.module), precision, vit.device), precision=precision)


def twice_vit() -> Vit:
    """A model whose attention can't be read: each block has two attention layers side by side."""
    module = timm.create_model("vit_small_patch16_18x2_224", dynamic_img_size=True, **{**SMALL, "depth": 2}).eval().requires_grad_(False)
    return replace(small_vit(), name="twice", module=module)


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


def write_family(folder: Path, family: str) -> Path:
    """A model of one of FAMILIES with eight named classes, in timm's own layout. Returns the folder."""
    name, changes = FAMILIES[family]
    torch.manual_seed(0)
    model = timm.create_model(name, **{**SMALL, "num_heads": 2, **changes})  # heads of 24, which rotary positions divide by 4
    for each in model.parameters():  # nothing stays at 0 or at 1
        each.data += 0.1 * torch.randn_like(each)
    names = ["apple", "boat", "cat", "door", "egg", "fish", "gate", "hat"]
    save_for_hf(model, folder, model_config={"label_names": names}, model_args={}, safe_serialization=True)
    return folder


def write_bundle(folder: Path) -> Path:
    """A small plain ViT with eight named classes, in timm's own layout. Returns the folder."""
    torch.manual_seed(0)
    shape = {"depth": 3, "embed_dim": 48, "num_heads": 3}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=8, **shape)
    torch.nn.init.normal_(model.head.weight, std=0.5)
    names = ["apple", "boat", "cat", "door", "<b>egg</b>", "fish", "gate", "hat"]
    save_for_hf(model, folder, model_config={"label_names": names, "model_args": shape}, safe_serialization=True)
    return folder
