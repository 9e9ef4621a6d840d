"""Whether weights fit a module: its head becomes the file's, every other tensor must have the module's name and shape."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.layers import SwiGLUPacked
from timm.models import VisionTransformer

from vitdemo.core.errors import UserError
from vitdemo.core.models.adapter import Adapter
from vitdemo.core.models.checkpoint.positions import grid_of

PATCHES = "patch_embed.proj.weight"
ANOTHER = "name the model the file was made for."
Tensors = dict[str, torch.Tensor]


@contextmanager
def laying_out(filename: str) -> Iterator[None]:
    """Turn whatever a converter raises into a UserError: timm's and ours expect well-formed files."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"{filename} can't be laid out as this model ({reason}): {ANOTHER}") from None


def unsaid(state: Tensors, module: Any) -> dict[str, Any]:
    """The constructor's arguments that a config leaves out, as those of UNI and Virchow do, and the tensors show.

    Returns: none for a module that has the tensors already, or is no VisionTransformer.
    """
    own = module.state_dict()
    arguments: dict[str, Any] = {}
    if type(module) is not VisionTransformer:
        return {}
    if "blocks.0.ls1.gamma" in state and "blocks.0.ls1.gamma" not in own:
        arguments["init_values"] = 1e-5
    if _gated(state) and not _gated(own):
        ratio = len(state["blocks.0.mlp.fc1.weight"]) / module.embed_dim
        arguments |= {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU, "mlp_ratio": ratio}
    registers = state.get("reg_token")
    if registers is not None and registers.ndim == 3 and "reg_token" not in own and getattr(state.get("pos_embed"), "ndim", 0) == 3:
        arguments |= {"reg_tokens": registers.shape[1], "no_embed_class": grid_of(state["pos_embed"].shape[1]) is not None}
    return arguments


def _gated(state: Tensors) -> bool:
    """Whether the first layer of the MLPs gives twice what the second takes: one half gates the other."""
    first, second = (state.get(f"blocks.0.mlp.{name}.weight", torch.empty(0)) for name in ("fc1", "fc2"))
    return first.ndim == second.ndim == 2 and len(first) == 2 * second.shape[1]


def fit_head(state: Tensors, module: Any) -> list[str]:
    """Give the module, on the meta device, a head of the file's size, or none.

    Returns: a sentence where the head is another than the module's own.
    """
    head, classes = state.get("head.weight"), module.num_classes
    if head is None and "head.bias" not in state and classes and state:
        rows, said = 0, "The file has no head: the model gives features."
    elif head is not None and head.ndim == 2 and head.shape[1] == module.embed_dim and len(head) not in (0, classes):
        rows, said = len(head), f"The file's head has {len(head):,} classes, not the {classes:,} of the model that was named."
    else:
        return []
    with torch.device("meta"):
        module.reset_classifier(rows)
    return [said]


def fit(state: Tensors, module: Any, filename: str) -> Tensors:
    """Convert weights to the names of the module's family, and check that they fit the module.

    Raises: UserError naming the first layer that does not fit, and both shapes.
    """
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    if PATCHES in shapes and getattr(state.get(PATCHES), "ndim", 0) == 4:
        _check_shape(PATCHES, state, shapes, filename)  # timm would resample patches of another size, and the predictions would be wrong
    with laying_out(filename):
        state = Adapter(module).converted(state)
    for key in shapes:
        _check_shape(key, state, shapes, filename)
    missing, extra = [key for key in shapes if key not in state], [key for key in state if key not in shapes]
    if missing or extra:
        problem = f"it lacks {missing[0]}" if missing else f"the model has no {extra[0]}"
        raise UserError(f"{filename} does not fit the model: {problem}: {ANOTHER}")
    if integers := [key for key, value in module.state_dict().items() if value.is_floating_point() > state[key].is_floating_point()]:
        raise UserError(f"{filename} holds whole numbers in {integers[0]}: export the model in fp32 or fp16.")
    return state


def _check_shape(key: str, state: Tensors, shapes: dict[str, tuple[int, ...]], filename: str) -> None:
    if key in state and tuple(state[key].shape) != shapes[key]:
        raise UserError(
            f"{filename} does not fit the model: {key} has shape {_shape(state[key].shape)} in the file and {_shape(shapes[key])} in the "
            f"model: {ANOTHER}"
        )


def _shape(shape) -> str:
    return "×".join(map(str, shape)) or "scalar"
