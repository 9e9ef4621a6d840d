"""The Preprocessing accordion: controls to change the model's own preprocessing, and a warning with reasons once it is changed."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from vitdemo.core.errors import UserError
from vitdemo.ui.templating import html, panel

if TYPE_CHECKING:  # imported with the first model: the page opens without torch
    from vitdemo.core.models.vit import Vit
    from vitdemo.core.photos.preprocessing import Preprocessing

OWN = "model's own"
MODES = {"centre": "center", "squash": "squash", "border": "border"}
REASONS = {
    "size": "With another image size the position embeddings are stretched to a grid the model never saw.",
    "crop_pct": "With another crop fraction things appear larger or smaller than the model is used to.",
    "crop_mode": "With another crop mode the model sees other proportions or edges than in training.",
    "interpolation": "Another filter changes the fine texture.",
    "mean": "With other means and deviations every colour is shifted: ImageNet's own on the AugReg ViTs, which were trained with 0.5, "
    "cost ViT-Tiny a third of its accuracy.",
    "icc": "Converted colours are closer to the photographed ones, but timm, which measured the models, takes the file's numbers.",
}
CALLED = {
    "size": "image size",
    "crop_pct": "crop fraction",
    "crop_mode": "crop mode",
    "interpolation": "interpolation",
    "mean": "mean and std",
    "icc": "colour profile",
}


@dataclass(frozen=True)
class PreprocessingPanel:
    """The accordion's components.

    Attributes:
        controls: six dropdowns, in the order in which `overridden` takes their values.
        reset: the button that resets them.
        about: the note below them.
    """

    controls: list[gr.Dropdown]
    reset: gr.Button
    about: gr.HTML

    @property
    def size(self) -> gr.Dropdown:
        """The dropdown of the image size."""
        return self.controls[0]


def build() -> PreprocessingPanel:
    """Lay out the accordion."""
    with gr.Accordion("Preprocessing", open=False, elem_id="preprocessing"):
        with gr.Row():
            controls = [
                _choice("Image size", "in pixels a side", _sizes(16, 518)),
                _choice("Crop fraction", "of the resized photo", ("0.8", "0.875", "0.9", "0.95", "1.0")),
                _choice("Crop mode", "cut, bend or pad", MODES),
                _choice("Interpolation", "the filter of the resize", ("bicubic", "bilinear", "lanczos", "nearest")),
                _choice("Mean and std", "which colours become zero", ("ImageNet", "Inception", "CLIP")),
                _choice("Colour profile", "of a photo not in sRGB", ("ignore", "convert")),
            ]
        about = panel()
        reset = gr.Button("Back to the model's own", size="sm", elem_id="reset")
    return PreprocessingPanel(controls, reset, about)


def fit_sizes(vit: "Vit", values: tuple[str, ...], largest: int) -> tuple[dict, tuple[str, ...]]:
    """Fit the image sizes to a model.

    Returns: an update that offers the sizes this model's patches divide, and the values, with any other size reset.
    """
    sizes = [] if vit.adapter.only_size else _sizes(vit.patch[0], largest)
    size = values[0] if values[0] in sizes else OWN
    return gr.update(choices=[OWN, *sizes], value=size), (size, *values[1:])


def overridden(vit: "Vit", values: tuple[str, ...], largest: int) -> "Preprocessing":
    """The model's own preprocessing with the visitor's changes.

    Raises: UserError for a value the model does not allow.
    """
    from vitdemo.core.photos.preprocessing import ICC, INTERPOLATIONS, STATISTICS, check_size

    size, crop_pct, crop_mode, interpolation, statistics, icc = values
    changes: dict[str, Any] = {}
    try:
        if size != OWN:
            changes["size"] = check_size(int(size), vit.patch[0], largest)
            vit.adapter.grid(changes["size"])  # refuses a size that the model does not take
        if crop_pct != OWN:
            changes["crop_pct"] = float(crop_pct)
        if crop_mode != OWN:
            changes["crop_mode"] = MODES[crop_mode]
        if interpolation != OWN:
            changes["interpolation"] = INTERPOLATIONS[INTERPOLATIONS.index(interpolation)]
        if statistics != OWN:
            changes["mean"], changes["std"] = STATISTICS[statistics.lower()]
        if icc != OWN:
            changes["icc"] = ICC[ICC.index(icc)]
    except (ValueError, KeyError, TypeError):
        raise UserError("One of the preprocessing choices can't be used: choose from the lists.") from None
    if changes.keys() & {"size", "crop_pct", "crop_mode"}:
        changes["resize"] = None  # the model's own is for its own crop
    return replace(vit.preprocessing, **changes)


def about(preprocessing: "Preprocessing", own: "Preprocessing") -> str:
    """HTML: the model's own preprocessing, and a warning with reasons where another one is in use."""
    changed = [name for name in preprocessing.differences(own) if name in CALLED]
    mode = next(word for word, value in MODES.items() if value == own.crop_mode)
    return html(
        "components/preprocessing",
        own=own,
        mode=mode,
        changed=[CALLED[name] for name in changed],
        reasons=[REASONS[name] for name in changed],
    )


def changed_note(preprocessing: "Preprocessing", own: "Preprocessing") -> list[str]:
    """A sentence where another preprocessing than the model's own is in use."""
    changed = [CALLED[name] for name in preprocessing.differences(own) if name in CALLED]
    return [f"Not the model's own preprocessing: {', '.join(changed)}. Change it in Classify."] if changed else []


def _sizes(patch: int, largest: int) -> list[str]:
    return [str(count * patch) for count in (7, 10, 14, 18, 21, 24, 28, 32, 37) if count * patch <= largest]


def _choice(label: str, info: str, choices) -> gr.Dropdown:
    return gr.Dropdown([OWN, *choices], value=OWN, label=label, info=info, min_width=190)
