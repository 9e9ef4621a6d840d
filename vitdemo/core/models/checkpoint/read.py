"""The tensors of a checkpoint: one SafeTensors file, or several by their index, without what wraps the model."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vitdemo.core.errors import UserError
from vitdemo.core.models.checkpoint.kinds import check_safetensors, read_json
from vitdemo.core.models.checkpoint.layouts import LAYOUTS, layout_of

INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
AVERAGED = re.compile(r"(?:^|[._])(?:ema|teacher|shadow|averaged)[._]")
MIN_SHARE = 0.8  # of the tensors that what wraps them must hold, so that no part of another model is taken for the whole
TIMMS_OWN = ("visual.", "module.visual.")  # OpenCLIP's and OpenAI's prefixes: timm's converter knows them
SHORT = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}
SCALES = re.compile(r"(_scale|_scale_inv|scale_weight|\.SCB|absmax|quant_map|quant_state)\b|scales?$")
WEIGHTS = (torch.float32, *SHORT)


class BrokenFile(UserError):
    """A file that is no valid SafeTensors; `path` says which."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path.name} is not a valid SafeTensors file ({reason}): download or export it again.")
        self.path = path


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        name: of the file or folder.
        state: tensor's name → tensor, in memory.
        notes: what was done to read it, a sentence each.
        layout: a key of LAYOUTS; empty for names that none of them has.
        plain: whether the file holds these tensors under these names.
    """

    name: str
    state: dict[str, torch.Tensor]
    notes: tuple[str, ...]
    layout: str
    plain: bool


def read(path: Path, *, mapped: bool = False) -> Checkpoint:
    """Read a checkpoint: a SafeTensors file, an index of several, or a folder with either.

    Args:
        mapped: whether the tensors may stay where the file is mapped to memory, for a caller who copies each at once.

    Raises: UserError that says what the file is instead, or why it can't be a model's weights.
    """
    tensors = read_tensors(path, mapped=mapped)
    refuse_adapter(tensors, path.name)
    check_numbers(tensors, path.name)
    state, notes = unwrapped(tensors, path.name)
    if kinds := {SHORT[value.dtype] for value in state.values() if value.dtype in SHORT}:
        notes.append(f"Weights are {' and '.join(sorted(kinds))} in the file.")
    return Checkpoint(path.name, state, tuple(notes), layout_of(state), plain=state is tensors and path.suffix == ".safetensors")


def read_tensors(path: Path, *, mapped: bool = False) -> dict[str, torch.Tensor]:
    """Read the tensors into memory, by default not memory-mapped: a file may be replaced while the model is in use.

    Raises: UserError for a file that is missing, of another kind or broken.
    """
    if path.is_dir():
        path = weights_in(path)
    if path.name.endswith(".safetensors.index.json"):
        return _read_shards(path, mapped)
    check_safetensors(path)
    if SHARD.search(path.name):
        raise UserError(f"{path.name} is one part of several: give the folder with {INDEX}.")
    return _read_file(path, mapped)


def weights_in(folder: Path) -> Path:
    """Return the weights of a folder: model.safetensors, the index of several files, or the only SafeTensors file.

    Raises: UserError for a folder without, or with only a pickle.
    """
    for name in ("model.safetensors", INDEX):
        if (path := folder / name).is_file():
            return path
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if not files and (pickles := sorted(path for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))):
        raise UserError(
            f"{folder} holds a pickle checkpoint only, which can run code when it is opened: if you trust it, run “python -m vitdemo "
            f"convert {pickles[0]} --output {folder / 'model.safetensors'}”."
        )
    raise UserError(f"{folder} has no model.safetensors: export the model again.")


def _read_file(path: Path, mapped: bool) -> dict[str, torch.Tensor]:
    try:
        return {name: tensor if mapped else tensor.clone() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:  # KeyError: a type that torch has not
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise BrokenFile(path, reason) from None


def shards_of(index: Path) -> list[str]:
    """Return the names of the files that an index lists, which lie beside it.

    Raises: UserError for a file that is no index.
    """
    return sorted(set(_places(index).values()))


def _places(index: Path) -> dict[str, str]:
    """Return the tensors' names, each with the name of the file that holds the tensor."""
    try:
        places = read_json(index)["weight_map"]
        if not places or any(Path(name).name != name or not name.endswith(".safetensors") for name in places.values()):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{index.name} is no index of SafeTensors files: download or export the model again.") from None
    return places


def _read_shards(index: Path, mapped: bool) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for name in shards_of(index):
        if not (index.parent / name).is_file():
            raise UserError(f"{index.name} names {name}, which is not in its folder: download that part too.")
        check_safetensors(index.parent / name)
        state |= _read_file(index.parent / name, mapped)
    if missing := next((name for name in _places(index) if name not in state), None):
        raise UserError(f"{index.name} promises {missing}, which is in none of its files: download or export the model again.")
    return state


def unwrapped(state: dict[str, torch.Tensor], filename: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Take off what wraps the model, such as “module.” of data-parallel training.

    Returns: the model's tensors, the same dictionary where nothing wraps it; and what was done, a sentence each.
    Raises: UserError for several models, of which none is plainly the one that is meant.
    """
    if layout_of(state):
        return state, []
    held: Counter[str] = Counter()
    for name in state:
        for pattern in LAYOUTS.values():
            if found := pattern.match(name):
                held[found["wrapper"]] += 1
                break
    candidates = [wrapper for wrapper in held if wrapper and not wrapper.startswith(TIMMS_OWN) and layout_of(_under(state, wrapper))]
    wrappers = [wrapper for wrapper in candidates if not any(wrapper != other and wrapper.startswith(other) for other in candidates)]
    if not wrappers or sum(name.startswith(tuple(wrappers)) for name in state) < MIN_SHARE * len(state):
        return state, []
    taken = wrappers[0]
    notes = []
    if len(wrappers) > 1:
        averaged = [wrapper for wrapper in wrappers if AVERAGED.search(wrapper)]
        if len(averaged) != 1:
            raise UserError(f"{filename} holds several models ({', '.join(wrappers)}): save the one that you mean alone.")
        taken = averaged[0]
        others = ", ".join(f"“{wrapper}”" for wrapper in wrappers if wrapper != taken)
        notes.append(f"Took the averaged weights, “{taken}”, and left the others, {others}.")
    else:
        notes.append(f"Took “{taken}” off the tensors' names.")
    rest = {name: value for name, value in state.items() if not name.startswith(tuple(wrappers))}
    inside = _under(state, taken)
    heads = {name: value for name, value in rest.items() if re.match(r"(head|fc_norm)\.(weight|bias)$", name) and name not in inside}
    if aside := rest.keys() - heads.keys():
        notes.append(left_aside(aside))
    return inside | heads, notes


def _under(state: dict[str, torch.Tensor], wrapper: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(wrapper): value for name, value in state.items() if name.startswith(wrapper)}


def left_aside(names: Collection[str]) -> str:
    """A sentence that names tensors which are not the model's."""
    first = sorted(names)[:3]
    return f"Left aside {', '.join(first)}{f' and {len(names) - 3} more' if len(names) > 3 else ''}."


def refuse_adapter(state: Collection[str], filename: str) -> None:
    """Raises: UserError for the weights of a LoRA adapter."""
    if any(re.search(r"\blora_|\.lora\.", name) for name in state):
        raise UserError(f"{filename} is a LoRA adapter, which changes a model but is none: merge it and save the whole model.")


def check_numbers(state: dict[str, torch.Tensor], filename: str) -> None:
    """Raises: UserError for quantised weights, which would open and answer wrongly, and for weights that are no numbers."""
    for name, value in state.items():
        if value.ndim and value.element_size() == 1 and value.dtype != torch.bool:
            if any(SCALES.search(other) for other in state):
                raise UserError(f"{filename} holds 8-bit weights ({name}), which this app does not scale back: export in fp16 or fp32.")
            raise UserError(f"{filename} holds 8-bit weights without their scales ({name}): export in fp16 or fp32.")
        if value.dtype in WEIGHTS and not bool(torch.isfinite(value).all()):
            raise UserError(f"{filename} holds values that are no numbers, in {name}: download or export it again.")
