"""`python -m vitdemo attention`: attention maps of photos, as pictures and as numbers."""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitdemo.attention import compare_command, gallery_command
from vitdemo.core.config import MODEL_FLAGS, PHOTO_FLAGS, Settings
from vitdemo.core.errors import UsageError, UserError, as_usage_error
from vitdemo.core.figures import percent
from vitdemo.core.names import shown_name
from vitdemo.core.outputs import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdemo.attention.methods.maps import Fusion
    from vitdemo.attention.photo import MapMaker, PhotoMap
    from vitdemo.core.inference.engine import Engine
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.photo import Photo

METHODS = ("relevance", "votes", "fullgrad", "rollout", "gradient-rollout", "cls")
GRADIENTS = ("libra", "plain")
FUSED = ("mean", "max", "min")
OF_A_CLASS = ("target", "rival", "start_layer")
FLAGS = {  # method → the flags that change its map, besides --layer
    "relevance": ("gradient", *OF_A_CLASS),
    "votes": OF_A_CLASS,
    "fullgrad": OF_A_CLASS,
    "rollout": ("fusion", "discard", "start_layer"),
    "gradient-rollout": ("gradient", *OF_A_CLASS),
    "cls": ("head",),
}


def add(commands) -> None:
    """Add the `attention` command to the command line."""
    command = commands.add_parser("attention", help="where the model looks: a map of each photo")
    command.add_argument("image", nargs="+", metavar="PATH", help="a photo, a folder or zip of photos, a pattern or a URL")
    command.add_argument("--method", metavar="METHOD", help=f"{', '.join(METHODS)} (default: relevance)")
    command.add_argument(
        "--gradient",
        metavar="G",
        help="relevance and gradient-rollout: libra, whose shares add up to the logit and point at the object more often, or plain, as the "
        "methods' papers have it (default: libra)",
    )
    command.add_argument("--layer", type=int, metavar="L", help="cls: of this layer; else: up to this layer, from 1 (default: the last)")
    command.add_argument("--head", metavar="H", help="cls: a head, from 0, or mean, max or min of all (default: mean)")
    command.add_argument("--target", metavar="CLASS", help="methods of a class: a name or an index (default: the top class)")
    command.add_argument("--rival", metavar="CLASS", help="methods of a class: why the target, not this class")
    command.add_argument("--fusion", metavar="HOW", help="rollout: how heads become one: mean, max or min (default: mean)")
    command.add_argument("--discard", type=float, metavar="R", help="rollout: share of the weakest links dropped (default: 0)")
    command.add_argument("--start-layer", type=int, metavar="L", help="all but cls: the first layer that takes part (default: 1)")
    command.add_argument(
        "--off",
        action="append",
        metavar="L:H",
        help="switch off head H of layer L, or without H all of its heads; may be given several times",
    )
    command.add_argument(
        "--output",
        type=Path,
        metavar="F.png",
        help="the map on the upright original, at its size; a folder for many photos; F.json with --compare",
    )
    command.add_argument("--npz", type=Path, metavar="F.npz", help="the numbers of the map; a folder for many photos")
    command.add_argument("--lens", action="store_true", help="print the first answers after each layer, too, with their probabilities")
    compare_command.add_flags(command)
    Settings.add_flags(command, (*MODEL_FLAGS, *PHOTO_FLAGS, "trace_cache_mb"))
    command.set_defaults(run=_attention)


def _attention(flags: argparse.Namespace) -> int:
    if flags.compare:
        return compare_command.compare(flags, Settings.read(flags))
    flags.method = flags.method or "relevance"
    head, off = _check_flags(flags), _heads_off(flags.off or ())
    settings = Settings.read(flags)
    from vitdemo.core.inference.model_store import ModelStore
    from vitdemo.core.inference.trace import check_room
    from vitdemo.core.photos.given import photos_given
    from vitdemo.core.photos.photo import decode

    items = photos_given(flags.image, settings)
    if gallery := gallery_command.is_gallery(flags, items):
        gallery_command.check_folders(flags)
    else:
        photo = decode(items[0].read(settings), items[0].shown, settings)
        for path in filter(None, (flags.output, flags.npz)):
            check_writable(path)
    store = ModelStore(settings)
    vit = store.get().result()
    print(vit.introduction, file=sys.stderr)
    maker = _maker(flags, head, off, vit, store.engine)
    check_room(vit, vit.preprocessing.size, settings.trace_cache_mb)
    return gallery_command.maps_of_gallery(flags, items, maker, settings) if gallery else _one(flags, photo, maker)


def _one(flags: argparse.Namespace, photo: "Photo", maker: "MapMaker") -> int:
    """Make, write and print the map of one photo."""
    from vitdemo.attention.files import write_npz, write_png
    from vitdemo.attention.methods.artefacts import artefact_note, cls_shares, find_artefacts
    from vitdemo.attention.question import logit_words, title, votes_of

    vit, engine = maker.vit, maker.engine
    made = maker.make(vit.preprocessing(photo.image), vit.preprocessing.geometry(photo.image.size, vit.patch))
    question, trace, heat = made.question, made.trace, made.heat
    for note in (*photo.notes, *made.notes):
        print(f"vitdemo: {note}", file=sys.stderr)
    if flags.npz:
        write_npz(flags.npz, maker.numbers(made))
    if flags.output:
        write_png(flags.output, photo.image, heat, made.geometry, signed=question.signed)
    print(f"{title(question, trace, vit)}: {heat.min():.3g} to {heat.max():.3g}, highest in {made.hottest}")
    if maker.off:
        print("\n".join(_moves_lines(made, len(maker.off))))
    if votes := votes_of(question, trace, vit, engine):
        heads = ", ".join(f"layer {layer} head {head} {vote:.3f}" for layer, head, vote in votes.top_heads())
        print(f"The votes of all layers add up to {votes.total:.4f}, {logit_words(question, trace)}. The most: {heads}.")
    if flags.lens:
        print("\n".join(maker.lens_lines(made)))
    artefacts = find_artefacts(trace)
    if places := artefacts.places:
        note = artefact_note(artefacts, float(cls_shares(trace, artefacts)[-1]), "the last layer's CLS")
        print(f"{note} The numbers keep them, at {'; '.join(f'row {row}, column {column}' for row, column in places)}.")
    return 0


def _moves_lines(made: "PhotoMap", count: int) -> list[str]:
    """How far the heads that are off move the answer: the class that the map is about, then the leading classes."""
    moves = (f"  {shown_name(move.label.short)} {percent(move.before)} → {percent(move.after)}" for move in made.moves)
    return [f"Without {count} head{'' if count == 1 else 's'}:", *moves]


def _maker(
    flags: argparse.Namespace, head: "int | Fusion", off: "list[tuple[int, int | None]]", vit: "Vit", engine: "Engine"
) -> "MapMaker":
    """What makes the maps that are asked for, with all values checked. Raises: UsageError for a value that the model does not have;
    UserError for a method of a class, where the model has none."""
    from vitdemo.attention.methods import gradients, maps
    from vitdemo.attention.photo import MapMaker
    from vitdemo.attention.question import OF_A_CLASS, SAME_CLASS, Question

    classes = {}
    if flags.method in OF_A_CLASS:
        gradients.check_target(vit, 0)  # a model without classes: the model is the problem, not a flag
    with as_usage_error():
        start = 1 if flags.start_layer is None or flags.method == "cls" else flags.start_layer
        maps.check_layers(vit.adapter, start, flags.layer)
        if flags.method == "cls" and not isinstance(head, str):
            maps.check_head(vit.adapter, head)
        if flags.method in OF_A_CLASS:
            named = {"target": flags.target, "other": flags.rival}
            classes = {field: gradients.find_target(vit, words) for field, words in named.items() if words is not None}
            if len(classes) == 2 and classes["target"] == classes["other"]:
                raise UserError(SAME_CLASS)
        fused = flags.fusion or "mean" if flags.method == "rollout" else head if flags.method == "cls" else "mean"
        if not 0 <= (flags.discard or 0) < 1:
            raise UserError(f"The share of links to discard must be at least 0 and less than 1; {flags.discard:g} was asked for.")
        fields = {"method": flags.method, "layer": flags.layer, "head": fused, "gradient": flags.gradient, "discard": flags.discard}
        question = Question.parse({**fields, "start_layer": start, **classes})
        each = {(layer, one) for layer, head in off for one in (range(vit.adapter.heads) if head is None else (head,))}
        return MapMaker(vit, engine, question, tuple(sorted(each)))


def _heads_off(texts: "Sequence[str]") -> "list[tuple[int, int | None]]":
    """Read --off: layers, each with a head, or None for all of its heads. Raises: UsageError for another text."""
    found = [re.fullmatch(r"(\d+)(?::(\d+))?", text, re.ASCII) for text in texts]
    if wrong := [text for text, match in zip(texts, found, strict=True) if match is None]:
        raise UsageError(f"--off is “{wrong[0]}”, but it must be a layer and a head, such as 3:0, or a layer, such as 3.")
    return [(int(match[1]), None if match[2] is None else int(match[2])) for match in found if match]


def _check_flags(flags: argparse.Namespace) -> "int | Fusion":
    """Check the flags that need no model, and return the head. Raises: UsageError for a value that no model accepts."""
    if flags.method not in METHODS:
        raise UsageError(f"--method is “{flags.method}”, but it must be one of {', '.join(METHODS)}.")
    for name in ("masks", "erase", "mosaics"):
        if getattr(flags, name) is not None:
            raise UsageError(f"--{name} is for --compare.")
    if flags.gradient not in (None, *GRADIENTS):
        raise UsageError(f"--gradient is “{flags.gradient}”, but it must be one of {', '.join(GRADIENTS)}.")
    if flags.fusion not in (None, *FUSED):
        raise UsageError(f"--fusion is “{flags.fusion}”, but it must be one of {', '.join(FUSED)}.")
    head: Any = "mean" if flags.head is None else flags.head
    if head not in FUSED:
        try:
            head = int(head)
        except ValueError:
            raise UsageError(f"--head is “{head}”, but it must be a number from 0 on or one of {', '.join(FUSED)}.") from None
    for name in ("gradient", "head", "target", "rival", "fusion", "discard", "start_layer"):
        if getattr(flags, name) is not None and name not in FLAGS[flags.method]:
            print(f"vitdemo: --{name.replace('_', '-')} changes nothing for {flags.method}.", file=sys.stderr)
    return head
