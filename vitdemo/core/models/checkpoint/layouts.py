"""Names of tensors: Hugging Face's and torchvision's, turned into timm's, and what a file's names say about its layout."""

import re
from collections.abc import Collection

import torch

Tensors = dict[str, torch.Tensor]
TOWER = r"(?:(?:vit|deit|dinov2|dinov2_with_registers|dinov3_vit|ijepa|beit|vision_model)\.)*"
LAYOUTS = {  # each matches names that the layout alone has; `wrapper` is what stands before them
    "Hugging Face": re.compile(
        rf"(?P<wrapper>(?:.+?\.)??){TOWER}(?:embeddings\.(?:cls_token|class_embedding|position_embedding|patch_embedding)|"
        r"(?:encoder\.)?layers?\.\d+\.(?:attention|self_attn)\.)"
    ),
    "torchvision": re.compile(r"(?P<wrapper>(?:.+?\.)??)(?:conv_proj\.|encoder\.layers\.encoder_layer_\d+\.)"),
    "timm": re.compile(r"(?P<wrapper>(?:.+?\.)??)(?:patch_embed\.(?:proj|backbone)\.|embeds\.proj\.|blocks\.\d+\.)"),
}
ASIDE = re.compile(  # of the pretraining, or of another tower
    r"(?:embeddings\.)?(?:mask_token|position_ids)$|pooler\.dense\.|decoder\.|text_model\.|text_projection\.|logit_|lm_head\.|rope_embeddings\."
)
HUGGING_FACE = (
    (r"embeddings\.(?:cls_token|class_embedding)", "cls_token"),
    (r"embeddings\.register_tokens", "reg_token"),
    (r"embeddings\.distillation_token", "dist_token"),
    (r"embeddings\.(?:position_embeddings|position_embedding\.weight)", "pos_embed"),
    (r"embeddings\.(?:patch_embeddings\.projection|patch_embeddings|patch_embedding)\.(weight|bias)", r"patch_embed.proj.\1"),
    (r"(?:encoder\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"(blocks\.\d+)\.(?:attention\.attention|attention|self_attn)\.([qkv])(?:uery|ey|alue|_proj)\.", r"\1.attn.\2."),
    (r"(blocks\.\d+)\.(?:attention\.output\.dense|(?:attention|self_attn)\.(?:o|out)_proj)\.", r"\1.attn.proj."),
    (r"(blocks\.\d+)\.attention\.attention\.relative_position_bias\.", r"\1.attn."),
    (r"(blocks\.\d+)\.(?:layernorm_before|layer_norm1)\.", r"\1.norm1."),
    (r"(blocks\.\d+)\.(?:layernorm_after|layer_norm2)\.", r"\1.norm2."),
    (r"(blocks\.\d+)\.(?:intermediate\.dense|mlp\.(?:up_proj|weights_in))\.", r"\1.mlp.fc1."),
    (r"(blocks\.\d+)\.mlp\.gate_proj\.", r"\1.mlp.fc1_g."),
    (r"(blocks\.\d+)\.(?:output\.dense|mlp\.(?:down_proj|weights_out))\.", r"\1.mlp.fc2."),
    (r"(blocks\.\d+)\.(?:layer_scale([12])\.lambda1|lambda_([12]))$", r"\1.ls\2\3.gamma"),
    (r"encoder\.relative_position_bias\.", "rel_pos_bias."),
    (r"(?:layernorm|post_layernorm)\.", "norm."),
    (r"pre_layr?norm\.", "norm_pre."),
    (r"pooler\.layernorm\.", "fc_norm."),
    (r"head\.probe", "attn_pool.latent"),
    (r"head\.attention\.in_proj_", "attn_pool.qkv."),
    (r"head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"head\.layernorm\.", "attn_pool.norm."),
    (r"head\.mlp\.", "attn_pool.mlp."),
    (r"(?:classifier|cls_classifier|visual_projection)\.", "head."),
    (r"distillation_classifier\.", "head_dist."),
)
TORCHVISION = (
    (r"class_token", "cls_token"),
    (r"conv_proj\.", "patch_embed.proj."),
    (r"encoder\.pos_embedding", "pos_embed"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"(blocks\.\d+)\.ln_([12])\.", r"\1.norm\2."),
    (r"(blocks\.\d+)\.self_attention\.in_proj_", r"\1.attn.qkv."),
    (r"(blocks\.\d+)\.self_attention\.out_proj\.", r"\1.attn.proj."),
    (r"(blocks\.\d+)\.mlp\.(?:linear_1|0)\.", r"\1.mlp.fc1."),
    (r"(blocks\.\d+)\.mlp\.(?:linear_2|3)\.", r"\1.mlp.fc2."),
    (r"encoder\.ln\.", "norm."),
    (r"heads\.head\.", "head."),
)


def layout_of(names: Collection[str]) -> str:
    """The layout whose names these are: a key of LAYOUTS; empty for others, and for names that something wraps."""
    for layout, pattern in LAYOUTS.items():
        if any((found := pattern.match(name)) and not found["wrapper"] for name in names):
            return layout
    return ""


def to_timm(state: Tensors, layout: str) -> tuple[Tensors, list[str]]:
    """Rename a state to timm's names, and join what timm keeps in one tensor.

    Returns: the state, and the names of what was left aside because it is no part of the image model.
    """
    if layout not in ("Hugging Face", "torchvision"):
        return state, []
    rules = HUGGING_FACE if layout == "Hugging Face" else TORCHVISION
    names: dict[str, str] = {}  # timm's: the file's
    for name in state:
        own = re.sub(f"^{TOWER}", "", name) if layout == "Hugging Face" else name
        if not ASIDE.match(own):
            for pattern, replacement in rules:
                own = re.sub(f"^{pattern}", replacement, own)
            names[own] = name
    if any(name.startswith("blocks.0.mlp.fc1_g.") for name in names):  # DINOv3's gated layers
        names = {name.replace(".mlp.fc1.", ".mlp.fc1_x."): own for name, own in names.items()}
    if "head.bias" in names:  # what SigLIP's and CLIP's classifiers do not read
        unread = "norm." if "norm_pre.weight" in names else "attn_pool."
        names = {name: own for name, own in names.items() if not name.startswith(unread)}
    return _joined({name: state[own] for name, own in names.items()}), sorted(state.keys() - set(names.values()))


def _joined(state: Tensors) -> Tensors:
    """Join queries, keys and values, split the pooling's, and give each tensor timm's number of dimensions."""
    out = dict(state)
    for name in state:
        if name.endswith(".attn.q.weight"):
            part = name.removesuffix("q.weight")
            if all(f"{part}{each}.weight" in state for each in "qkv"):
                out[f"{part}qkv.weight"] = torch.cat([out.pop(f"{part}{each}.weight") for each in "qkv"])
            if all(f"{part}{each}.bias" in state for each in "qkv"):
                out[f"{part}qkv.bias"] = torch.cat([out.pop(f"{part}{each}.bias") for each in "qkv"])
            elif f"{part}q.bias" in state and f"{part}v.bias" in state:  # BEiT and DINOv3: keys need none
                out[f"{part}q_bias"], out[f"{part}v_bias"] = out.pop(f"{part}q.bias"), out.pop(f"{part}v.bias")
        elif name.startswith("attn_pool.qkv.") and len(state[name]) % 3 == 0:
            kind, third = name.removeprefix("attn_pool.qkv."), len(state[name]) // 3
            joint = out.pop(name)
            out[f"attn_pool.q.{kind}"], out[f"attn_pool.kv.{kind}"] = joint[:third].clone(), joint[third:].clone()
    for name, dimensions in (("cls_token", 3), ("pos_embed", 3)):
        while name in out and 0 < out[name].ndim < dimensions:
            out[name] = out[name][None]
    return out
