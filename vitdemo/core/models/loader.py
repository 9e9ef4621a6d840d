"""Load a model by its name: build the architecture with timm, read the weights from a file, check them, and load them into the model."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.models._manipulate import reinit_non_persistent_buffers

from vitdemo.core.config import DEMO_MODEL, Settings
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.models import weights
from vitdemo.core.models.adapter import Adapter
from vitdemo.core.models.catalogue import OPEN_SOURCE
from vitdemo.core.models.checkpoint.fit import fit, fit_head, laying_out, unsaid
from vitdemo.core.models.checkpoint.layouts import to_timm
from vitdemo.core.models.checkpoint.positions import resampled_by_timm
from vitdemo.core.models.checkpoint.read import BrokenFile, left_aside, read, weights_in
from vitdemo.core.models.huggingface import repository
from vitdemo.core.models.huggingface.build import build as build_hugging_face
from vitdemo.core.models.huggingface.config import HuggingFaceConfig
from vitdemo.core.models.huggingface.fit import fitted
from vitdemo.core.models.huggingface.processor import preprocessing_of
from vitdemo.core.models.labels import Label, labels_of, named_classes, read_labels
from vitdemo.core.models.names import bundle_folder, is_hugging_face, repository_of, skeleton
from vitdemo.core.models.ood import OodDetector
from vitdemo.core.models.precision import bytes_each, set_precision
from vitdemo.core.models.vit import Vit
from vitdemo.core.models.weights import LoadProgress, OnProgress
from vitdemo.core.photos.preprocessing import ICC, Preprocessing

PROJECTION = "visual_projection.weight"  # CLIP's: what it gives are features
Reserve = Callable[[int], None]
Announce = Callable[[torch.nn.Module], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Parts:
    """A model before it is put together: a module on the meta device, its weights, and what belongs to it."""

    name: str
    module: Any
    state: dict[str, torch.Tensor]
    labels: tuple[Label, ...]
    preprocessing: Preprocessing
    notes: list[str]
    plain: bool


def load(
    name: str,
    settings: Settings,
    device: torch.device,
    on_progress: OnProgress,
    reserve: Reserve = lambda _: None,
    *,
    precision: str = "fp32",
) -> Vit:
    """Load one model by timm name, Hugging Face repository, `local-dir:DIR` or `demo`.

    The operator's model gets the weights of `settings.checkpoint` and the class names of `settings.labels`.

    Args:
        reserve: called with the bytes that the model will take, once they are known; it may refuse.
        precision: fp32, bf16 or fp16.

    Raises: UserError that says what to do; HubUnreachable where the weights are not on this machine and the hub can't be reached.
    """
    given = settings.checkpoint if name == settings.model else None
    source, folder, mapped = "", bundle_folder(name), precision != "fp32"  # the cast copies each weight
    if repo := repository_of(name):
        folder, source = repository.folder_of(repo, settings, on_progress, weights_too=given is None)
    elif folder:
        source = "this app" if name == DEMO_MODEL else "a local folder"

    def announce(module: torch.nn.Module) -> None:
        reserve(bytes_each(precision) * sum(parameter.numel() for parameter in module.parameters()))

    try:
        if folder and is_hugging_face(folder):
            parts = _from_hugging_face(folder, given or weights_in(folder), settings, on_progress, announce, mapped)
        else:
            timms = f"local-dir:{folder}" if repo else name
            module = skeleton(timms)
            announce(module)
            path = given or (weights_in(folder) if folder else None)
            if path is None:
                path, source = _from_hub(name, module.pretrained_cfg, settings, on_progress)
            parts = _from_timm(timms, module, folder, path, settings, on_progress, mapped)
    except BrokenFile as error:
        if not given and source.startswith("the hub"):
            weights.forget(error.path)  # the next attempt downloads it again
        raise
    if settings.labels and name == settings.model:
        parts = replace(parts, labels=read_labels(settings.labels, parts.module.num_classes))
    module = parts.module
    reinit_non_persistent_buffers(module.to_empty(device="cpu"))  # what a family computes once, such as rotary positions: no file has it
    module.load_state_dict(parts.state, assign=True)
    module = set_precision(module, precision, device).eval().requires_grad_(False)
    return Vit(
        name=repo or parts.name,
        module=module,
        labels=parts.labels,
        preprocessing=parts.preprocessing,
        source="the file given at the start" if given else source,
        device=device,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        ood=OodDetector.load(folder) if folder and not repo else None,
        notes=tuple(parts.notes),
        plain=parts.plain,
        precision=precision,
    )


def _from_timm(
    name: str, module: Any, folder: Path | None, path: Path, settings: Settings, on_progress: OnProgress, mapped: bool
) -> _Parts:
    """Read weights for timm's own module, whatever layout they have."""
    config, classes = cast(dict[str, Any], module.pretrained_cfg), module.num_classes
    on_progress(LoadProgress("load"))
    checkpoint = read(path, mapped=mapped)
    with laying_out(checkpoint.name):
        state, aside = to_timm(checkpoint.state, checkpoint.layout)
    notes = list(checkpoint.notes)
    if arguments := unsaid(state, module):
        module = skeleton(name, **arguments)
        notes.append(f"Built with {', '.join(arguments)}, as the tensors show.")
    if checkpoint.layout in ("Hugging Face", "torchvision"):
        notes.insert(0, f"Converted from {checkpoint.layout}'s layout.")
        with laying_out(checkpoint.name):
            state, said = fitted(state, module, projected=PROJECTION in checkpoint.state)
        notes += said
    scalars = [key for key, value in state.items() if not value.ndim and key not in module.state_dict()]  # an optimizer's, or a loop's
    notes += [left_aside([*aside, *scalars])] if aside or scalars else []
    notes += fit_head(state, module) if checkpoint.layout else []  # other names are timm's converter's to know
    before = {key: value for key, value in state.items() if key not in scalars}
    state = fit(before, module, checkpoint.name)
    notes += resampled_by_timm(before, state, module)
    labels: tuple[Label, ...] = labels_of(module.num_classes, config)
    if module.num_classes != classes:
        labels = named_classes([], module.num_classes)  # whose classes these are, no config says
    elif not folder and labels and not labels[0].synset:
        labels = ()  # a timm model without class names, such as CLIP's image tower, returns features
    words = _own_words(folder)
    icc = words.get("icc", "ignore") if settings.icc == "auto" else settings.icc
    preprocessing = replace(Preprocessing.of(module), icc=icc, resize=words.get("resize"))
    timms = checkpoint.layout in ("timm", "") and not Adapter(module).own_words
    plain = checkpoint.plain and timms and module.num_classes == classes and not (scalars or arguments)
    return _Parts(folder.name if folder else _full_name(config), module, state, labels, preprocessing, notes, plain)


def _from_hugging_face(folder: Path, path: Path, settings: Settings, on_progress: OnProgress, announce: Announce, mapped: bool) -> _Parts:
    """Read a Hugging Face folder, and convert the model to timm's."""
    config = HuggingFaceConfig.read(folder)
    preprocessing, notes = preprocessing_of(folder, config, icc="ignore" if settings.icc == "auto" else settings.icc)
    on_progress(LoadProgress("load"))
    checkpoint = read(path, mapped=mapped)
    with laying_out(checkpoint.name):
        state, aside = to_timm(checkpoint.state, checkpoint.layout)
    module = build_hugging_face(config, state, preprocessing)
    announce(module)
    made_for = config.size[0] // config.patch[0], config.size[1] // config.patch[1]
    projected, antialias = PROJECTION in checkpoint.state, config.kind == "dinov2_with_registers"  # the only kind that smooths positions
    with laying_out(checkpoint.name):
        state, said = fitted(state, module, projected=projected, made_for=made_for, antialias=antialias)
    scalars = [key for key, value in state.items() if not value.ndim]
    state = fit({key: value for key, value in state.items() if value.ndim}, module, checkpoint.name)
    notes = ["Converted from Hugging Face's layout.", *notes, *checkpoint.notes, *said]
    notes += [left_aside([*aside, *scalars])] if aside or scalars else []
    classes = 0 if projected else module.num_classes
    if config.names and not module.num_classes:
        notes.append("The file has no head: the model gives features.")
    names = config.label_names(classes)
    if config.names and classes and not names:
        notes.append(f"The config names {len(config.names):,} classes, and the head has {classes:,}: they are called by numbers.")
    return _Parts(folder.name, module, state, named_classes(names, classes), preprocessing, notes, plain=False)


def _from_hub(name: str, config: dict, settings: Settings, on_progress: OnProgress) -> tuple[Path, str]:
    """Return the weights file of a timm model, downloaded if it is not cached, and where it came from."""
    repo = config.get("hf_hub_id")
    if not repo:
        raise UsageError(f"timm has no weights for “{name}”: give them with --checkpoint FILE.safetensors.")
    filename = config.get("hf_hub_filename") or "model.safetensors"
    if not filename.endswith(".safetensors"):
        raise UserError(f"The weights of “{name}” are a pickle, which can run code: choose a model with SafeTensors weights.")
    if path := weights.cached(repo, filename):
        return path, repository.CACHED
    if (licence := config.get("license")) and licence not in OPEN_SOURCE:
        log.warning(repository.OWN_LICENCE, repo, licence, repo)
    return weights.fetch(repo, filename, timeout=settings.hub_timeout, on_progress=on_progress), repository.DOWNLOADED


def is_cached(name: str) -> bool:
    """Whether the weights of a timm model are in the hub's cache on this machine."""
    config = timm.get_pretrained_cfg(name)
    return bool(config and config.hf_hub_id and weights.cached(config.hf_hub_id, config.hf_hub_filename or "model.safetensors"))


def _own_words(folder: Path | None) -> dict[str, Any]:
    """Return what a folder's config says that timm has no words for, where this app wrote it: `Preprocessing.own_words`."""
    config = json.loads((folder / "config.json").read_text("utf-8")) if folder else {}
    words, resize = {}, config.get("resize")
    if config.get("icc") in ICC:
        words["icc"] = config["icc"]
    if isinstance(resize, list) and len(resize) == 2 and all(isinstance(side, int) and 8 <= side <= 4096 for side in resize):
        words["resize"] = tuple(resize)
    return words


def _full_name(config: dict) -> str:
    return f"{config['architecture']}.{config['tag']}" if config.get("tag") else config["architecture"]
