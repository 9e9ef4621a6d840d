"""The Export tab: select format, precision and extras, upload photos for the comparison, start, and download the bundle and its report.

The page's script uploads the photos, polls the status and shows the expected size. HTML with text from visitors or models comes from
templates, which escape the text.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from vitdemo.core.inference.model_store import ModelStore
from vitdemo.export.plan import KITS, PRECISIONS
from vitdemo.ui.components import gallery_upload, model_picker
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.model_picker import ModelPicker
from vitdemo.ui.components.samples import suit_drawings
from vitdemo.ui.errors import user_message
from vitdemo.ui.tabs.export.comparison import ModelComparison
from vitdemo.ui.templating import html, script

if TYPE_CHECKING:
    from vitdemo.core.models.vit import Vit

TAB = "export"  # the tab's id
FORMAT_TEXTS = {
    "onnx": ("ONNX", "One file for ONNX Runtime, OpenVINO, TensorRT and browsers. No torch needed."),
    "safetensors": ("SafeTensors", "timm's own layout: to go on training, for the hub, or for this app."),
    "pt2": ("PT2", "torch.export: torch without timm, and the way to phones."),
    "torchscript": ("TorchScript", "For programs that can't take another. torch has deprecated it: prefer PT2 or ONNX."),
}
PRECISION_TEXTS = {
    "fp32": ("fp32", "The same answers, to rounding."),
    "fp16": ("fp16", "Half the size, nearly the same answers. Faster on GPUs, not on CPUs."),
    "int8": ("int8", "Smallest, and fast on CPUs. Several recipes are made and measured, and one that agrees is exported. For ONNX."),
}
KIT_TEXTS = {
    "fastapi": "FastAPI server, with a Dockerfile",
    "triton": "Triton model repository",
    "kserve": "KServe manifest",
    "ray": "Ray Serve, growing with its traffic",
    "torchserve": "TorchServe archive (legacy)",
}


def build(store: ModelStore, header: ModelPicker, trial: ModelComparison, opened: ActiveTab) -> None:
    """Lay out the tab and connect its events."""
    limits = gallery_upload.limits(store.settings, "export")
    panel = gr.HTML(
        {"limits": limits},
        html_template=html(
            "export/export",
            formats=FORMAT_TEXTS,
            numbers=PRECISION_TEXTS,
            bytes_each=PRECISIONS,
            kits=[(name, KIT_TEXTS[name], format) for name, format in KITS.items()],
            most=store.settings.compare_photos,
        ),
        js_on_load=script("export/export"),
        apply_default_css=False,
        elem_id="export",
        elem_classes=["giving"],
    )
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False, "trigger_mode": "multiple"}

    async def look(request: gr.Request, name: str, active: str) -> AsyncIterator[tuple]:
        """Show the header's model and its loading status, if the tab is open."""
        if active != TAB:
            yield gr.skip(), gr.skip()
            return
        async for waiting in model_picker.watch(store, name, request.session_hash or ""):
            yield waiting.status, {"limits": limits, "model": {"text": waiting.text}} if waiting.text else gr.skip()
        try:
            model = _facts(store.get(name, request.session_hash or "").result(1))
        except Exception as error:
            model = {"error": user_message(error)}
        yield gr.skip(), {"limits": limits, "model": model}

    respond: dict[str, Any] = {"fn": look, "inputs": [header.picker, opened.active], "outputs": [header.status, panel]}
    respond |= {"concurrency_limit": None, **quiet}
    opened.then(**respond)
    header.picker.change(**respond)
    trial.offer(panel)


def _facts(vit: "Vit") -> dict:
    """The model's data that the page shows."""
    return {
        "title": vit.title,
        "about": f"{vit.parameters / 1e6:.1f} M parameters · {f'{len(vit.labels):,} classes' if vit.labels else 'features, no classes'}",
        "parameters": vit.parameters,
        "drawings": suit_drawings(vit),
    }
