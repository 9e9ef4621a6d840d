"""“Copy as Python”: an attention map as about ten lines of plain timm and torch, which run without this project."""

from collections.abc import Sequence

from vitdemo.attention.class_snippet import TOO_LONG, added_lines, class_lines, keeping, rule_lines
from vitdemo.attention.question import OF_A_CLASS, OF_A_PATCH, ONLY_FUSED, Question
from vitdemo.core.errors import UserError
from vitdemo.core.inference.trace import Trace
from vitdemo.core.models.snippet import image_lines, imports, model_line
from vitdemo.core.models.vit import Vit
from vitdemo.core.photos.preprocessing import Preprocessing

FUSED = {"mean": "mean({})", "max": "amax({})", "min": "amin({})"}


def snippet(
    question: Question,
    trace: Trace,
    vit: Vit,
    preprocessing: Preprocessing,
    *,
    photo: str = "photo.jpg",
    bundle: bool = False,
    checkpoint: str = "",
    off: Sequence[tuple[int, int]] = (),
) -> str:
    """Write Python code that ends with `heat`, (rows, columns), equal to the requested map.

    Args:
        photo: the photo's file name, as the code opens it.
        bundle: whether the model is a folder in timm's layout; the reader needs that folder to run the code.
        checkpoint: file name of the weights, which the reader needs to run the code; empty for timm's own weights.
        off: the heads that are switched off, as pairs (layer from 1, head from 0).

    Raises: UserError for a map that plain timm cannot compute in a few lines.
    """
    if vit.adapter.pool is not None or question.discard:
        raise UserError(TOO_LONG)
    attention = ".attn.attn_drop" if hasattr(vit.adapter.blocks[0], "attn") else ".attn_drop"
    lines = [
        *imports(preprocessing, photo),
        "",
        "timm.layers.set_fused_attn(False)  # so that the attention can be read",
        model_line(vit, preprocessing, bundle=bundle, checkpoint=checkpoint),
        *image_lines(vit, preprocessing, photo),
        *rule_lines(question, vit),
        "maps = []",
        "for block in model.blocks:",
        f"    block{attention}.register_forward_hook(lambda *hook: {keeping(question)})",
        *_switch_off(off, trace.heads, attention),
        *added_lines(question, trace),
        "logits = model(image)",
    ]
    return "\n".join([*lines, *_map_lines(question, trace, vit), "heat = heat.detach().numpy()  # rows × columns"]) + "\n"


def _switch_off(off: Sequence[tuple[int, int]], heads: int, attention: str) -> list[str]:
    """The code lines that switch heads off, as `ablation.without_heads` does: their attention is kept, and then counts for nothing."""
    if not off:
        return []
    rest = f"hook[2] * (torch.arange({heads}) != head)[:, None, None]"
    return [
        f"for layer, head in {list(off)}:  # switched off",
        f"    model.blocks[layer - 1]{attention}.register_forward_hook(lambda *hook, head=head: {rest})",
    ]


def _map_lines(question: Question, trace: Trace, vit: Vit) -> list[str]:
    """The code lines that compute `heat` from the recorded attention maps."""
    layer, (rows, columns), tokens = question.layer or trace.layers, trace.grid, trace.attention.shape[-1]
    grid = f"[{trace.prefix}:].reshape({rows}, {columns})"
    readout = "[0]" if trace.has_cls and float(trace.readout[0]) == 1 else _pooled_index(trace)
    if question.method == "cls":
        if isinstance(question.head, str):
            where = "[:, 0]" if trace.has_cls else _pooled_index(trace, "[:, {}:].mean(1)")
            return [f"heat = maps[{layer - 1}][0]{where}.{FUSED[question.head].format(0)}{grid}"]
        row = "[0]" if trace.has_cls else _pooled_index(trace)
        return [f"heat = maps[{layer - 1}][0, {question.head}]{row}{grid}"]
    if question.method in OF_A_PATCH:
        assert question.patch is not None  # Question has checked it
        token = trace.prefix + question.patch[0] * columns + question.patch[1]
        fused = f"[0].{FUSED[question.head].format(0)}" if isinstance(question.head, str) else f"[0, {question.head}]"
        return [f"heat = maps[{layer - 1}]{fused}{f'[{token}]' if question.method == 'looks-at' else f'[:, {token}]'}{grid}"]
    part = f"maps[{question.start_layer - 1}:{layer}]"
    if question.method == "rollout":
        if not isinstance(question.head, str):
            raise UserError(ONLY_FUSED)
        return [
            f"flow = torch.eye({tokens})",
            f"for attention in {part}:",
            f"    step = attention[0].{FUSED[question.head].format(0)} + torch.eye({tokens})",
            "    flow = step / step.sum(-1, keepdim=True) @ flow",
            f"heat = flow{readout}{grid}",
        ]
    assert question.method in OF_A_CLASS
    return class_lines(question, trace, vit, part, readout, grid)


def _pooled_index(trace: Trace, pattern: str = "[{}:].mean(0)") -> str:
    """The index expression for a readout other than the CLS token: the mean of the tokens that the model pools."""
    return pattern.format(0 if float(trace.readout[0]) else trace.prefix)
