"""Load a model by its name: build the architecture with timm, read the weights from a file, check them, and load them into the model."""

import difflib
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.models import is_model
from timm.models._manipulate import reinit_non_persistent_buffers

from vitdemo.core.config import ASSETS, DEMO_MODEL, Settings
from vitdemo.core.errors import UserError
from vitdemo.core.models import weights
from vitdemo.core.models.adapter import Adapter, build
from vitdemo.core.models.catalogue import OPEN_SOURCE
from vitdemo.core.models.labels import labels_of
from vitdemo.core.models.ood import OodDetector
from vitdemo.core.models.vit import Vit
from vitdemo.core.models.weights import LoadProgress, OnProgress
from vitdemo.core.photos.preprocessing import ICC, Preprocessing

LOCAL_DIR = "local-dir:"
PATCHES = "patch_embed.proj.weight"
MODULES = ("vision_transformer", "deit", "vision_transformer_hybrid", "eva", "beit", "vision_transformer_relpos", "naflexvit")  # timm's
log = logging.getLogger(__name__)


def load(name: str, settings: Settings, device: torch.device, on_progress: OnProgress) -> Vit:
    """Load one model by timm name, `local-dir:DIR` or `demo`. The operator's model gets the weights of `settings.checkpoint`.

    Raises: UserError that says what to do; HubUnreachable where the weights are not on this machine and the hub can't be reached.
    """
    folder = bundle_folder(name)
    module = skeleton(name)
    icc = _own_icc(folder) if settings.icc == "auto" else settings.icc
    config = cast(dict[str, Any], module.pretrained_cfg)
    if settings.checkpoint and name == settings.model:
        path, source = settings.checkpoint, "the file given at the start"
    elif folder:
        path, source = _weights_in(folder), "this app" if name == DEMO_MODEL else "a local folder"
    else:
        path, source = _from_hub(name, config, settings, on_progress)
    labels = labels_of(module.num_classes, config)
    if not folder and labels and not labels[0].synset:
        labels = ()  # a timm model without class names, such as CLIP's image tower, returns features
    on_progress(LoadProgress("load"))
    try:
        state = fit(weights.read_safetensors(path), module, path.name)
    except UserError:
        if source.startswith("the hub"):
            weights.forget(path)
        raise
    reinit_non_persistent_buffers(module.to_empty(device="cpu"))  # what a family computes once, such as rotary positions: no file has it
    module.load_state_dict(state, assign=True)
    module = module.float().to(device).eval().requires_grad_(False)
    return Vit(
        name=folder.name if folder else _full_name(config),
        module=module,
        labels=labels,
        preprocessing=replace(Preprocessing.of(module), icc=icc),
        source=source,
        device=device,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        ood=OodDetector.load(folder) if folder else None,
    )


def bundle_folder(name: str) -> Path | None:
    """Return the folder that `local-dir:DIR` or `demo` names; None for a timm name."""
    if name == DEMO_MODEL:
        return ASSETS / "demo"
    return Path(name.removeprefix(LOCAL_DIR)) if name.startswith(LOCAL_DIR) else None


def skeleton(name: str) -> Any:
    """Build the architecture without weights, on the meta device: it takes no memory, and accepts other input sizes if its family can.

    Raises: UserError for a name that timm doesn't know, or whose model is not of one of the adapter's families.
    """
    if folder := bundle_folder(name):
        if name == DEMO_MODEL and not folder.is_dir():
            raise UserError("This copy of the app comes without the demo model: choose another one.")
        _check_bundle(folder)
        name = f"{LOCAL_DIR}{folder}"
    elif not is_model(name.split(".")[0]) or ":" in name:
        raise UserError(f"timm has no model “{name}”{_suggestion(name)}: choose one from the catalogue in the README, or local-dir:DIR.")
    try:
        return build(name)
    except UserError:
        raise
    except Exception as error:  # a bundle's config may hold anything, so timm may raise anything
        if folder:
            raise UserError(f"timm can't build the model that {folder}/config.json describes: export it again.") from None
        if "tag" in str(error):
            raise UserError(f"timm knows no weights “{name}”{_suggestion(name)}: check what follows the dot.") from None
        raise UserError(f"timm can't build “{name}” without more settings: choose another model.") from None


def fit(state: dict[str, torch.Tensor], module: Any, filename: str) -> dict[str, torch.Tensor]:
    """Convert weights to timm's names, and check that they fit the model.

    Raises: UserError naming the first layer that does not fit, and both shapes.
    """
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    if PATCHES in shapes and getattr(state.get(PATCHES), "ndim", 0) == 4:
        _check_shape(PATCHES, state, shapes, filename)  # timm would resample patches of another size, and the predictions would be wrong
    try:
        state = Adapter(module).converted(state)
    except Exception as error:  # timm's converters expect well-formed files
        raise UserError(f"{filename} can't be laid out as this model ({error}): name the model the file was made for.") from None
    for key in shapes:
        _check_shape(key, state, shapes, filename)
    missing, extra = [key for key in shapes if key not in state], [key for key in state if key not in shapes]
    if missing or extra:
        problem = f"it lacks {missing[0]}" if missing else f"the model has no {extra[0]}"
        raise UserError(f"{filename} does not fit the model: {problem}: name the model the file was made for.")
    if integers := [key for key, value in module.state_dict().items() if value.is_floating_point() > state[key].is_floating_point()]:
        raise UserError(f"{filename} holds whole numbers in {integers[0]}: export the model in fp32 or fp16.")
    return state


def _check_shape(key: str, state: dict[str, torch.Tensor], shapes: dict[str, tuple[int, ...]], filename: str) -> None:
    if key in state and tuple(state[key].shape) != shapes[key]:
        raise UserError(
            f"{filename} does not fit the model: {key} has shape {_shape(state[key].shape)} in the file and {_shape(shapes[key])} in the "
            "model: name the model the file was made for."
        )


def _from_hub(name: str, config: dict, settings: Settings, on_progress: OnProgress) -> tuple[Path, str]:
    """Return the weights file of a timm model, downloaded if it is not cached, and where it came from."""
    repo = config.get("hf_hub_id")
    if not repo:
        raise UserError(f"timm has no weights for “{name}”: give them with --checkpoint FILE.safetensors.")
    filename = config.get("hf_hub_filename") or "model.safetensors"
    if not filename.endswith(".safetensors"):
        raise UserError(f"The weights of “{name}” are a pickle, which can run code: choose a model with SafeTensors weights.")
    if path := weights.cached(repo, filename):
        return path, "the hub cache on this machine"
    if (licence := config.get("license")) and licence not in OPEN_SOURCE:
        log.warning("%s comes under a licence of its own (%s): read it at https://huggingface.co/%s.", repo, licence, repo)
    return weights.fetch(repo, filename, timeout=settings.hub_timeout, on_progress=on_progress), "the hub, downloaded now"


def is_cached(name: str) -> bool:
    """Whether the weights of a timm model are in the hub's cache on this machine."""
    config = timm.get_pretrained_cfg(name)
    return bool(config and config.hf_hub_id and weights.cached(config.hf_hub_id, config.hf_hub_filename or "model.safetensors"))


def _check_bundle(folder: Path) -> None:
    if not os.path.isdir(folder):
        raise UserError(f"There is no folder {folder}: give local-dir: and the path of a bundle.")
    try:
        architecture = json.loads((folder / "config.json").read_text("utf-8"))["architecture"]
        if not isinstance(architecture, str):
            raise TypeError
    except FileNotFoundError:
        raise UserError(f"{folder} has no config.json, so it is no bundle: export the model in timm's layout.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"The config.json in {folder} can't be read: export the model in timm's layout.") from None
    if not is_model(architecture):
        raise UserError(f"The config.json in {folder} names “{architecture}”, which timm does not know: export the model again.")


def _own_icc(folder: Path | None) -> str:
    """Return what a bundle's config says about colour profiles, where this app wrote it; `ignore` for every other model."""
    icc = json.loads((folder / "config.json").read_text("utf-8")).get("icc") if folder else None
    return icc if icc in ICC else "ignore"


def _weights_in(folder: Path) -> Path:
    if (path := folder / "model.safetensors").is_file():
        return path
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if any(file.suffix in weights.PICKLES for file in folder.iterdir()):
        raise UserError(
            f"{folder} holds a pickle checkpoint only, which can run code when it is opened: export the model as model.safetensors."
        )
    raise UserError(f"{folder} has no model.safetensors: export the model again.")


def _full_name(config: dict) -> str:
    return f"{config['architecture']}.{config['tag']}" if config.get("tag") else config["architecture"]


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


def _shape(shape) -> str:
    return "×".join(map(str, shape)) or "scalar"
