"""A Hugging Face config.json: what its image tower is, and what its classes are called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitdemo.core.errors import UserError
from vitdemo.core.models.checkpoint.kinds import read_json

BASE: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
BASE |= {"image_size": 224, "patch_size": 16, "hidden_act": "gelu"}
SMALL = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
DEFAULTS: dict[str, dict[str, Any]] = {  # what transformers assumes of each `model_type` where a config does not say it
    "vit": {"layer_norm_eps": 1e-12},
    "deit": {"layer_norm_eps": 1e-12},
    "vit_mae": {"layer_norm_eps": 1e-12},
    "ijepa": {"layer_norm_eps": 1e-12},
    "beit": {"layer_norm_eps": 1e-12, "use_mean_pooling": True},
    "dinov2": {"layer_norm_eps": 1e-6, "patch_size": 14},
    "dinov2_with_registers": {"layer_norm_eps": 1e-6},
    "dinov3_vit": {"layer_norm_eps": 1e-5, "rope_theta": 100.0, **SMALL},
    "clip_vision_model": {"layer_norm_eps": 1e-5, "hidden_act": "quick_gelu", "patch_size": 32},
    "siglip_vision_model": {"layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh"},
}
TOWERS = {  # a model with a text tower, or another word for the same tower: the image tower's `model_type`
    "clip": "clip_vision_model",
    "siglip": "siglip_vision_model",
    "siglip2": "siglip_vision_model",
    "siglip2_vision_model": "siglip_vision_model",
}
CONVERTED = "ViT, DeiT, DINOv2, DINOv3, ViT-MAE, I-JEPA, BEiT, CLIP or SigLIP"


@dataclass(frozen=True)
class HuggingFaceConfig:
    """A config.json of one of DEFAULTS.

    Attributes:
        kind: the image tower's `model_type`.
        values: the image tower's, with transformers' own defaults.
        names: the classes' names by their indices; empty where the config gives none.
        size: (height, width) of the inputs that the position table was made for.
        patch: (height, width) of a patch.
    """

    kind: str
    values: dict[str, Any]
    names: dict[int, str]
    size: tuple[int, int] = (224, 224)
    patch: tuple[int, int] = (16, 16)

    @classmethod
    def read(cls, folder: Path) -> "HuggingFaceConfig":
        """Read a folder's config.json.

        Raises: UserError for a model of another kind, and for a config that can't be read.
        """
        try:
            config = read_json(folder / "config.json")
            given = config["model_type"]
            kind = TOWERS.get(given, given)
            if kind not in DEFAULTS:
                raise UserError(f"“{given}” in {folder / 'config.json'} is no ViT that this app converts: give a {CONVERTED}.")
            tower = config.get("vision_config") or config
            names = {int(index): str(name) for index, name in (config.get("id2label") or {}).items()}
            if all(name == f"LABEL_{index}" for index, name in names.items()):
                names = {}  # transformers' own placeholders
            values = BASE | DEFAULTS[kind] | {name: value for name, value in tower.items() if value is not None}
            return cls(kind, values, names, pair(values["image_size"]), pair(values["patch_size"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise UserError(f"The config.json in {folder} can't be read: download or export the model again.") from None

    def label_names(self, classes: int) -> list[str]:
        """The names of this many classes, in the order of the logits; empty where the config does not name each."""
        return [self.names[index] for index in range(classes)] if self.names.keys() == set(range(classes)) else []


def pair(value: Any) -> tuple[int, int]:
    """A number above 0, or two, as (height, width). Raises: ValueError, TypeError, OverflowError for anything else."""
    height, width = value if isinstance(value, list | tuple) else (value, value)
    if min(int(height), int(width)) < 1:
        raise ValueError("no size")
    return int(height), int(width)
