"""timm's ViTs written as others name and cut their tensors: Hugging Face's layouts, torchvision's, wrappers, shards."""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]
TINY_CONFIG = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 192, "image_size": 224}
VIT = {
    "cls_token": "vit.embeddings.cls_token",
    "pos_embed": "vit.embeddings.position_embeddings",
    "patch_embed.proj.": "vit.embeddings.patch_embeddings.projection.",
    "norm.": "vit.layernorm.",
    "head.": "classifier.",
    ".norm1.": ".layernorm_before.",
    ".norm2.": ".layernorm_after.",
    ".attn.proj.": ".attention.output.dense.",
    ".mlp.fc1.": ".intermediate.dense.",
    ".mlp.fc2.": ".output.dense.",
}
DINOV2 = VIT | {".norm1.": ".norm1.", ".norm2.": ".norm2.", ".mlp.fc1.": ".mlp.fc1.", ".mlp.fc2.": ".mlp.fc2."}
TORCHVISION = {
    "cls_token": "class_token",
    "pos_embed": "encoder.pos_embedding",
    "patch_embed.proj.": "conv_proj.",
    "norm.": "encoder.ln.",
    "head.": "heads.head.",
    ".norm1.": ".ln_1.",
    ".norm2.": ".ln_2.",
    ".attn.proj.": ".self_attention.out_proj.",
    ".mlp.fc1.": ".mlp.0.",
    ".mlp.fc2.": ".mlp.3.",
}
WRAPPERS = ("module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "backbone.", "student.backbone.", "teacher.backbone.")


def as_vit(state: Tensors) -> Tensors:
    return _renamed(state, VIT, "vit.encoder.layer.{}")


def as_dinov2(state: Tensors) -> Tensors:
    """With layer scales of 1, and a classifier to which the patches' mean means nothing."""
    out = {name.replace("vit.", "dinov2."): value for name, value in _renamed(state, DINOV2, "vit.encoder.layer.{}").items()}
    for name in [name for name in out if name.endswith(".norm1.weight")]:
        for scale in (1, 2):
            out[name.replace("norm1.weight", f"layer_scale{scale}.lambda1")] = torch.ones_like(out[name])
    out["classifier.weight"] = torch.cat((out["classifier.weight"], torch.zeros_like(out["classifier.weight"])), 1)
    return out


def as_beit(state: Tensors) -> Tensors:
    """Without the keys' bias, which adds the same to every score of a query, and so nothing to its attention."""
    out = {name.replace("vit.", "beit."): value for name, value in as_vit(state).items() if not name.endswith("key.bias")}
    for name in [name for name in out if name.endswith(".layernorm_before.weight")]:
        for scale in (1, 2):
            out[name.replace("layernorm_before.weight", f"lambda_{scale}")] = torch.ones_like(out[name])
    return out


def as_torchvision(state: Tensors) -> Tensors:
    out = _renamed(state, TORCHVISION, "encoder.layers.encoder_layer_{}")
    return {name.replace(".attn.qkv.", ".self_attention.in_proj_"): value for name, value in out.items()}


CONFIGS = {  # what each layout's config says beside the sizes
    "vit": {"model_type": "vit", "layer_norm_eps": 1e-6},
    "dinov2": {"model_type": "dinov2", "layer_norm_eps": 1e-6},
    "beit": {"model_type": "beit", "layer_norm_eps": 1e-6, "use_mean_pooling": False, "use_absolute_position_embeddings": True},
}
WRITERS = {"vit": as_vit, "dinov2": as_dinov2, "beit": as_beit}


def write_hugging_face(folder: Path, state: Tensors, layout: str = "vit", processor: dict | None = None, **config) -> Path:
    """A timm ViT's weights as a Hugging Face folder of a layout. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save(WRITERS[layout](state), folder / "model.safetensors")
    names = (
        {"id2label": {str(index): f"thing {index}" for index in reversed(range(len(state["head.bias"])))}} if "head.bias" in state else {}
    )
    sizes = {**TINY_CONFIG, "patch_size": state["patch_embed.proj.weight"].shape[-1]}
    (folder / "config.json").write_text(json.dumps(sizes | CONFIGS[layout] | names | config))
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def write_shards(folder: Path, state: Tensors, parts: int = 3) -> Path:
    """A state in several files with an index. Returns the index."""
    folder.mkdir(parents=True, exist_ok=True)
    names, places = sorted(state), {}
    for part in range(parts):
        own = names[part::parts]
        file = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        save({name: state[name] for name in own}, folder / file)
        places |= dict.fromkeys(own, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder / "model.safetensors.index.json"


def save(state: Tensors, path: Path) -> Path:
    save_file({name: value.clone().contiguous() for name, value in state.items()}, path, {"format": "pt"})
    return path


def _renamed(state: Tensors, names: dict[str, str], block: str) -> Tensors:
    out = {}
    for name, value in state.items():
        for ours, theirs in names.items():
            if ours[0] == "." and ours in name:
                name = name.replace(ours, theirs)
            elif name.startswith(ours):
                name = theirs + name.removeprefix(ours)
        name = re.sub(r"^blocks\.(\d+)", lambda found: block.format(found[1]), name)
        if ".attn.qkv." in name and block.endswith("layer.{}"):
            for word, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                out[name.replace(".attn.qkv.", f".attention.attention.{word}.")] = part
        else:
            out[name] = value
    return out
