"""What the attention maps mean for one class: the gradient of its logit by every one of them."""

import difflib

import torch

from vitdemo.core.errors import UserError
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.unfused import maps_of, unfused
from vitdemo.core.models.vit import Vit


def attention_gradient(vit: Vit, engine: Engine, tensor: torch.Tensor, target: int) -> torch.Tensor:
    """One forward and one backward pass of an unfused twin, in fp32.

    Args:
        tensor: one model input, (3, height, width).
        target: the class, by its place in the logits.

    Returns: (layers, heads, tokens, tokens) float32 on the CPU.
    Raises: UserError for a model without classes, a class it does not have, or attention that can't be read.
    """
    check_target(vit, target)

    def work() -> torch.Tensor:
        with torch.enable_grad(), torch.autocast(vit.device.type, enabled=False):
            # the weights are frozen, so it is the input that makes the maps part of a graph
            batch = tensor[None].clone().to(vit.device).requires_grad_()
            logits, maps = maps_of(unfused(vit.module), batch, vit.name)
            return torch.cat(torch.autograd.grad(logits[0, target], maps)).cpu()

    return engine.run(work)


def check_target(vit: Vit, target: int) -> int:
    """Raises: UserError for a model without classes, or a class that it does not have."""
    if not vit.labels:
        raise UserError(f"{vit.name} gives features, not classes: choose the method cls or rollout, or a model with classes.")
    if not 0 <= target < len(vit.labels):
        raise UserError(f"There is no class {target}: choose one from 0 to {len(vit.labels) - 1}.")
    return target


def find_target(vit: Vit, words: str) -> int:
    """The class that a person means: its index, its synset, its name, or one of the names before and after a comma.

    Raises: UserError for a model without classes, words that name no class (with the closest names), or more than one (with their indices).
    """
    wanted = words.strip().casefold()
    if wanted.isdecimal() and wanted.isascii():
        return check_target(vit, int(wanted))
    check_target(vit, 0)
    whole = [each for each in vit.labels if wanted in (each.name.casefold(), each.synset)]
    names = {each.index: [name.strip().casefold() for name in each.name.split(",")] for each in vit.labels}
    found = whole or [each for each in vit.labels if wanted in names[each.index]]
    if len(found) == 1:
        return found[0].index
    if found:
        raise UserError(f"“{words}” names classes {' and '.join(str(each.index) for each in found)}: give the index of the one you mean.")
    close = difflib.get_close_matches(wanted, [name for each in names.values() for name in each], 3, 0.6)
    perhaps = f" (perhaps {', '.join(close)}?)" if close else ""
    raise UserError(f"{vit.name} has no class “{words}”{perhaps}: give a name or an index from 0 to {len(vit.labels) - 1}.")
