"""Serving kits of a bundle: files for FastAPI, Triton, KServe, Ray Serve and TorchServe."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from vitdemo.core.errors import UserError
from vitdemo.core.models.vit import Vit
from vitdemo.export.plan import Plan
from vitdemo.export.report import TEMPLATES, render

MODEL_NAME = "vit"  # the model's name on a server
FASTAPI = ("server.py", "requirements.txt", "Dockerfile", "compose.yaml", ".dockerignore")
RAY = ("ray_server.py", "ray_serve.yaml", "requirements-ray.txt")
MAX_BATCH = 32
ARCHIVER = "model_archiver"
TRITON_LABELS = "labels.txt"


def check(plan: Plan) -> None:
    """Check that the tools that the plan's kits need are installed. Raises: UserError where one is missing."""
    if "torchserve" in plan.kits and importlib.util.find_spec(ARCHIVER) is None:
        remedy = "leave TorchServe out, or have it installed by pip install torch-model-archiver"
        raise UserError(f"TorchServe's archive is made by torch-model-archiver, which isn't installed here: {remedy}.")


def warnings(plan: Plan) -> tuple[str, ...]:
    """Return warnings about the plan's format and kits, one sentence each."""
    sentences = []
    if plan.format == "torchscript":
        sentences.append("TorchScript is deprecated in torch: use pt2 (torch.export) or ONNX for anything new.")
    if "torchserve" in plan.kits:
        sentences.append("TorchServe was archived in August 2025 and gets no security patches: use FastAPI or Triton for anything new.")
    return tuple(sentences)


def write(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    """Write the files of the plan's kits.

    Raises: UserError where TorchServe's archiver fails.
    """
    for kit in plan.kits:
        _WRITERS[kit](plan, vit, outputs, folder)


def _write_fastapi(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    for name in FASTAPI:
        shutil.copyfile(TEMPLATES / "fastapi" / name.lstrip("."), folder / name)


def _write_triton(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    """Write a model repository: triton/vit/config.pbtxt, labels.txt and 1/model.onnx."""
    place = folder / "triton" / MODEL_NAME
    if place.is_dir():  # written before: the kits of Triton and KServe share it
        return
    (place / "1").mkdir(parents=True)
    try:
        os.link(folder / plan.file, place / "1" / "model.onnx")  # no second copy on the disk
    except OSError:
        shutil.copyfile(folder / plan.file, place / "1" / "model.onnx")
    height, width = vit.preprocessing.size
    adapter, tokens = vit.adapter, vit.adapter.tokens((height, width))
    shapes = {
        "logits": [len(vit.labels)],
        "features": [vit.module.num_features],
        "attention": [adapter.layers, adapter.heads, tokens, tokens],
    }
    text = render(
        "config.pbtxt.jinja",
        name=MODEL_NAME,
        max_batch=MAX_BATCH,
        input_type="TYPE_UINT8" if plan.baked else "TYPE_FP32",
        input_dims=[height, width, 3] if plan.baked else [3, height, width],
        outputs={name: shapes[name] for name in outputs},
        labels=TRITON_LABELS if vit.labels else "",
    )
    (place / "config.pbtxt").write_text(text, "utf-8")
    if vit.labels:
        names = [" ".join(label.name.split()) or label.synset or str(label.index) for label in vit.labels]  # one line per label
        (place / TRITON_LABELS).write_text("\n".join(names) + "\n", "utf-8")


def _write_kserve(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    _write_triton(plan, vit, outputs, folder)
    shutil.copyfile(TEMPLATES / "kserve.yaml", folder / "kserve.yaml")


def _write_ray(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    for name in RAY:
        shutil.copyfile(TEMPLATES / "rayserve" / name, folder / name)


def _write_torchserve(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    """Write torchserve/vit.mar with torch-model-archiver, and the properties file to start the server with."""
    place = folder / "torchserve"
    place.mkdir()
    shutil.copyfile(TEMPLATES / "torchserve" / "ts.properties", place / "ts.properties")
    shutil.copyfile(TEMPLATES / "torchserve" / "handler.py", place / "handler.py")
    (parts := place / "parts").mkdir()  # the archiver takes a folder's content, not the folder
    shutil.copytree(folder / "decoding", parts / "decoding")
    extra = ",".join(str(path) for path in (*(folder / name for name in ("labels.json", "preprocessing.json", "preprocess.py")), parts))
    command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", MODEL_NAME, "--version", "1.0", "--handler"]
    command += [
        str(place / "handler.py"),
        "--serialized-file",
        str(folder / plan.file),
        "--extra-files",
        extra,
        "--export-path",
        str(place),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(parts)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"torch-model-archiver failed ({reason[:160]}): leave TorchServe out, or install torch-model-archiver anew.")


_WRITERS = {
    "fastapi": _write_fastapi,
    "triton": _write_triton,
    "kserve": _write_kserve,
    "ray": _write_ray,
    "torchserve": _write_torchserve,
}
