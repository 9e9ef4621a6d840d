"""The first lines of every “Copy as Python”: a model and a photo, in plain timm, as this project loads and prepares them."""

from typing import Any

from vitdemo.core.config import DEMO_MODEL, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models.catalogue import split_precision
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.preprocessing import Preprocessing

CONVERTED = "ImageCms.profileToProfile(photo, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile('sRGB'), outputMode='RGB')"
NOT_PLAIN = "Plain timm can't open this model's files as they are: export it as SafeTensors, and copy the code of the exported model."
TIMM_HAS_NOT = ("icc", "resize")  # entries of Preprocessing without a word in timm's config


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

    Raises: UserError for a model that plain timm can't open as it is.
    """
    if not vit.plain:
        raise UserError(NOT_PLAIN)
    name = f"local-dir:{vit.name}" if bundle else vit.name
    weights = f"checkpoint_path={checkpoint!r}" if checkpoint else "pretrained=True"
    resized = ", dynamic_img_size=True" if preprocessing.size != vit.preprocessing.size and vit.adapter.fixed_size else ""
    rounded = f"  # timm computes in fp32, the app in {vit.precision}: the numbers differ a little" if vit.reduced else ""
    return f"model = timm.create_model({name!r}, {weights}{resized}).eval(){rounded}"


def weights_of(model: str, vit: Vit, settings: Settings) -> dict[str, Any]:
    """The arguments of `model_line` that say where a reader's timm finds the weights: in a folder or a file of the reader."""
    operators = ("", settings.model, settings.public_model)
    given = model in operators or split_precision(model)[0] in operators
    checkpoint = settings.checkpoint.name if settings.checkpoint and given else ""
    name = settings.model if given else model
    return {"bundle": name.startswith(("local-dir:", "own:")) or vit.name == DEMO_MODEL, "checkpoint": checkpoint}


def image_lines(vit: Vit, preprocessing: Preprocessing, photo: str) -> list[str]:
    """The code lines that make `image`, the model's input, (1, 3, height, width), of a photo's file."""
    changed = [name for name in preprocessing.differences(vit.preprocessing) if name not in TIMM_HAS_NOT]
    values = {name: getattr(preprocessing, name) for name in changed}
    if "size" in values:
        values["input_size"] = (3, *values.pop("size"))
    return [
        f"config = timm.data.resolve_model_data_config(model){f' | {values!r}' if values else ''}",
        f"photo = ImageOps.exif_transpose(Image.open({photo!r}))",
        *(["if icc := photo.info.get('icc_profile'):", f"    photo = {CONVERTED}"] if preprocessing.icc == "convert" else []),
        *_transformed(preprocessing),
    ]


def _transformed(preprocessing: Preprocessing) -> list[str]:
    """The code lines from an upright `photo` to `image`: timm's transform, or where the model has another resize and crop, these."""
    if not preprocessing.resize:
        return ["image = timm.data.create_transform(**config, is_training=False)(photo.convert('RGB'))[None]"]
    (tall, wide), (height, width) = preprocessing.resize, preprocessing.size
    size = f"({wide}, {tall})" if preprocessing.crop_mode == "squash" else f"[int({wide} * side / min(photo.size)) for side in photo.size]"
    return [
        f"photo = photo.convert('RGB').resize({size}, Image.Resampling.{preprocessing.interpolation.upper()})",
        f"left, top = (photo.width - {width}) // 2, (photo.height - {height}) // 2",
        f"photo = photo.crop((left, top, left + {width}, top + {height}))",
        "steps = timm.data.create_transform(**config, is_training=False).transforms[-2:]  # to normalised numbers",
        "image = steps[1](steps[0](photo))[None]",
    ]
