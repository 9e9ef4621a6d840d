"""Embedded colour profiles (ICC.1:2022): what they are called, and how a photo is converted to sRGB by one.

timm ignores them: it takes every number for sRGB's. So does this project, unless it is asked to convert.
"""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

LARGEST = 4_000_000  # bytes of a profile; those of printing presses have one or two million
UNUSABLE = "The photo's colour profile can't be used, and is ignored."
NOT_SRGB = (
    "The photo's colours are in the profile “{name}”, not sRGB: they are taken for sRGB, unless Preprocessing or --icc converts them."
)
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # colour space of a profile → mode of the image that it is for
_SOURCE = "vitdemo_colours"  # key of a Source in an image's info
_SAME = 3  # levels, of 255, by which a profile may differ from sRGB and still count as sRGB


@dataclass(frozen=True)
class Source:
    """Where a photo's RGB values come from.

    Attributes:
        profile: the ICC profile.
        image: the pixels that the profile is for, where they are not the RGB values themselves.
    """

    profile: bytes
    image: Image.Image | None = None


def keep_profile(rgb: Image.Image, original: Image.Image, profile: bytes | None) -> str | None:
    """Keep with an RGB image what `to_srgb` needs.

    Args:
        original: the image that `rgb` was made from, equally large.
        profile: its ICC profile, if any.

    Returns: a note, where there is a profile and it is not sRGB's.
    """
    if original.mode != "RGB":
        rgb.info.pop("icc_profile", None)  # Pillow would write it into files made from these other pixels
    if not profile:
        return None
    try:
        mode, _, name, is_srgb = _transform(profile) if len(profile) <= LARGEST else (None, None, "", False)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError):
        mode = None
    if mode is None or (original.mode == "CMYK") != (mode == "CMYK") or (mode == "L" and original.mode not in ("1", "L", "LA", "La")):
        return UNUSABLE
    if is_srgb:
        return None
    rgb.info[_SOURCE] = Source(profile, {"RGB": None, "L": rgb.getchannel(0), "CMYK": original}[mode])
    return NOT_SRGB.format(name=name)


def to_srgb(photo: Image.Image) -> Image.Image:
    """Return the photo converted to sRGB by its profile; the photo itself where it has none, or one that is sRGB's or unusable."""
    source = photo.info.get(_SOURCE)
    if source is None:
        return photo
    converted = ImageCms.applyTransform(source.image or photo, _transform(source.profile)[1])
    assert converted is not None  # it is only for a conversion in place
    converted.info = {}
    return converted


@lru_cache(maxsize=8)
def _transform(profile: bytes) -> tuple[str | None, ImageCms.ImageCmsTransform, str, bool]:
    """Return a profile's image mode, the conversion from it to sRGB, its name, and whether it is sRGB in effect.

    Raises: what Pillow raises for a profile that is broken.
    """
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _MODES[opened.profile.xcolor_space]
    transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    description = " ".join((opened.profile.profile_description or "unnamed").split())
    name = "".join(character if character.isprintable() else "�" for character in description)[:60]
    return mode, transform, name, mode != "CMYK" and _changes_nothing(transform, mode)


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a conversion leaves colours as they are, by a few levels; tried with 9 levels of every channel."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3) if mode == "RGB" else levels[None]
    tried = Image.fromarray(colours)
    difference = np.asarray(ImageCms.applyTransform(tried, transform)).astype(int) - np.asarray(tried.convert("RGB"))
    return bool(np.abs(difference).max() <= _SAME)
