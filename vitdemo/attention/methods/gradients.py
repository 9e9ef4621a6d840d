"""How much the attention matters for one class: the gradient of the class's logit by every attention map."""

import difflib
from contextlib import nullcontext

import torch

from vitdemo.attention.methods.libra import Gradient, Libra, check_gradient
from vitdemo.core.errors import UserError
from vitdemo.core.inference.attention_calls import AttentionCalls, step_by_step
from vitdemo.core.inference.engine import Engine
from vitdemo.core.models.precision import unrounded
from vitdemo.core.models.vit import Vit
from vitdemo.core.names import one_spelling


def attention_gradient(vit: Vit, engine: Engine, tensor: torch.Tensor, target: int, gradient: Gradient = "libra") -> torch.Tensor:
    """The gradient of a class's logit by the attention: one forward and one backward pass, step by step.

    Both are in fp32: a model in a lower precision is computed with the same weights in fp32.

    Args:
        tensor: one model input, (3, height, width).
        target: the class's index in the logits.
        gradient: by Libra's rules, or plain, as autograd has it and as papers report it.

    Returns: (layers, heads, tokens, tokens) float32 on the CPU.
    Raises: UserError for a model without classes, a class it does not have, an unknown gradient, or attention that can't be read.
    """
    check_target(vit, target)
    check_gradient(gradient)
    maps: list[torch.Tensor] = []
    libra = gradient == "libra"

    def work() -> torch.Tensor:
        exact = unrounded(vit)
        with (
            torch.enable_grad(),
            Libra() if libra else nullcontext(),
            AttentionCalls(exact, step_by_step(maps, constant=libra)),
        ):
            # the weights are frozen, so the input has to require a gradient to make the maps part of the graph
            logits = exact.module(tensor[None].clone().to(vit.device).requires_grad_())
            return torch.cat(torch.autograd.grad(logits[0, target], maps[: vit.adapter.layers])).cpu()

    return engine.run(work)


def check_target(vit: Vit, target: int) -> int:
    """Return the class index if the model has it. Raises: UserError for a model without classes, or a class that it does not have."""
    if not vit.labels:
        raise UserError(f"{vit.name} gives features, not classes: choose the method cls or rollout, or a model with classes.")
    if not 0 <= target < len(vit.labels):
        raise UserError(f"There is no class {target}: choose one from 0 to {len(vit.labels) - 1}.")
    return target


def find_target(vit: Vit, words: str) -> int:
    """The index of the class that a person names: by its index, its synset, its full name, or one of its comma-separated names.

    Raises: UserError for a model without classes, words that name no class (the message lists the closest names), or words that name
    several classes (the message lists their indices).
    """
    given = one_spelling(words.strip())
    wanted = given.casefold()
    if wanted.removeprefix("-").isdecimal() and wanted.isascii():
        return check_target(vit, int(wanted))
    check_target(vit, 0)
    spelled = {label.index: one_spelling(label.name) for label in vit.labels}
    exact = [label for label in vit.labels if given in (spelled[label.index], label.synset)]
    exact = exact or [label for label in vit.labels if wanted in (spelled[label.index].casefold(), label.synset)]
    names = {index: [name.strip() for name in name.casefold().split(",")] for index, name in spelled.items()}
    matches = exact or [label for label in vit.labels if wanted in names[label.index]]
    if len(matches) == 1:
        return matches[0].index
    if matches:
        raise UserError(
            f"“{words}” names classes {' and '.join(str(label.index) for label in matches)}: give the index of the one you mean."
        )
    known = [name for aliases in names.values() for name in aliases]
    holding = [name for name in known if f" {wanted} " in f" {name} "]  # “cat” is a word of “tabby cat”, and spelled like “crate”
    close = holding[:3] or difflib.get_close_matches(wanted, known, 3, 0.6)
    suggestion = f" (perhaps {', '.join(close)}?)" if close else ""
    raise UserError(f"{vit.name} has no class “{words}”{suggestion}: give a name or an index from 0 to {len(vit.labels) - 1}.")
