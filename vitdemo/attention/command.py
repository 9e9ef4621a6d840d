"""`python -m vitdemo attention`: one attention map of one photo, as a picture and as numbers."""

import argparse
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitdemo.core.config import MODEL_FLAGS, Settings
from vitdemo.core.errors import UsageError, UserError
from vitdemo.core.outputs import check_writable, unwritable

if TYPE_CHECKING:
    from vitdemo.attention.methods.maps import Fusion

METHODS = ("cls", "rollout", "relevance", "gradient-rollout")
FUSED = ("mean", "max", "min")


def add(commands) -> None:
    """Add the `attention` command to the command line."""
    command = commands.add_parser("attention", help="where the model looks: a map of one photo")
    command.add_argument("image", type=Path, metavar="IMAGE", help="a photo")
    command.add_argument("--method", required=True, metavar="METHOD", help=", ".join(METHODS))
    command.add_argument("--layer", type=int, metavar="L", help="cls: of this layer; else: up to this layer, from 1 (default: the last)")
    command.add_argument("--head", metavar="H", help="cls: a head, from 0, or mean, max or min of all (default: mean)")
    command.add_argument("--target", metavar="CLASS", help="relevance and gradient-rollout: a name or an index (default: the top class)")
    command.add_argument("--fusion", metavar="HOW", help="rollout: how heads become one: mean, max or min (default: mean)")
    command.add_argument("--discard", type=float, metavar="R", help="rollout: share of the weakest links dropped (default: 0)")
    command.add_argument("--start-layer", type=int, metavar="L", help="all but cls: the first layer that takes part (default: 1)")
    command.add_argument("--output", type=Path, metavar="F.png", help="the map on the upright original, at its size")
    command.add_argument("--npz", type=Path, metavar="F.npz", help="heat, attention_cls, logits and box")
    Settings.add_flags(command, (*MODEL_FLAGS, "max_upload_mb", "max_megapixels", "trace_cache_mb"))
    command.set_defaults(run=_attention)


def _attention(flags: argparse.Namespace) -> int:
    head = _check_flags(flags)
    settings = Settings.read(flags)
    from vitdemo.attention.drawing import render
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.core.inference.trace_cache import TraceCache
    from vitdemo.core.photos.photo import open_photo

    photo = open_photo(flags.image, settings)
    for path in filter(None, (flags.output, flags.npz)):
        check_writable(path)
    store = ModelStore(settings)
    vit = store.get().result()
    print(vit.introduction, file=sys.stderr)
    geometry = vit.preprocessing.geometry(photo.image.size, vit.patch)
    for note in (*photo.notes, render.unseen_note(geometry)):
        if note:
            print(f"vitdemo: {note}", file=sys.stderr)
    trace = TraceCache(settings.trace_cache_mb).get(photo, vit, store.engine)
    heat, description = _compute_map(flags, head, vit, store.engine, photo, trace)
    _write_files(flags, vit, photo, geometry, trace, heat)
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    hottest = f"row {row}, column {column} of {heat.shape[0]}×{heat.shape[1]}"
    print(f"{flags.method}, {description}: {heat.min():.3g} to {heat.max():.3g}, highest in {hottest}")
    return 0


def _compute_map(flags: argparse.Namespace, head: "int | Fusion", vit, engine, photo, trace) -> tuple:
    """Compute the requested map. Returns: the map, and a text that names its layers and its head or class."""
    from vitdemo.attention.methods import gradients, maps
    from vitdemo.core.names import shown_name

    with _as_usage_error():
        layer = maps.check_layer(trace, trace.layers if flags.layer is None else flags.layer)
        if flags.method == "cls":
            return maps.cls_map(trace, layer=layer, head=head), f"layer {layer}, head {head}"
        start = 1 if flags.start_layer is None else flags.start_layer
        maps.check_layers(trace, start, layer)
        if flags.method == "rollout":
            heat = maps.rollout(trace, fusion=flags.fusion or "mean", discard=flags.discard or 0, start_layer=start, layer=layer)
            return heat, f"layers {start} to {layer}"
    if not vit.labels:
        gradients.check_target(vit, 0)  # raises UserError: the model is the problem, not a flag
    with _as_usage_error():
        target = int(trace.logits.argmax()) if flags.target is None else gradients.find_target(vit, flags.target)
    gradient = gradients.attention_gradient(vit, engine, vit.preprocessing(photo.image), target)
    method = maps.relevance if flags.method == "relevance" else maps.gradient_rollout
    return method(trace, gradient, start_layer=start, layer=layer), f"layers {start} to {layer}, {shown_name(vit.labels[target].name)}"


def _check_flags(flags: argparse.Namespace) -> "int | Fusion":
    """Check the flags that need no model, and return the head. Raises: UsageError for a value that no model accepts."""
    if flags.method not in METHODS:
        raise UsageError(f"--method is “{flags.method}”, but it must be one of {', '.join(METHODS)}.")
    if flags.fusion not in (None, *FUSED):
        raise UsageError(f"--fusion is “{flags.fusion}”, but it must be one of {', '.join(FUSED)}.")
    head: Any = "mean" if flags.head is None else flags.head
    if head not in FUSED:
        try:
            head = int(head)
        except ValueError:
            raise UsageError(f"--head is “{head}”, but it must be a number from 0 on or one of {', '.join(FUSED)}.") from None
    for flag, suffix in (("output", ".png"), ("npz", ".npz")):
        path = getattr(flags, flag)
        if path and path.suffix.lower() != suffix:
            raise UsageError(f"--{flag} must end in {suffix}.")
    relevant_flags = {"cls": ("head",), "rollout": ("fusion", "discard", "start_layer")}.get(flags.method, ("target", "start_layer"))
    for name in ("head", "target", "fusion", "discard", "start_layer"):
        if getattr(flags, name) is not None and name not in relevant_flags:
            print(f"vitdemo: --{name.replace('_', '-')} changes nothing for {flags.method}.", file=sys.stderr)
    return head


@contextmanager
def _as_usage_error():
    """Turn a UserError into a UsageError: a value that this model does not have, such as layer 13 of 12, is a wrong flag."""
    try:
        yield
    except UserError as error:
        raise UsageError(str(error)) from None


def _write_files(flags, vit, photo, geometry, trace, heat) -> None:
    import numpy as np

    from vitdemo.attention.drawing import render
    from vitdemo.attention.methods import maps

    if flags.npz:
        tensors = {"heat": heat, "attention_cls": maps.cls_attention(trace), "logits": trace.logits if vit.labels else trace.logits[:0]}
        arrays = {name: values.contiguous().numpy() for name, values in tensors.items()} | {"box": np.array(geometry.box)}
        try:
            with flags.npz.open("wb") as file:
                np.savez(file, **arrays)
        except OSError as error:
            raise unwritable(flags.npz, error) from None
    if flags.output:
        try:
            # level 1: a photo of 20 megapixels is written in one second instead of six, and 5% larger
            render.overlay(photo.image, heat, geometry).save(flags.output, compress_level=1)
        except OSError as error:
            raise unwritable(flags.output, error) from None
