"""What serves a bundle: files beside the model for FastAPI, Triton, KServe, Ray Serve and TorchServe."""

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

MODEL_NAME = "vit"  # what servers call the model
FASTAPI = ("server.py", "requirements.txt", "Dockerfile", "compose.yaml", ".dockerignore")
RAY = ("ray_server.py", "ray_serve.yaml", "requirements-ray.txt")
MAX_BATCH = 32
ARCHIVER = "model_archiver"
TRITON_LABELS = "labels.txt"


def check(plan: Plan) -> None:
    """Raises: UserError where a kit needs a tool that is not installed."""
    if "torchserve" in plan.kits and importlib.util.find_spec(ARCHIVER) is None:
        raise UserError("TorchServe's archive is made by torch-model-archiver, which isn't installed: pip install torch-model-archiver.")


def warnings(plan: Plan) -> tuple[str, ...]:
    """What should be known about a format or kit, a sentence each."""
    found = []
    if plan.format == "torchscript":
        found.append("TorchScript is deprecated in torch: use pt2 (torch.export) or ONNX for anything new.")
    if "torchserve" in plan.kits:
        found.append("TorchServe was archived in August 2025 and gets no security patches: use FastAPI or Triton for anything new.")
    return tuple(found)


def write(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    """The files of the plan's kits.

    Raises: UserError where TorchServe's archiver fails.
    """
    for kit in plan.kits:
        _WRITERS[kit](plan, vit, outputs, folder)


def _write_fastapi(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    for name in FASTAPI:
        shutil.copyfile(TEMPLATES / "fastapi" / name.lstrip("."), folder / name)


def _write_triton(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    """A model repository: triton/vit/config.pbtxt, labels.txt and 1/model.onnx."""
    place = folder / "triton" / MODEL_NAME
    if place.is_dir():  # KServe's kit has it, too
        return
    (place / "1").mkdir(parents=True)
    try:
        os.link(folder / plan.file, place / "1" / "model.onnx")  # no second copy on the disk
    except OSError:
        shutil.copyfile(folder / plan.file, place / "1" / "model.onnx")
    height, width = vit.preprocessing.size
    layers, heads = len(vit.module.blocks), getattr(getattr(vit.module.blocks[0], "attn", vit.module.blocks[0]), "num_heads", 0)
    tokens = vit.module.patch_embed.num_patches + vit.module.num_prefix_tokens
    shapes = {
        "logits": [len(vit.labels)],
        "features": [vit.module.num_features],
        "attention": [layers, heads, tokens, tokens],
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
        names = [" ".join(each.name.split()) or each.synset or str(each.index) for each in vit.labels]  # one line each
        (place / TRITON_LABELS).write_text("\n".join(names) + "\n", "utf-8")


def _write_kserve(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    _write_triton(plan, vit, outputs, folder)
    shutil.copyfile(TEMPLATES / "kserve.yaml", folder / "kserve.yaml")


def _write_ray(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    for name in RAY:
        shutil.copyfile(TEMPLATES / "rayserve" / name, folder / name)


def _write_torchserve(plan: Plan, vit: Vit, outputs: tuple[str, ...], folder: Path) -> None:
    """torchserve/vit.mar, made by torch-model-archiver, and the properties to start it with."""
    place = folder / "torchserve"
    place.mkdir()
    shutil.copyfile(TEMPLATES / "torchserve" / "ts.properties", place / "ts.properties")
    shutil.copyfile(TEMPLATES / "torchserve" / "handler.py", place / "handler.py")
    extra = ",".join(str(folder / name) for name in ("labels.json", "preprocessing.json", "preprocess.py"))
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
