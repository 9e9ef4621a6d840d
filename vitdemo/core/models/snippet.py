"""The first lines of every “Copy as Python”: a model and a photo, in plain timm, as this project loads and prepares them."""

from typing import Any

from vitdemo.core.config import DEMO_MODEL, Settings
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.preprocessing import Preprocessing

CONVERTED = "ImageCms.profileToProfile(photo, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile('sRGB'), outputMode='RGB')"


def imports(preprocessing: Preprocessing, photo: str) -> list[str]:
    """The code lines that import what the others need, and teach Pillow HEIC for such a photo."""
    converts = preprocessing.icc == "convert"
    lines = ["import io, timm, torch", "from PIL import Image, ImageCms, ImageOps"] if converts else ["import timm, torch"]
    lines += [] if converts else ["from PIL import Image, ImageOps"]
    return lines + ["import pi_heif; pi_heif.register_heif_opener()"] * photo.lower().endswith((".heic", ".heif"))


def model_line(vit: Vit, preprocessing: Preprocessing, *, bundle: bool = False, checkpoint: str = "") -> str:
    """The code line that makes `model`.

    Args:
        bundle: whether the model is a folder in timm's layout; the reader needs that folder to run the code.
        checkpoint: file name of the weights, which the reader needs to run the code; empty for timm's own weights.
    """
    name = f"local-dir:{vit.name}" if bundle else vit.name
    weights = f"checkpoint_path={checkpoint!r}" if checkpoint else "pretrained=True"
    resized = ", dynamic_img_size=True" if preprocessing.size != vit.preprocessing.size and vit.adapter.fixed_size else ""
    return f"model = timm.create_model({name!r}, {weights}{resized}).eval()"


def weights_of(model: str, vit: Vit, settings: Settings) -> dict[str, Any]:
    """The arguments of `model_line` that say where a reader's timm finds the weights: in a folder or a file of the reader."""
    checkpoint = settings.checkpoint.name if settings.checkpoint and model == settings.model else ""
    return {"bundle": model.startswith(("local-dir:", "own:")) or vit.name == DEMO_MODEL, "checkpoint": checkpoint}


def image_lines(vit: Vit, preprocessing: Preprocessing, photo: str) -> list[str]:
    """The code lines that make `image`, the model's input, (1, 3, height, width), of a photo's file."""
    changed = [name for name in preprocessing.differences(vit.preprocessing) if name != "icc"]  # timm's config has no such entry
    values = {name: getattr(preprocessing, name) for name in changed}
    if "size" in values:
        values["input_size"] = (3, *values.pop("size"))
    return [
        f"config = timm.data.resolve_model_data_config(model){f' | {values!r}' if values else ''}",
        f"photo = ImageOps.exif_transpose(Image.open({photo!r}))",
        *(["if icc := photo.info.get('icc_profile'):", f"    photo = {CONVERTED}"] if preprocessing.icc == "convert" else []),
        "image = timm.data.create_transform(**config, is_training=False)(photo.convert('RGB'))[None]",
    ]
