"""A gallery's photos as subjects of a comparison: opened when they are needed, with their masks and the classes that folders name."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath

import torch
from PIL import Image

from vitdemo.attention.evaluation.compare import Subject
from vitdemo.attention.methods.faithfulness import mask_shares
from vitdemo.core.config import Settings
from vitdemo.core.errors import UsageError
from vitdemo.core.models.labels import ClassNames
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.gallery import Item
from vitdemo.core.photos.photo import decode, open_photo


def subjects_of(items: Iterable[Item], vit: Vit, settings: Settings, masks: Path | None = None) -> list[Subject]:
    """One subject for each file.

    Args:
        masks: a folder with masks, white on the object, as large as their upright photos: NAME.png for NAME.jpg, or FOLDER/NAME.png for
            FOLDER/NAME.jpg.

    Raises: UserError where that folder is not there, or has a mask for no photo.
    """
    names, subjects, found = ClassNames(vit.labels), [], 0
    if masks and not masks.is_dir():
        raise UsageError(f"There is no folder {masks} with masks: give one that holds a NAME.png for each NAME.jpg.")
    for item in items:
        mask = _mask_of(item, masks) if masks else None
        shares = partial(_shares, mask, vit, settings) if mask and mask.is_file() else None
        meant = names.meant(item.folder) if item.folder else frozenset()
        subjects.append(Subject(partial(_prepare, item, vit, settings), shares, next(iter(meant)) if len(meant) == 1 else None))
        found += shares is not None
    if masks and not found:
        raise UsageError(f"{masks} has a mask for none of the photos: give a folder that holds a NAME.png for each NAME.jpg.")
    return subjects


def _mask_of(item: Item, masks: Path) -> Path:
    """The mask in the folder called as the photo's, where there is such a folder."""
    name = PurePosixPath(item.name).with_suffix(".png").name
    return masks / item.folder / name if item.folder and (masks / item.folder).is_dir() else masks / name


def _prepare(item: Item, vit: Vit, settings: Settings) -> torch.Tensor:
    return vit.preprocessing(decode(item.read(settings), item.shown, settings).image)


def _shares(mask: Path, vit: Vit, settings: Settings, grid: tuple[int, int]) -> torch.Tensor:
    image: Image.Image = open_photo(mask, settings).image
    return mask_shares(image, vit.preprocessing, grid)
