"""The Export tab: format, precision and extras, photos to compare on, Start, and a bundle with the figures that prove it.

The page's script uploads the photos, asks how far things are and shows the expected size. What holds a visitor's words, or a model's, comes
from templates, which escape them.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import gradio as gr

from vitdemo.core.config import ASSETS
from vitdemo.core.store import ModelStore
from vitdemo.export.plan import KITS, PRECISIONS
from vitdemo.ui import export_answers, giving, model_header
from vitdemo.ui.callers import caller_of
from vitdemo.ui.export_order import read_plan
from vitdemo.ui.export_runs import Exports
from vitdemo.ui.export_trial import Trial
from vitdemo.ui.guard import sentence, told
from vitdemo.ui.model_header import ModelHeader
from vitdemo.ui.opened import Opened
from vitdemo.ui.render import WEB, html

if TYPE_CHECKING:
    from vitdemo.core.models import Vit

NAME = "export"  # of the tab
DRAWINGS = ASSETS / "examples" / "gallery"
FORMATS = {
    "onnx": ("ONNX", "One file for ONNX Runtime, OpenVINO, TensorRT and browsers. No torch needed."),
    "safetensors": ("SafeTensors", "timm's own layout: to go on training, for the hub, or for this app."),
    "pt2": ("PT2", "torch.export: torch without timm, and the way to phones."),
    "torchscript": ("TorchScript", "For programs that can't take another. torch has deprecated it: prefer PT2 or ONNX."),
}
NUMBERS = {
    "fp32": ("fp32", "The same answers, to rounding."),
    "fp16": ("fp16", "Half the size, nearly the same answers. Faster on GPUs, not on CPUs."),
    "int8": ("int8", "Smallest, and fast on CPUs. Several recipes are made and measured, and one that agrees is shipped. For ONNX."),
}
KIT_WORDS = {
    "fastapi": "FastAPI server, with a Dockerfile",
    "triton": "Triton model repository",
    "kserve": "KServe manifest",
    "ray": "Ray Serve, growing with its traffic",
    "torchserve": "TorchServe archive (legacy)",
}


def build(store: ModelStore, header: ModelHeader, exports: Exports, trial: Trial, opened: Opened) -> None:
    """Lay out the tab and wire it."""
    limits = giving.limits(store.settings, "export")
    panel = gr.HTML(
        {"limits": limits},
        html_template=html(
            "export",
            formats=FORMATS,
            numbers=NUMBERS,
            bytes_each=PRECISIONS,
            kits=[(name, KIT_WORDS[name], format) for name, format in KITS.items()],
            most=store.settings.compare_photos,
        ),
        js_on_load="\n".join((WEB / name).read_text("utf-8") for name in ("upload.js", "export.js")),
        apply_default_css=False,
        elem_id="export",
        elem_classes=["giving"],
        server_functions=export_answers.functions(exports),
    )
    quiet = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False, "trigger_mode": "multiple"}

    async def look(request: gr.Request, name: str, active: str) -> AsyncIterator[tuple]:
        """Say what would be exported, once it is loaded, for whoever looks at the tab."""
        if active != NAME:
            yield gr.skip(), gr.skip()
            return
        async for text, _, status in model_header.watch(store, name, request.session_hash or ""):
            yield status, {"limits": limits, "model": {"text": text}} if text else gr.skip()
        try:
            model = _facts(store.get(name, request.session_hash or "").result(1))
        except Exception as error:
            model = {"error": sentence(error)}
        yield gr.skip(), {"limits": limits, "model": model}

    def start(model: str, request: gr.Request, event: gr.EventData) -> dict:
        """Export the header's model as it is asked for. Answers the export's id, or what is wrong."""
        asked = told(event)
        try:
            plan = read_plan(asked.get("plan"))
            export = exports.get(asked["export"]) if asked.get("export") else exports.begin()
            exports.start(export, model, plan, caller_of(request))
            return {"limits": limits, "begun": export.id, "request": asked.get("request")}
        except Exception as error:
            return {"limits": limits, "error": sentence(error), "request": asked.get("request")}

    respond = {"fn": look, "inputs": [header.picker, opened.active], "outputs": [header.status, panel], "concurrency_limit": None, **quiet}
    opened.then(**respond)
    header.picker.change(**respond)
    panel.upload(start, header.picker, panel, queue=False, **quiet)
    trial.offer(panel)


def _facts(vit: "Vit") -> dict:
    """What the page shows of a model."""
    from vitdemo.core.labels import classes_named, plain

    named = classes_named(vit.labels)
    return {
        "title": model_header.title_of(vit.name),
        "about": f"{vit.parameters / 1e6:.1f} M parameters · {f'{len(vit.labels):,} classes' if vit.labels else 'features, no classes'}",
        "parameters": vit.parameters,
        "drawings": all(plain(folder.name) in named for folder in DRAWINGS.iterdir() if folder.is_dir()),
    }
