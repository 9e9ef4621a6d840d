"""timm's module for a Hugging Face model: the same architecture, built from config.json and the tensors' shapes."""

from typing import Any

import torch

from vitdemo.core.errors import UserError
from vitdemo.core.models.adapter import build as build_timm
from vitdemo.core.models.adapter import read_mean_too
from vitdemo.core.models.huggingface.config import HuggingFaceConfig
from vitdemo.core.photos.preprocessing import Preprocessing

ACTIVATIONS = {"gelu": "gelu", "quick_gelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
ACTIVATIONS |= {"silu": "silu", "swish": "silu", "relu": "relu"}
LARGEST = {"depth": 200, "embed_dim": 16_384, "num_classes": 1_000_000}
Arguments = dict[str, Any]


def build(config: HuggingFaceConfig, state: dict[str, torch.Tensor], preprocessing: Preprocessing) -> Any:
    """Build timm's module without weights, on the meta device, for inputs of the preprocessing's size.

    Args:
        state: the weights under timm's names.

    Raises: UserError where the config makes no model.
    """
    size, patch = preprocessing.size, config.patch
    if state.get("patch_embed.proj.weight", torch.empty(0, 0, 0, 0)).ndim == 2:
        raise UserError("This SigLIP 2 takes patches in any number and order: give timm's naflexvit_base_patch16_siglip instead.")
    try:
        if any(side % step for side, step in zip(size, patch, strict=True)):
            raise UserError(
                f"Photos are prepared at {size[1]}×{size[0]} pixels for this model, which its {patch[1]}×{patch[0]} patches do not divide: "
                "correct its preprocessor_config.json."
            )
        architecture, own = _architecture(config, state)
        arguments = _shared(config, state, size) | own
        if any(arguments[name] > most for name, most in LARGEST.items()):
            raise UserError("This config.json asks for a model larger than any ViT: download or export the model again.")
        module: Any = build_timm(architecture, pretrained_cfg=_timm_config(architecture, preprocessing), **arguments)
        eps = float(config.values["layer_norm_eps"])
        if not 0 <= eps < 1:
            raise ValueError(f"layer_norm_eps {eps}")
        for part in module.modules():
            if isinstance(part, torch.nn.LayerNorm):
                part.eps = eps
    except UserError:
        raise
    except Exception as error:  # a config may hold anything, so timm may raise anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"The config.json of this {config.kind} makes no model ({reason}): download or export it again.") from None
    if "head.weight" in state and state["head.weight"].shape[-1] == 2 * module.embed_dim:
        read_mean_too(module)
    return module


def _shared(config: HuggingFaceConfig, state: dict[str, torch.Tensor], size: tuple[int, int]) -> Arguments:
    """The constructor's arguments that all kinds have."""
    width, fc2 = int(config.values["hidden_size"]), state.get("blocks.0.mlp.fc1.weight", state.get("blocks.0.mlp.fc1_x.weight"))
    hidden = int(config.values["intermediate_size"]) if fc2 is None else len(fc2)
    return {
        "img_size": list(size),
        "patch_size": config.patch[0] if config.patch[0] == config.patch[1] else list(config.patch),
        "embed_dim": width,
        "depth": int(config.values["num_hidden_layers"]),
        "num_heads": int(config.values["num_attention_heads"]),
        "mlp_ratio": hidden / width,
        "num_classes": len(state["head.weight"]) if "head.weight" in state else 0,
    }


def _architecture(config: HuggingFaceConfig, state: dict[str, torch.Tensor]) -> tuple[str, Arguments]:
    """timm's architecture for this kind, and the constructor's arguments that are the kind's own.

    They come from the config wherever it says them: what the file lacks is then missed, and not left out of the model.
    """
    values, kind = config.values, config.kind
    if kind == "beit":
        return "beit_base_patch16_224", _beit(config)
    if kind == "dinov3_vit":
        return "vit_small_patch16_dinov3", _dinov3(config)
    own: Arguments = {
        "qkv_bias": bool(values.get("qkv_bias", True)),
        "init_values": 1e-5 if kind.startswith("dinov2") else None,
        "act_layer": ACTIVATIONS[values["hidden_act"]],
    }
    average: Arguments = {"global_pool": "avg", "fc_norm": False}
    if kind == "siglip_vision_model":
        pools = values.get("vision_use_head", True) and "head.bias" not in state
        return "vit_base_patch16_siglip_224", own | ({"global_pool": "map"} if pools else average)
    if kind == "clip_vision_model":  # its classifier reads the patches' mean without the last norm; the projection has no bias
        return "vit_base_patch16_clip_224", own | (average | {"final_norm": False} if "head.bias" in state else {})
    if kind == "ijepa":
        return "vit_base_patch16_224", own | average | {"class_token": False}
    if kind == "dinov2_with_registers":
        own |= {"reg_tokens": int(values.get("num_register_tokens", 4)), "no_embed_class": True}
    if kind.startswith("dinov2") and values.get("use_swiglu_ffn"):
        return "vit_giant_patch14_dinov2", {name: value for name, value in own.items() if name != "act_layer"}  # its gate is SiLU
    if "head_dist.weight" in state:
        return "deit_base_distilled_patch16_224", own
    return "vit_base_patch16_224", own | ({"reg_tokens": 1} if kind == "deit" else {})  # a token that does not vote


def _beit(config: HuggingFaceConfig) -> Arguments:
    _check_activation(config, "gelu")
    values = config.values
    return {
        "global_pool": "avg" if values["use_mean_pooling"] else "token",
        "init_values": 0.1 if float(values.get("layer_scale_init_value", 0.1)) > 0 else None,
        "use_abs_pos_emb": bool(values.get("use_absolute_position_embeddings")),
        "use_rel_pos_bias": bool(values.get("use_relative_position_bias")),
        "use_shared_rel_pos_bias": bool(values.get("use_shared_relative_position_bias")),
    }


def _dinov3(config: HuggingFaceConfig) -> Arguments:
    values, gated = config.values, bool(config.values.get("use_gated_mlp"))
    _check_activation(config, "silu" if gated else "gelu")
    return {
        "global_pool": "token",
        "qkv_bias": bool(values.get("query_bias", True)),
        "num_reg_tokens": int(values.get("num_register_tokens", 0)),
        "rope_temperature": float(values["rope_theta"]),
    } | ({"swiglu_mlp": True, "swiglu_align_to": 8} if gated else {})


def _check_activation(config: HuggingFaceConfig, only: str) -> None:
    if ACTIVATIONS.get(config.values["hidden_act"]) != only:
        raise UserError(f"This {config.kind} computes with {config.values['hidden_act']}, which timm's has not: choose another model.")


def _timm_config(architecture: str, preprocessing: Preprocessing) -> Arguments:
    """The module's pretrained_cfg: its own preprocessing, and no hub to take weights from."""
    height, width = preprocessing.size
    return {
        "architecture": architecture,
        "input_size": (3, height, width),
        "crop_pct": preprocessing.crop_pct,
        "crop_mode": preprocessing.crop_mode,
        "interpolation": preprocessing.interpolation,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
    }
