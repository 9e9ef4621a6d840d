"""“Copy as Python” for the maps of a class: Libra's rules and the map itself, as lines of plain torch."""

import torch

from vitdemo.attention.question import OF_A_GRADIENT, Question
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import Trace
from vitdemo.core.models.vit import Vit

TOO_LONG = "This map takes more than a few lines of timm: use “python -m vitdemo attention” for it."
NORM = [
    "def norm(part, x):  # Libra: the deviation is a constant for the gradient",
    "    scale = (x.var(-1, correction=0, keepdim=True) + part.eps).sqrt().detach()",
    "    return (x - x.mean(-1, keepdim=True)) / scale * part.weight + part.bias",
]


def keeping(question: Question) -> str:
    """The expression of a hook that keeps a block's attention in `maps`; under Libra's rules, the gradient ends there."""
    if question.method in ("votes", "fullgrad") or (question.method in OF_A_GRADIENT and question.gradient == "libra"):
        return "maps.append(hook[2].detach().requires_grad_()) or maps[-1]"
    return "maps.append(hook[2])"


def rule_lines(question: Question, vit: Vit) -> list[str]:
    """The code lines that give the model's layers Libra's gradients.

    Raises: UserError for a model with layers for which these lines have no rule.
    """
    if question.method == "votes":
        _check_norms(vit)
        if vit.adapter.norms_after or any(_is_norm(part) and name.endswith("attn.norm") for name, part in vit.module.named_modules()):
            raise UserError(TOO_LONG)
        return [
            *NORM,
            "for name, part in model.named_modules():",
            "    if isinstance(part, torch.nn.LayerNorm):  # the head reads what a block adds, and not what later blocks make of it",
            "        inside = name.startswith('blocks.')",
            "        part.forward = lambda x, part=part, inside=inside: norm(part, x.detach() if inside else x)",
        ]
    if question.method != "fullgrad" and (question.method not in OF_A_GRADIENT or question.gradient == "plain"):
        return []
    _check_norms(vit)
    _check_activations(vit)
    if question.method == "fullgrad" and any(name.endswith(("q_bias", "mlp_bias")) for name, _ in vit.module.named_parameters()):
        raise UserError(TOO_LONG)  # biases that are no layer's own
    return [
        *NORM,
        "for part in model.modules():",
        "    if isinstance(part, torch.nn.LayerNorm):",
        "        part.forward = lambda x, part=part: norm(part, x)",
        "    elif isinstance(part, torch.nn.GELU):  # its gate, Φ(x), is a constant too",
        "        part.forward = lambda x: x * torch.special.ndtr(x).detach()",
    ]


def class_lines(question: Question, trace: Trace, vit: Vit, part: str, readout: str, grid: str) -> list[str]:
    """The code lines that compute `heat` from the logits and the attention maps: `follow(target)` gives the map of one class.

    Args:
        part: the expression for the attention of the layers that take part.
        readout, grid: the indices that take the answer's row, and the patches on their grid.
    """
    target = int(trace.logits.argmax()) if question.target is None else question.target
    heat = f"heat = follow({target})" + (f" - follow({question.other})" if question.other is not None else "")
    if question.method == "fullgrad":
        return [
            "def follow(target):",
            "    slopes = torch.autograd.grad(logits[0, target], [out for _, out in added], retain_graph=True, materialize_grads=True)",
            "    shares = [(value.detach() * slope)[0].sum(-1) for (value, _), slope in zip(added, slopes)]",
            f"    return sum(shares){grid}",
            heat,
        ]
    lines = ["def follow(target):", f"    flow, used = torch.eye({trace.attention.shape[-1]}), {part}"]
    each = "    for attention, slope in zip(used, torch.autograd.grad(logits[0, target], used, retain_graph=True)):"
    if question.method == "votes":
        lines = ["def follow(target):", f"    votes, used = 0, {part}", each, "        votes = votes + (slope * attention)[0].sum((0, 1))"]
        return [*lines, f"    return votes{grid}", heat]
    if question.method == "relevance":
        step = ["        flow = flow + (slope * attention)[0].clamp(min=0).mean(0) @ flow"]
    else:
        step = [
            f"        step = (slope * attention)[0].mean(0).clamp(min=0) + torch.eye({trace.attention.shape[-1]})",
            "        flow = step / step.sum(-1, keepdim=True) @ flow",
        ]
    return [*lines, each, *step, f"    return flow{readout}{grid}", heat]


def added_lines(question: Question, trace: Trace) -> list[str]:
    """The code lines of FullGrad+ that keep, as `added`, what enters the blocks, and every bias with the sum that it is part of."""
    if question.method != "fullgrad":
        return []
    last = question.layer or trace.layers
    blocks = f"model.blocks[{question.start_layer - 1}:{last}]"
    norm = ", *model.norm.named_modules()" if last == trace.layers else ""
    return [
        "added = []  # what enters each block, and every bias with its sum",
        f"for block in {blocks}:",
        "    block.register_forward_pre_hook(lambda block, given: added.append((given[0], given[0])))",
        f"for name, part in [*{blocks}.named_modules(){norm}]:",
        "    if getattr(part, 'bias', None) is not None and 'rel_pos' not in name:",
        "        part.register_forward_hook(lambda part, given, out: added.append((part.bias, out)))",
    ]


def _check_norms(vit: Vit) -> None:
    """Raises: UserError for a model whose blocks have other norms than layer norms with a bias."""
    norms = [part for part in vit.adapter.blocks.modules() if "norm" in type(part).__name__.lower()]
    if not all(_is_norm(part) and part.bias is not None for part in norms):
        raise UserError(TOO_LONG)


def _check_activations(vit: Vit) -> None:
    """Raises: UserError for a model whose blocks have another activation than GELU."""
    for name, part in vit.adapter.blocks.named_modules():
        passive = isinstance(part, torch.nn.Identity | torch.nn.Dropout) or "rel_pos" in name or list(part.children())
        gelu = isinstance(part, torch.nn.GELU) and part.approximate == "none"
        if not (passive or gelu or list(part.parameters())):
            raise UserError(TOO_LONG)


def _is_norm(part: torch.nn.Module) -> bool:
    return isinstance(part, torch.nn.LayerNorm)
