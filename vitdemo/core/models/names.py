"""What a model's name stands for: timm's architecture, a folder, or a Hugging Face repository."""

import difflib
import os
import re
from pathlib import Path
from typing import Any

import timm
from timm.models import is_model

from vitdemo.core.config import ASSETS, DEMO_MODEL
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.models.adapter import READS_MEAN_TOO, build, read_mean_too
from vitdemo.core.models.checkpoint.kinds import read_json

LOCAL_DIR = "local-dir:"
MODULES = ("vision_transformer", "deit", "vision_transformer_hybrid", "eva", "beit", "vision_transformer_relpos", "naflexvit")  # timm's
REPOSITORY = re.compile(r"(?:hf-hub:)?(?!timm/)([a-z0-9][\w.-]*/[a-z0-9][\w.-]*)", re.ASCII | re.IGNORECASE)
TIMMS = re.compile(r"(hf-hub:)?timm/")


def bundle_folder(name: str) -> Path | None:
    """Return the folder that `local-dir:DIR` or `demo` names; None for any other name."""
    if name == DEMO_MODEL:
        return ASSETS / "demo"
    return Path(name.removeprefix(LOCAL_DIR)) if name.startswith(LOCAL_DIR) else None


def repository_of(name: str) -> str:
    """Return the “owner/name” of a Hugging Face repository; empty for any other name, also for timm's own repositories."""
    found = REPOSITORY.fullmatch(name)
    return found[1] if found else ""


def is_hugging_face(folder: Path) -> bool:
    """Whether a folder's config.json is transformers' and not timm's."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    return "model_type" in config and "architecture" not in config


def skeleton(name: str, **arguments: Any) -> Any:
    """Build the architecture of a timm name or folder without weights, on the meta device: it takes no memory, and accepts other input
    sizes if its family can.

    Args:
        arguments: the constructor's, in place of the name's own.

    Raises: UserError for a name that timm doesn't know, or whose model is not of one of the adapter's families.
    """
    name = TIMMS.sub("", name, count=1)
    if folder := bundle_folder(name):
        if name == DEMO_MODEL and not folder.is_dir():
            raise UserError("This copy of the app comes without the demo model: choose another one.")
        config = _checked_config(folder)
        name = f"{LOCAL_DIR}{folder}"
    elif not is_model(name.split(".")[0]) or ":" in name:
        raise UsageError(
            f"timm has no model “{name}”{_suggestion(name)}: choose one from docs/models.md, a Hugging Face repository "
            "(OWNER/NAME), or local-dir:DIR."
        )
    try:
        module = build(name, **arguments)
        if folder and config.get("reads") == READS_MEAN_TOO:
            read_mean_too(module)
        return module
    except UserError:
        raise
    except Exception as error:  # a bundle's config may hold anything, so timm may raise anything
        if folder:
            raise UserError(f"timm can't build the model that {folder}/config.json describes: export it again.") from None
        if "tag" in str(error):
            raise UsageError(f"timm knows no weights “{name}”{_suggestion(name)}: check what follows the dot.") from None
        raise UsageError(f"timm can't build “{name}” without more settings: choose another model.") from None


def _checked_config(folder: Path) -> dict[str, Any]:
    if not os.path.isdir(folder):
        raise UsageError(f"There is no folder {folder}: give local-dir: and the path of a bundle.")
    try:
        config = read_json(folder / "config.json")
        architecture = config["architecture"]
        if not isinstance(architecture, str):
            raise TypeError
    except FileNotFoundError:
        raise UsageError(f"{folder} has no config.json, so it is no bundle: export the model in timm's layout.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"The config.json in {folder} can't be read: export the model in timm's layout.") from None
    if not is_model(architecture):
        raise UserError(f"The config.json in {folder} names “{architecture}”, which timm does not know: export the model again.")
    return config


def _suggestion(name: str) -> str:
    """Return “ (perhaps NAME?)” with a ViT of a similar name, or an empty text."""
    known = [
        known for module in MODULES for pretrained in (False, True) for known in timm.list_models(module=module, pretrained=pretrained)
    ]
    for close in difflib.get_close_matches(name, known, 5, 0.7):
        try:
            skeleton(close)
        except UserError:
            continue
        return f" (perhaps {close}?)"
    return ""
