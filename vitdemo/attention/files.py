"""The files of one map: its numbers as an NPZ, the map on its photo as a PNG, for the command line, the page and the endpoint."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image

from vitdemo.attention.drawing import render
from vitdemo.attention.methods import maps
from vitdemo.attention.methods.ablation import Head
from vitdemo.attention.methods.artefacts import find_artefacts
from vitdemo.attention.methods.heads import logit_lens
from vitdemo.attention.methods.votes import as_numbers
from vitdemo.attention.question import OF_A_CLASS, Question, votes_of
from vitdemo.core.inference.engine import Engine
from vitdemo.core.inference.trace import Heat, Trace
from vitdemo.core.models.vit import Vit
from vitdemo.core.outputs import unwritable
from vitdemo.core.photos.geometry import Geometry

NONE = -1  # in place of a class's index, where there is no class


def numbers_of(
    question: Question, heats: torch.Tensor, trace: Trace, vit: Vit, engine: Engine, geometry: Geometry, off: Sequence[Head] = ()
) -> dict[str, np.ndarray]:
    """The arrays of a map's NPZ; docs/cli.md lists them.

    Args:
        heats: the question's maps, (layers, rows, columns).
        vit: the model that made the trace, without the heads that are off.
        off: the heads that are switched off.
    """
    logits = trace.logits if vit.labels else trace.logits[:0]
    target = int(trace.logits.argmax()) if question.target is None else question.target
    of_a_class = question.method in OF_A_CLASS
    tensors = {"heat": heats[question.place(trace)], "heats": heats, "attention_cls": maps.cls_attention(trace), "logits": logits}
    if vit.labels:
        tensors["lens_probabilities"] = logit_lens(trace, vit, engine).softmax(-1)
    if votes := votes_of(question, trace, vit, engine):
        tensors |= {f"votes_{name}": values for name, values in as_numbers(votes).items()}
    return {name: values.contiguous().numpy() for name, values in tensors.items()} | {
        "model": np.array(vit.id),
        "target": np.array(target if of_a_class else NONE),
        "rival": np.array(NONE if question.other is None or not of_a_class else question.other),
        "box": np.array(geometry.box),
        "artefacts": np.array(find_artefacts(trace).places, np.int64).reshape(-1, 2),
        "off": np.array(off, np.int64).reshape(-1, 2),
    }


def npz_of(numbers: dict[str, np.ndarray]) -> bytes:
    """The NPZ of a map's arrays, as bytes."""
    file = io.BytesIO()
    np.savez(file, **numbers)  # type: ignore[arg-type]
    return file.getvalue()


def write_npz(path: Path, numbers: dict[str, np.ndarray]) -> None:
    """Write a map's arrays, completely or not at all. Raises: UserError where the file can't be written."""
    _write(path, lambda file: np.savez(file, **numbers))  # type: ignore[arg-type]


def write_png(path: Path, photo: Image.Image, heat: Heat, geometry: Geometry, *, signed: bool) -> None:
    """Write a map on the upright original, completely or not at all. Raises: UserError where the file can't be written."""
    look, span = (render.OverlayStyle(render.DIFFERENCE), render.even_span(heat.numpy())) if signed else (None, None)
    # level 1: a photo of 20 megapixels is written in one second instead of six, and 5% larger
    _write(path, lambda file: render.overlay(photo, heat, geometry, look, span=span).save(file, "PNG", compress_level=1))


def _write(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            try:
                write(file)
            except BaseException:  # also Ctrl-C
                path.unlink()
                raise
    except OSError as error:
        raise unwritable(path, error) from None
