"""A Hugging Face folder's preprocessing: preprocessor_config.json as transformers' PIL processors follow it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitdemo.core.errors import UserError
from vitdemo.core.models.checkpoint.kinds import read_json
from vitdemo.core.models.huggingface.config import HuggingFaceConfig, pair
from vitdemo.core.photos.preprocessing import STATISTICS, Preprocessing

FILES = ("preprocessor_config.json", "processor_config.json")
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's codes
HALF = STATISTICS["inception"]


@dataclass(frozen=True)
class Processor:
    """What transformers assumes where a preprocessor_config.json does not say it.

    Attributes:
        size: shortest edge where `crops` and not `squashes`, else (height, width).
    """

    resample: int
    statistics: tuple[tuple[float, float, float], tuple[float, float, float]]
    size: int = 224
    crop: int = 224
    crops: bool = False
    squashes: bool = True


PROCESSORS = {  # by the first word of `image_processor_type`
    "ViT": Processor(2, HALF),
    "DINOv3ViT": Processor(2, STATISTICS["imagenet"]),
    "DeiT": Processor(3, HALF, size=256, crops=True),
    "Beit": Processor(3, HALF),
    "Siglip": Processor(3, HALF),
    "CLIP": Processor(3, STATISTICS["clip"], crops=True, squashes=False),
    "Bit": Processor(3, STATISTICS["clip"], crops=True, squashes=False),
}
OF_KIND = {"deit": "DeiT", "beit": "Beit", "siglip_vision_model": "Siglip", "clip_vision_model": "CLIP", "dinov3_vit": "DINOv3ViT"}
OF_KIND |= {"dinov2": "Bit", "dinov2_with_registers": "Bit"}


def preprocessing_of(folder: Path, config: HuggingFaceConfig, *, icc: str) -> tuple[Preprocessing, list[str]]:
    """Return a folder's preprocessing, and a sentence where the folder does not say it.

    Raises: UserError for preprocessing that can't be read or done.
    """
    usual = OF_KIND.get(config.kind, "ViT")
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    try:
        if path is None:
            same: dict[str, Any] = {} if PROCESSORS[usual].crops else {"size": list(config.size)}
            return _preprocessing(same, PROCESSORS[usual], icc), [f"No {FILES[0]}: photos are prepared as {usual}'s usually are."]
        given = read_json(path)
        given = given.get("image_processor") or given
        name = str(given.get("image_processor_type") or given.get("feature_extractor_type") or usual)
        for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
            name = name.removesuffix(ending)
        if name not in PROCESSORS:
            raise UserError(f"The {path.name} in {folder} asks for {name}, which this app does not know: choose another model.")
        return _preprocessing(given, PROCESSORS[name], icc), []
    except UserError:
        raise
    except Exception as error:  # the file may hold anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        name = path.name if path else "config.json"
        raise UserError(f"The {name} in {folder} asks for preprocessing that can't be done ({reason}): download it again.") from None


def _preprocessing(given: dict[str, Any], usual: Processor, icc: str) -> Preprocessing:
    """Raises: ValueError and others for what can't be done."""
    if not given.get("do_resize", True):
        raise ValueError("no resize to one size")
    crops = bool(given.get("do_center_crop", usual.crops))
    size = given.get("size", usual.size)
    if isinstance(size, dict) and "shortest_edge" in size:
        squashes, resized = False, pair(size["shortest_edge"])
    elif isinstance(size, dict):
        squashes, resized = True, (int(size["height"]), int(size["width"]))
    else:
        squashes, resized = usual.squashes, pair(size)
    crop = given.get("crop_size", usual.crop)
    final = resized if not crops else (int(crop["height"]), int(crop["width"])) if isinstance(crop, dict) else pair(crop)
    if not squashes and not crops:
        raise ValueError("photos of different shapes")
    if not all(8 <= side <= 4096 for side in (*resized, *final)):
        raise ValueError("a size out of range")
    scale = 255 * float(given.get("rescale_factor", 1 / 255)) if given.get("do_rescale", True) else 255.0
    scale = 1.0 if abs(scale - 1) < 1e-6 else scale  # 1/255 as it is written in JSON
    mean, std = given.get("image_mean") or usual.statistics[0], given.get("image_std") or usual.statistics[1]
    if not given.get("do_normalize", True):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Preprocessing(
        size=final,
        crop_pct=min(1.0, final[0] / resized[0]),
        crop_mode="squash" if squashes else "center",
        interpolation=FILTERS[int(given.get("resample", usual.resample))],
        mean=_per_channel(mean, scale),
        std=_per_channel(std, scale),
        icc=icc,
        resize=resized,
    ).checked()


def _per_channel(values: Any, scale: float) -> tuple[float, float, float]:
    """Numbers for R, G and B on a 0 … 1 scale."""
    red, green, blue = values if isinstance(values, list | tuple) else (values,) * 3
    return float(red) / scale, float(green) / scale, float(blue) / scale
